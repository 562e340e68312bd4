"""What a command on a device prints, as bytes and while it prints: bounded in size and time.

A device is not trusted: it may print without end, a byte every other second, or nothing for ever.
"""

import os
import select
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, Protocol, cast

from deploy.errors import ConnectionLostError, DeployError
from edge.text import one_line

TIMEOUT_S: Final = 60.0
LONGEST_LINE: Final = 16 << 20
_SLOWEST: Final = 1 << 10
"""Bytes a second that must come, averaged, once the timeout is over."""
_BLOCK: Final = 1 << 16
_LONGEST_ANSWER: Final = 1 << 20
_LAST_WORDS: Final = 1 << 16


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes:
        """Return what has come, at most ``size`` bytes; nothing at the end."""


class Output:
    """Reads exactly what is asked for, and never waits for ever.

    Args:
        file: where it comes from.
        timeout_s: what the whole may take, and a second more for each kilobyte that has come.
    """

    def __init__(self, file: _Readable, timeout_s: float = TIMEOUT_S) -> None:
        self._file = file
        self._timeout_s = timeout_s
        self._waited_s = 0.0
        self._received = 0
        self._buffer = bytearray()

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes.

        Raises:
            EOFError: the command ended before.
            DeployError: it took too long, or the connection was lost.
        """
        while len(self._buffer) < count:
            if not self._more():
                raise EOFError
        return self._take(count)

    def line(self) -> bytes:
        """Return a line.

        Raises:
            EOFError: the command ended before, or the line has no end.
            DeployError: it took too long, or the connection was lost.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LONGEST_LINE or not self._more():
                raise EOFError
        return self._take(end + 1)

    def rest(self, most: int = _LONGEST_ANSWER) -> bytes:
        """Return everything up to the end.

        Raises:
            DeployError: that is more than ``most`` bytes, took too long, or the connection was
                lost.
        """
        while self._more():
            if len(self._buffer) > most:
                raise DeployError(f"it prints without end; expected at most {most:,} bytes")
        return self._take(len(self._buffer))

    def _take(self, count: int) -> bytes:
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _more(self) -> bool:
        started_s = time.monotonic()
        try:
            piece = self._file.read1(_BLOCK)
        except TimeoutError as error:
            raise ConnectionLostError(f"no answer within {self._timeout_s:.0f} s") from error
        except Exception as error:  # paramiko and sockets have a dozen of their own
            raise ConnectionLostError(
                f"the connection was lost ({one_line(str(error))})"
            ) from error
        self._waited_s += time.monotonic() - started_s
        self._received += len(piece)
        self._buffer += piece
        if self._waited_s > self._timeout_s + self._received / _SLOWEST:
            raise DeployError(
                f"too slow: {self._received:,} bytes within {self._waited_s:.0f} s; try again"
            )
        return bool(piece)


class _Channel:
    """Paramiko's channel: one of its two streams."""

    def __init__(self, channel: Any, *, errors: bool = False) -> None:
        self._receive = channel.recv_stderr if errors else channel.recv

    def read1(self, size: int, /) -> bytes:
        """Return what has come; the channel's own timeout bounds the waiting."""
        return bytes(self._receive(size))


class _Pipe:
    """A local command's pipe."""

    def __init__(self, fd: int, timeout_s: float) -> None:
        self._fd = fd
        self._timeout_s = timeout_s

    def read1(self, size: int, /) -> bytes:
        """Return what has come.

        Raises:
            TimeoutError: nothing has.
        """
        ready, _, _ = select.select([self._fd], [], [], self._timeout_s)
        if not ready:
            raise TimeoutError
        return os.read(self._fd, size)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End what waits on the network after so long; paramiko waits without end in some places.

    Raises:
        TimeoutError: it took longer.
    """
    import gevent

    with gevent.Timeout(seconds, TimeoutError(f"no answer within {seconds:.0f} s")):
        yield


@contextmanager
def ssh_stream(
    client: Any, words: Sequence[str], stdin: bytes, timeout_s: float = TIMEOUT_S
) -> Iterator[Output]:
    """Run a command through a connected paramiko client; see ``transport.Device.stream``."""
    try:
        with within(TIMEOUT_S):
            into, text, _ = client.exec_command(shlex.join(words), timeout=timeout_s)
            channel = text.channel
            into.write(stdin)
            channel.shutdown_write()
    except Exception as error:
        raise ConnectionLostError(f"the connection was lost ({one_line(str(error))})") from error

    def code() -> int:
        channel.status_event.wait(TIMEOUT_S)
        return int(channel.exit_status)

    try:
        with _told(code, lambda: Output(_Channel(channel, errors=True)).rest()):
            yield Output(_Channel(channel), timeout_s)
    finally:
        channel.close()


@contextmanager
def local_stream(
    words: Sequence[str], stdin: bytes, timeout_s: float = TIMEOUT_S
) -> Iterator[Output]:
    """Run a command on this machine; see ``transport.Device.stream``."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise DeployError(f"{words[0]} cannot be run ({error.strerror})") from error
        into, out = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)

        def code() -> int:
            try:
                return process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                return -1

        def last_words() -> bytes:
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _LAST_WORDS))
            return errors.read()

        with process:
            try:
                into.write(stdin)
                into.close()
                with _told(code, last_words):
                    yield Output(_Pipe(out.fileno(), timeout_s), timeout_s)
            finally:
                process.kill()  # where it was not read to the end


@contextmanager
def _told(code: Callable[[], int], said: Callable[[], bytes]) -> Iterator[None]:
    """Give the reason when a command fails or ends too early: its last line on stderr."""
    early: EOFError | None = None
    try:
        yield
    except EOFError as error:
        early = error
    status = code()
    if early is not None or status != 0:
        lines = [line for line in said().decode("utf-8", "replace").splitlines() if line.strip()]
        reason = lines[-1] if lines else f"the command or its connection was ended ({status})"
        kind = ConnectionLostError if status < 0 else DeployError
        raise kind(one_line(reason)) from early
