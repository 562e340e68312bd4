"""`edgeemo view`: the run of `edgeemo run`, with the page's server beside it."""

import asyncio
import logging
import os
import stat
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from socket import socket
from typing import NamedTuple, TextIO

import msgspec

from edge.errors import ConfigError, EdgeEmoError
from edge.runtime.build import Runtime, build_runtime
from edge.runtime.request import RunRequest
from edge.service.daemon import ServiceSummary
from edge.service.marks import Marks
from edge.service.notify import Notifier
from edge.service.session import run_parts
from edge.sinks.fan_out import MultiSink
from edge.view.access import Access, is_loopback, own_token_file, read_token, rules
from edge.view.app import page
from edge.view.attach import Feed, Relay
from edge.view.hub import Hub
from edge.view.server import PageServer, listen

_log = logging.getLogger(__name__)


class ViewRequest(msgspec.Struct, frozen=True):
    """How the page is served.

    Attributes:
        address, port: where to listen; port 0 is any free one.
        token_file: holds the token, or will; None: a file of this account's own, if there must be
            a token at all.
        no_token: let every account of this machine see the pictures.
        hosts: further names by which the page may be opened.
        frames: send the pictures, too.
    """

    address: str = "127.0.0.1"
    port: int = 8765
    token_file: Path | None = None
    no_token: bool = False
    hosts: tuple[str, ...] = ()
    frames: bool = False


class Place(NamedTuple):
    """Where a page is served: its socket, closed with the stack, who may see it, and its link."""

    sock: socket
    access: Access
    link: str


def place(view: ViewRequest, stack: ExitStack) -> Place:
    """Listen where a page is asked for.

    Raises:
        ConfigError: it cannot be served there, or the token cannot be had.
    """
    sock = listen(view.address, view.port)
    stack.callback(sock.close)
    address, port = sock.getsockname()[:2]
    access = rules(address, port, _token(view, address), view.hosts)
    return Place(sock, access, _link(view, port, access))


def run_view(request: RunRequest, view: ViewRequest, stack: ExitStack) -> ServiceSummary:
    """Serve the page until the source ends or a signal comes.

    Records are written where ``request`` names a directory, else nowhere.

    Raises:
        EdgeEmoError: the page cannot be served, a part cannot be opened, or one failed.
    """
    sock, access, link = place(view, stack)
    request = _to_watch(request)
    notifier = Notifier.from_environment()
    parts = build_runtime(
        request.settings(),
        stack,
        is_managed=notifier.is_managed,
        keep_records=request.log_dir is not None,
    )
    source, log = parts.source, parts.log
    hub = Hub(
        _about(parts),
        frames=view.frames,
        dropped=lambda: source.dropped,
        lost_records=lambda: None if log is None else log.dropped,
    )
    parts = msgspec.structs.replace(parts, sink=MultiSink(parts.sink, {"page": hub}))
    marks = Marks()
    # Without a token every account of this machine could write into the log.
    mark = None if access.token is None else marks.add
    server = PageServer(page(hub, access, mark), hub, sock)
    _log.info("watch at %s", link)
    opened = [parts]
    del parts
    return run_parts(opened, request, stack, notifier, [server.show], marks, server)


def run_attached(feed: Feed, view: ViewRequest, stack: ExitStack) -> None:
    """Serve the page of a service that runs, until Ctrl-C.

    Raises:
        EdgeEmoError: the page cannot be served, or there is no service to be watched.
    """
    try:
        asyncio.run(Relay(feed, frames=view.frames).check())
    except (TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        raise EdgeEmoError(f"{feed.place}: the service does not answer as edgeemo does") from error
    sock, access, link = place(view, stack)
    relay = Relay(feed, frames=view.frames)
    stack.enter_context(PageServer(page(relay, access), relay, sock))
    _log.info("watch %s at %s", feed.place, link)
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _to_watch(request: RunRequest) -> RunRequest:
    """Have a recording play at its own speed, and the demo without end."""
    spec = request.settings().source.spec
    return msgspec.structs.replace(
        request, realtime=True, source="demo:live" if spec == "demo" else request.source
    )


def _about(parts: Runtime) -> dict[str, object]:
    told = ("version", "source", "model", "mesher", "runtime", "labels")
    return {
        "device": parts.device,
        "session": parts.session,
        **{name: parts.facts[name] for name in told},
    }


def _token(view: ViewRequest, address: str) -> str | None:
    """Return the token that the page asks for; pictures ask for one whoever may connect."""
    if view.no_token and view.token_file:
        raise ConfigError("--no-token and --token-file exclude each other; give one of them")
    if view.token_file:
        return read_token(view.token_file)
    if view.no_token or not (view.frames and is_loopback(address)):
        return None
    return read_token(own_token_file())


def _link(view: ViewRequest, port: int, access: Access) -> str:
    """Return the page's address; with the token for a person only, not for a journal or a file."""
    host = f"[{view.address}]" if ":" in view.address else view.address
    url = f"http://{host}:{port}/"
    if access.token is None:
        return url
    if view.token_file is None:  # nobody has been told where the token is but by this link
        is_for_person = sys.stderr.isatty() or _is_pipe(sys.stderr)
        where = f"in {own_token_file()}"
    else:
        is_for_person, where = sys.stderr.isatty(), f"in {view.token_file}"
    return f"{url}?token={access.token}" if is_for_person else f"{url} (asks for the token {where})"


def _is_pipe(stream: TextIO) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # none behind it
        return False
