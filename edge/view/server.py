"""The HTTP server in its thread, and the listener that feeds it."""

import functools
import logging
import socket
import threading
import time
from typing import Any, Final, Self, cast

import uvicorn
from starlette.types import ASGIApp

from edge.errors import ConfigError, EdgeEmoError
from edge.records import FrameResult
from edge.text import one_line
from edge.view.door import BACKLOG, Door, Visitor, places
from edge.view.hub import Broadcast

_log = logging.getLogger(__name__)

_START_S: Final = 10.0
_STOP_S: Final = 5.0
_SEND_BYTES: Final = 128 << 10
"""What the kernel may keep for a viewer: what waits there is old when it arrives."""
_GONE_MS: Final = 30_000
"""Data that the other end has not confirmed for so long ends a connection (TCP_USER_TIMEOUT)."""


def listen(address: str, port: int) -> socket.socket:
    """Open the listening socket.

    Raises:
        ConfigError: no such address here, or the port is taken.
    """
    try:
        family, _, _, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.create_server(where[:2], family=family)
    except OSError as error:
        raise ConfigError(
            f"--bind {address} --port {port}: {error.strerror}; choose another --port, or an "
            "address of this machine"
        ) from error
    # Connections inherit these, see socket(7) and tcp(7).
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_MS)
    return sock


class PageServer:
    """Serves a page beside the pipeline.

    Args:
        app: the page.
        hub: what it shows.
        sock: where it listens; closed with the server.

    Used as a context manager: it serves inside the block.

    Raises:
        ConfigError: too few open files are allowed for it.
    """

    def __init__(self, app: ASGIApp, hub: Broadcast, sock: socket.socket) -> None:
        self._hub = hub
        self._sock = sock
        self._error: BaseException | None = None
        connection = functools.partial(Visitor, door=Door(places()))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=cast("Any", connection),
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._serve, name="page-server", daemon=True)

    def __enter__(self) -> Self:
        """Serve from now on.

        Raises:
            EdgeEmoError: the server did not start.
        """
        self._thread.start()
        give_up_s = time.monotonic() + _START_S
        while not self._server.started and self._thread.is_alive() and time.monotonic() < give_up_s:
            time.sleep(0.01)
        if not self._server.started:
            raise EdgeEmoError(f"the page's server did not start: {self._error or 'no reason'}")
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Tell the viewers how the run ended, and end."""
        self._hub.end(str(error) if isinstance(error, EdgeEmoError) else "")
        self._server.should_exit = True
        self._thread.join(_STOP_S)
        self._sock.close()

    def show(self, result: FrameResult) -> bool:
        """Take a result, as a listener of the service does; nothing here ends the run."""
        try:
            self._hub.publish(result)
        except Exception as error:
            self._hub.faults.note(f"{type(error).__name__}: {error}")
        return True

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._sock])
        except BaseException as error:  # whatever it is, it ends the page alone
            self._error = error
            if self._server.started:
                _log.error("the live page has ended (%s); the run goes on", one_line(repr(error)))
