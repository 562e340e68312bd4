"""`edgeemo view` of a service that runs, here or on another machine: its events, passed on."""

import asyncio
import contextlib
import os
import shlex
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from edge.errors import EdgeEmoError
from edge.text import one_line
from edge.view import messages
from edge.view.hub import Broadcast

SOCKET: Final = Path("/run/edgeemo/live")
"""Where a service of edgeemo lets itself be watched by default."""

_LONGEST_EVENT: Final = 4 << 20
_RETRY_S: Final = 1.0
_FIRST_S: Final = 20.0
_QUIET_S: Final = 30.0
"""A service gives a sign of itself every ten seconds."""
_LINGER_S: Final = 5.0
_KINDS: Final = frozenset({"hello", "seen", "waiting", "ended"})
_DENIED: Final = 77
_PROGRAM: Final = f"""
import os, select, socket, sys
live = socket.socket(socket.AF_UNIX)
try:
    live.connect(sys.argv[1])
except PermissionError:
    sys.exit({_DENIED})
except OSError as error:
    sys.exit(f"{{sys.argv[1]}}: {{error.strerror}}")
while True:
    ready, _, _ = select.select([live, 0], [], [])
    if 0 in ready and not os.read(0, 1):
        break
    if live in ready:
        data = live.recv(65536)
        if not data:
            break
        while data:
            data = data[os.write(1, data):]
"""


