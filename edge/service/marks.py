"""Markers from outside, into a log that is being written: a local socket in its directory.

`edgeemo logs mark` sends one datagram; whoever may write in the directory, or is of its group, may
mark. The kernel holds a few until the service comes to read them, so nothing waits for anybody, and
nothing grows: what is too much, too long or not a marker is skipped.
"""

import _socket as socket  # what `socket` adds is half a megabyte that a run does not need
import contextlib
import errno
import logging
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from edge.contract.logrecord import Phase
from edge.errors import LogError, not_there
from edge.files import open_to_group
from edge.text import one_line

_log = logging.getLogger(__name__)

SOCKET_NAME: Final = "edgeemo.mark"
LONGEST_TEXT: Final = 200
"""Characters of a marker."""
_MOST_BYTES: Final = 4_096
_MOST_AT_ONCE: Final = 64
"""A flood of markers does not hold up the camera."""
_POLL_S: Final = 0.1

Time = Annotated[float, msgspec.Meta(ge=0, le=10**12)]


class MarkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A marker on its way into a log.

    Attributes:
        marker: its text.
        phase: whether it is a moment, or the beginning or end of something.
        monotonic_s: when it was made, on the machine's monotonic clock.
    """

    marker: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
    phase: Phase
    monotonic_s: Time


class MarkBox:
    """Where markers arrive, in the directory of the log; the log's lock must be held.

    Args:
        directory: of the log.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / SOCKET_NAME
        self._socket: socket.socket | None = None
        if sys.platform == "win32":  # Python has no Unix sockets there
            return
        try:
            self._socket = _opened(self._path)
        except OSError as error:  # some network and card file systems have no sockets
            _log.warning("%s: no markers can be given (%s)", self._path, error.strerror or error)

    def take(self) -> Iterator[MarkRequest]:
        """Yield the markers that have arrived; never waits."""
        if self._socket is None:
            return
        for _ in range(_MOST_AT_ONCE):
            try:
                content = self._socket.recv(_MOST_BYTES + 1)
            except OSError:  # none is there
                return
            try:
                mark = _decoder.decode(content)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                _log.warning("what arrived at %s is no marker", self._path)
                continue
            yield msgspec.structs.replace(mark, marker=one_line(mark.marker, LONGEST_TEXT) or "-")

    def close(self) -> None:
        """Take the socket away; harmless when repeated."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink()


class Marks:
    """All markers that are on their way into a log: by its socket, a key, or the page.

    Attributes:
        box: of the log; None where none is written.
    """

    def __init__(self) -> None:
        self.box: MarkBox | None = None
        self._own: deque[MarkRequest] = deque(maxlen=_MOST_AT_ONCE)

    def add(self, text: str, phase: Phase = "point") -> None:
        """Add a marker for this moment; may be called by any thread."""
        self._own.append(MarkRequest(one_line(text, LONGEST_TEXT) or "-", phase, time.monotonic()))

    def take(self) -> Iterator[MarkRequest]:
        """Yield what has arrived; never waits."""
        while self._own:
            yield self._own.popleft()
        if self.box is not None:
            yield from self.box.take()


_decoder = msgspec.json.Decoder(MarkRequest)


def send_mark(directory: Path, text: str, phase: Phase = "point", wait_s: float = 0.0) -> None:
    """Give a marker for this moment to the edgeemo that writes the log in a directory.

    Args:
        directory: of the log.
        text: of the marker, at most ``LONGEST_TEXT`` characters.
        phase: whether it is a moment, or the beginning or end of something.
        wait_s: how long to wait for a run that begins; the marker is of the moment it is given.

    Raises:
        LogError: none does, or it takes none.
    """
    if sys.platform == "win32":
        raise LogError(
            "markers are given through a Unix socket, which Windows has not; give them on the "
            "live page, or by a key in the window of `edgeemo run --display`"
        )
    until_s = time.monotonic() + wait_s
    while True:
        try:
            _send(directory, msgspec.json.encode(MarkRequest(text, phase, time.monotonic())))
        except LogError:
            if time.monotonic() >= until_s:
                raise
            time.sleep(_POLL_S)
        else:
            return


def _send(directory: Path, content: bytes) -> None:
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
        sender.setblocking(False)
        try:
            with _reachable(directory) as folder:
                sender.sendto(content, f"{folder}/{SOCKET_NAME}")
        except OSError as error:
            raise not_there(LogError(_told(directory, error)), error) from error


def _told(directory: Path, error: OSError) -> str:
    if error.errno in {errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR}:
        return (
            f"{directory}: no running edgeemo writes a log there; give the --log-dir of one that "
            "runs on this machine"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"{directory}: this account may not mark that log; use the account that edgeemo runs "
            "as, or join the group of the directory"
        )
    if error.errno in {errno.EAGAIN, errno.ENOBUFS}:
        return f"{directory}: the running edgeemo is not reading its markers; try again"
    return f"{directory}: the marker could not be given ({error.strerror})"


def _opened(path: Path) -> socket.socket:
    """Return the socket at a path, in the place of one that a killed process left behind."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something else has its name; remove it")
        path.unlink()
    box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        box.setblocking(False)
        with _reachable(path.parent) as folder:
            box.bind(f"{folder}/{path.name}")
            open_to_group(f"{folder}/{path.name}")
    except OSError:
        box.close()
        raise
    return box


@contextlib.contextmanager
def _reachable(directory: Path) -> Iterator[str]:
    """Yield a short name of a directory: the name of a socket has at most 108 bytes."""
    if sys.platform != "linux":  # there is no other name
        yield str(directory)
        return
    fd = os.open(directory, os.O_DIRECTORY | os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
