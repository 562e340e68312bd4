"""The files of a log directory and their order, for who writes, reads and collects them.

::

    edgeemo.jsonl                              being written
    edgeemo-000042-20260131T235959Z.jsonl.gz   closed: number, UTC time of closing
    edgeemo-000043-20260201T101500Z.jsonl      closed, not compressed yet
    edgeemo.lock                               locked by the writer, with its process id
    edgeemo.next-601                           empty; records up to number 600 were lost

Only regular files are log files: a link, a FIFO or a directory of such a name is skipped. The
numbers give the order, whatever the clock did; they only ever rise. The file that is being
written will get the number after the highest one.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import SinkError
from edge.files import is_regular, lock_alone, open_own, open_regular

FILE_NAME: Final = "edgeemo.jsonl"
LOCK_NAME: Final = "edgeemo.lock"
STORE_NAME: Final = "edgeemo-store"
"""A folder with what is known of the logs beside it, in another form; it holds no log."""
PART_SUFFIX: Final = ".part"
"""Of a compressed file that is not finished."""

LONGEST_LINE: Final = 1 << 20
"""Bytes of a line; what is longer is no record. The longest, with a whole mesh, has 20 kB."""

MOST_RECORDS: Final = 10**11
"""Numbers beyond are never given: no device makes so many records in its life."""

CLOSED = re.compile(r"edgeemo-(\d{6,})-\d{8}T\d{6}Z\.jsonl(\.gz)?")


class ClosedFile(msgspec.Struct, frozen=True):
    """A file that is not written any more."""

    path: Path
    number: int
    is_compressed: bool


def closed_name(number: int, closed_s: float) -> str:
    """Return the name of a file closed at ``closed_s`` (seconds since 1970)."""
    return f"edgeemo-{number:06}-{datetime.fromtimestamp(closed_s, UTC):%Y%m%dT%H%M%SZ}.jsonl"


def parse_closed(name: str) -> tuple[int, bool] | None:
    """Return a closed file's number and whether it is compressed; None: not a closed file's name.

    Such a name has no separator and no dots of its own: it cannot lead out of a directory.
    """
    match = CLOSED.fullmatch(name)
    return None if match is None else (int(match[1]), match[2] is not None)


def closed_files(directory: Path) -> list[ClosedFile]:
    """Return the closed files, oldest first.

    A file that is there twice, because its compression was interrupted before the plain one went,
    is given once, plain.

    Raises:
        OSError: the directory cannot be read.
    """
    # A listing that runs while a file is compressed can pass over both of its names. It happens to
    # a file once, so two listings miss none.
    found = _listed(directory) | _listed(directory)
    return [found[number] for number in sorted(found)]


def _listed(directory: Path) -> dict[int, ClosedFile]:
    found: dict[int, ClosedFile] = {}
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    for name in names:
        parsed = parse_closed(name)
        if parsed is None:
            continue
        file = ClosedFile(directory / name, *parsed)
        if file.number not in found or not file.is_compressed:
            found[file.number] = file
    return found


def log_directories(root: Path) -> Iterator[Path]:
    """Yield the log directories at and below ``root``, in the order of their names."""
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if name != STORE_NAME)
        has_names = any(name == FILE_NAME or CLOSED.fullmatch(name) for name in names)
        if has_names and log_files(Path(folder)):
            yield Path(folder)


def log_files(directory: Path) -> list[Path]:
    """Return the files of one log directory, oldest first, the one being written last."""
    current = directory / FILE_NAME
    closed = [file.path for file in closed_files(directory)]
    return [*closed, current] if is_regular(current) else closed


_LONGEST_PID: Final = 20


class DirectoryLock:
    """An exclusive lock on a log directory, held until ``release`` or the end of the process.

    The kernel releases it whatever happens to the holder, so a lock cannot be stale. The file
    stays: removing it would let two processes hold a lock on two files of the same name.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock, unless it is held already and its file is still in place.

        Raises:
            OSError: the lock file cannot be made.
            SinkError: another process holds it.
        """
        if self.is_held:
            return
        self.release()
        # Made through a descriptor of its own: one that could write, held for months, would keep
        # an administrator from remounting the disk read-only.
        os.close(open_own(self._path, os.O_WRONLY | os.O_CREAT))
        fd = open_own(self._path, os.O_RDONLY)
        try:
            lock_alone(fd)
        except OSError as error:
            os.close(fd)
            raise SinkError(
                f"{self._path.parent}: another edgeemo writes there ({self._holder()}); stop it or "
                "choose another --log-dir"
            ) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name, too
            self._sign()

    def release(self) -> None:
        """Give the lock back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_held(self) -> bool:
        """The lock is ours, and its file is still in place."""
        return self._fd >= 0 and self._is_in_place()

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self._fd))
        except OSError:
            return False

    def _sign(self) -> None:
        fd = open_own(self._path, os.O_WRONLY)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, b"%d\n" % os.getpid())
        finally:
            os.close(fd)

    def _holder(self) -> str:
        try:
            fd = open_regular(self._path)
            try:
                pid = int(os.read(fd, _LONGEST_PID))
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return "process unknown"
        return f"process {pid}"