class Feed(msgspec.Struct, frozen=True):
    """Where a service is watched.

    Attributes:
        socket: its path there.
        ssh: the words that ssh is started with, up to the host; none: this machine.
    """

    socket: Path = SOCKET
    ssh: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Return what people call it."""
        return self.ssh[-1] if self.ssh else "this machine"

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[asyncio.StreamReader]:
        """Connect.

        Raises:
            EdgeEmoError: there is no service to be watched, or it may not be watched.
        """
        connect = self._over_ssh if self.ssh else self._here
        async with connect() as reader:
            yield reader

    @contextlib.asynccontextmanager
    async def _here(self) -> AsyncIterator[asyncio.StreamReader]:
        try:
            reader, writer = await asyncio.open_unix_connection(self.socket, limit=_LONGEST_EVENT)
        except PermissionError as error:
            raise EdgeEmoError(_denied(str(self.socket), "run it with sudo")) from error
        except OSError as error:
            raise EdgeEmoError(_absent(str(self.socket), error.strerror or str(error))) from error
        try:
            yield reader
        finally:
            writer.close()

    @contextlib.asynccontextmanager
    async def _over_ssh(self) -> AsyncIterator[asyncio.StreamReader]:
        """Connect as the user may, or through sudo; nothing is installed there."""
        alone = shlex.join(["python3", "-I", "-c", _PROGRAM, str(self.socket)])
        command = f"{alone}; [ $? -ne {_DENIED} ] || exec sudo -n {alone}"
        pipe = asyncio.subprocess.PIPE
        try:
            child = await asyncio.create_subprocess_exec(
                *self.ssh,
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                limit=_LONGEST_EVENT,
                start_new_session=True,
            )
        except OSError as error:
            raise EdgeEmoError(f"ssh cannot be run ({error.strerror})") from error
        said = asyncio.create_task(_last_words(child.stderr))
        try:
            yield cast("asyncio.StreamReader", child.stdout)
        except asyncio.IncompleteReadError:  # it has ended, and mostly said why
            if words := await said:
                raise EdgeEmoError(_explained(self.place, str(self.socket), words)) from None
            raise
        finally:
            if child.stdin is not None:
                child.stdin.close()  # which ends the program there
            said.cancel()
            await asyncio.gather(said, return_exceptions=True)
            with contextlib.suppress(ProcessLookupError):
                if sys.platform == "win32":
                    child.kill()
                else:
                    os.killpg(child.pid, signal.SIGKILL)
            await child.communicate()


class Relay(Broadcast):
    """Gives a service's events to any number of pages.

    It is attached only while a page is open, so that the service has nothing to do otherwise. A
    service that restarts, or a network that is away, is waited for.

    Args:
        feed: where the service is.
        frames: pass the pictures on, where the service sends them.
    """

    def __init__(self, feed: Feed, *, frames: bool) -> None:
        super().__init__()
        self._feed = feed
        self._frames = frames
        self._wanted = asyncio.Event()
        self._greeting = b""
        self._health = messages.HealthMessage(0.0, None, 0, None, 0.0, None, None, 0)

    async def check(self) -> None:
        """Attach once, and let go.

        Raises:
            EdgeEmoError: there is nothing to attach to.
            TimeoutError, asyncio.IncompleteReadError: it says nothing.
        """
        async with self._feed.opened() as reader:
            async with asyncio.timeout(_FIRST_S):
                await self._take(reader)

    def _join(self) -> None:
        self._wanted.set()

    def _hello(self) -> bytes:
        return self._greeting

    async def _work(self) -> None:
        while True:
            await self._wanted.wait()
            lost_s = time.monotonic()
            reason = "the service has ended the connection"
            try:
                async with self._feed.opened() as reader:
                    while await self._is_watched():
                        async with asyncio.timeout(_QUIET_S):
                            await self._take(reader)
            except TimeoutError:
                reason = "the service is silent"
            except asyncio.IncompleteReadError:
                pass
            except (EdgeEmoError, OSError, ValueError) as error:
                reason = one_line(str(error))
            if not self.viewers:
                self._wanted.clear()
                continue
            outage = messages.Outage(reason, lost_s)
            await self._post(messages.waiting(outage, time.monotonic(), self._health))
            await asyncio.sleep(_RETRY_S)

    async def _is_watched(self) -> bool:
        if not self.viewers:  # a page that is loaded again comes back at once
            await asyncio.sleep(_LINGER_S)
        return self.viewers > 0

    async def _take(self, reader: asyncio.StreamReader) -> None:
        """Take one event; what is none ends the connection.

        Raises:
            ValueError: it is none of ours.
        """
        try:
            text = (await reader.readuntil(b"\n\n")).decode()
        except asyncio.LimitOverrunError as error:
            raise ValueError("the service sends an event without end") from error
        if text.startswith(":"):
            return
        fields = dict(line.partition(": ")[::2] for line in text.splitlines())
        kind = fields.get("event", "")
        try:
            content = msgspec.json.decode(fields.get("data", ""))
        except RecursionError as error:
            raise ValueError("the service sends what nests without end") from error
        if kind not in _KINDS or not isinstance(content, dict):
            raise ValueError(f"the service sends what is no event of edgeemo ({kind[:40]!r})")
        await self._pass_on(kind, content)

    async def _pass_on(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "hello":
            content["frames"] = bool(content.get("frames")) and self._frames
            self._greeting = messages.event(kind, content, retry=True)
            self._hellos += 1
            self._event = b""
            return await self._post(b"")
        if not self._frames:
            content.pop("jpeg", None)
        if kind == "ended":  # of this session: another one may follow
            reason = "the service has stopped"
            outage = messages.Outage(str(content.get("reason") or reason), time.monotonic())
            return await self._post(messages.waiting(outage, time.monotonic(), self._health))
        return await self._post(messages.event(kind, content))


def is_there(socket: Path = SOCKET) -> bool:
    """Tell whether a service lets itself be watched on this machine."""
    try:
        return stat.S_ISSOCK(socket.stat().st_mode)
    except PermissionError:
        return True  # and the attempt will say what is missing
    except OSError:
        return False


def over_ssh(user_host: str, port: int | None, ssh_config: Path | None) -> tuple[str, ...]:
    """Return the words that ssh is started with: the user's own configuration, and no questions."""
    options = ["-T", "-oBatchMode=yes", "-oConnectTimeout=15", "-oServerAliveInterval=5"]
    if port is not None:
        options += ["-p", str(port)]
    if ssh_config is not None:
        options += ["-F", str(ssh_config)]
    return ("ssh", *options, "--", user_host)


async def _last_words(stream: asyncio.StreamReader | None) -> str:
    """Return the last line that a command has said, of the last 64 kB."""
    kept = b""
    while stream is not None and (piece := await stream.read(4096)):
        kept = (kept + piece)[-65536:]
    lines: Sequence[str] = [line for line in kept.decode("utf-8", "replace").splitlines() if line]
    return one_line(lines[-1]) if lines else ""


def _explained(place: str, socket: str, words: str) -> str:
    if "sudo" in words or "password" in words:
        return _denied(f"{place}: {socket}", "allow sudo without a password")
    if socket in words:
        return _absent(f"{place}: {socket}", words.rpartition(": ")[2])
    return f"{place}: cannot be reached ({words})"


def _denied(what: str, other: str) -> str:
    return (
        f"{what}: may not be watched by this account; join the group edgeemo there "
        f"(`sudo usermod -aG edgeemo USER`, then log in again), or {other}"
    )


def _absent(what: str, why: str) -> str:
    return (
        f"{what}: no service lets itself be watched there ({why}); start it "
        "(`systemctl start edgeemo`), or see [live] in its configuration"
    )
