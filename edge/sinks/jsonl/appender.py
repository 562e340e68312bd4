"""The file that is being written: whole lines only, whatever happens; and how files end."""

import contextlib
import errno
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from edge.contract.logfiles import (
    FILE_NAME,
    LONGEST_LINE,
    MOST_RECORDS,
    DirectoryLock,
    closed_files,
    closed_name,
)
from edge.contract.logrecord import decoded
from edge.errors import LogError
from edge.files import open_own, open_regular, read_at, sync_folder

_TAIL_BYTES: Final = 1 << 16
_LAST_LINES: Final = 1000
"""Of a compressed file: those that may be records, among which the last one is looked for."""


class _Numbered(msgspec.Struct):
    """What is read of a record."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=MOST_RECORDS)]


_decoder = msgspec.json.Decoder(_Numbered)


def cut_torn_line(fd: int) -> int:
    """Truncate the file after its last newline and return how many bytes went."""
    size = os.lseek(fd, 0, os.SEEK_END)
    keep = _newline_before(fd, size) + 1
    if keep < size:
        os.ftruncate(fd, keep)
        os.fsync(fd)
    return size - keep


def last_closed_seq(directory: Path) -> int:
    """Return the number of the last record in the closed files, or -1.

    A file without one, as when it is damaged, must neither keep the service from starting nor let
    the numbers begin anew: the one before it is asked.
    """
    for file in reversed(closed_files(directory)):
        with contextlib.suppress(FileNotFoundError):  # removed just now
            last = _last_compressed(file.path) if file.is_compressed else _last_plain(file.path)
            if last >= 0:
                return last
    return -1


def last_seq(fd: int) -> int:
    """Return the number of the last record, or -1: what is no record is skipped."""
    return _first_number(_lines_backwards(fd))


def _last_plain(path: Path) -> int:
    fd = open_regular(path)
    try:
        return last_seq(fd)
    finally:
        os.close(fd)


def _last_compressed(path: Path) -> int:
    from edge.logs.lines import lines_of  # most runs find a file that is not compressed

    lines: deque[bytes] = deque(maxlen=_LAST_LINES)
    with contextlib.suppress(LogError):  # damaged: as far as it goes
        lines.extend(line for line in lines_of(path) if b'"seq"' in line)
    return _first_number(reversed(lines))


def _first_number(lines: Iterable[bytes]) -> int:
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):
            return decoded(line, _decoder).seq
    return -1


def _newline_before(fd: int, end: int) -> int:
    """Return where the last newline before ``end`` is, or -1."""
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        newline = read_at(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline
        end = start
    return -1


def _lines_backwards(fd: int) -> Iterator[bytes]:
    """Yield the lines that are not empty, the last one first; those too long are skipped."""
    end, later = os.lseek(fd, 0, os.SEEK_END), b""
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        first, *lines = (read_at(fd, end - start, start) + later).split(b"\n")
        yield from (line for line in reversed(lines) if 0 < len(line) < LONGEST_LINE)
        end, later = start, first[:LONGEST_LINE]
    if 0 < len(later) < LONGEST_LINE:
        yield later


_NAME: Final = re.compile(r"edgeemo\.next-(\d{1,12})")


class NextMark:
    """The mark of a log directory; made when records are lost, removed when it tells nothing.

    The records that are in the files tell the next run where to go on; those that a full disk
    refused tell nothing, and their numbers would be given again: a loss without a gap. So the next
    number is kept in the name of an empty file, ``edgeemo.next-601``: a full disk has no room for
    content, but it has for a name.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> int:
        """Return the number to go on with at least; 0 without a mark."""
        numbers = [number for number in self._numbers() if number <= MOST_RECORDS]
        return max(numbers, default=0)

    def write(self, number: int) -> None:
        """Keep ``number``.

        Raises:
            OSError: the disk does not take so much as a name.
        """
        there = self._numbers()
        if number in there:
            return
        path = self._path(number)
        if there:
            self._path(max(there)).rename(path)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            os.close(os.open(path, flags, 0o640))

    def clear(self, number: int) -> None:
        """Remove a mark that tells nothing more than records that go up to ``number`` do."""
        for there in self._numbers():
            if there <= number:
                with contextlib.suppress(OSError):
                    self._path(there).unlink()

    def _path(self, number: int) -> Path:
        return self._directory / f"edgeemo.next-{number}"

    def _numbers(self) -> list[int]:
        with os.scandir(self._directory) as entries:
            matches = [_NAME.fullmatch(entry.name) for entry in entries]
        return [int(match[1]) for match in matches if match]


_log = logging.getLogger(__name__)

_DAY_S: Final = 86_400


class Appender:
    """Appends lines to ``DIR/edgeemo.jsonl`` (mode 0640), each by one ``write``; one thread only.

    After an error the file is closed, so that the disk can be remounted or repaired; the next line
    opens it again, in a directory made anew if that was deleted.

    Attributes:
        path: the file.
        recovered_bytes: bytes of torn last lines that were cut off when it was opened.
        next_seq: the number after that of the last record when the file was opened, or after the
            last one that was lost; 0 for a new log.
    """

    def __init__(
        self, directory: Path, rotate_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = directory / FILE_NAME
        self.recovered_bytes = 0
        self.next_seq = 0
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._clock = clock
        self._lock = DirectoryLock(directory)
        self._mark = NextMark(directory)
        self._fd = -1
        self._day = 0
        self._number = 0

    def open(self) -> None:
        """Open or make the file, repair it, and close it for good if it is of another day.

        Raises:
            OSError: it cannot be made or written.
            SinkError: another process writes in the directory.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self._number = max((file.number for file in closed_files(self._directory)), default=0) + 1
        self._fd = self._create()
        written_s = os.fstat(self._fd).st_mtime  # before the repair changes it
        torn = cut_torn_line(self._fd)
        if torn:
            self.recovered_bytes += torn
            _log.warning("%s: cut %d bytes of a torn line", self.path, torn)
        size = os.fstat(self._fd).st_size
        last = last_seq(self._fd)
        if last < 0:
            last = last_closed_seq(self._directory)
        self._mark.clear(last + 1)
        self.next_seq = max(self.next_seq, last + 1, self._mark.read())
        # Its last write tells the day, also to a process that was started later.
        self._day = _utc_day(written_s)
        if self._is_due(size, 0):
            self._rotate()

    def append(self, line: bytes) -> bool:
        """Append one line, with its newline; True means that a file was closed for it.

        Raises:
            OSError: the disk did not take it; the file is as it was before.
            SinkError: another process has come to write in the directory.
        """
        try:
            size = self._size_in_place()
            rotated = self._is_due(size, len(line))
            if rotated:
                self._rotate()
                size = 0
            self._write(line, size)
        except OSError:
            self._close_file()
            raise
        return rotated

    def sync(self) -> None:
        """Bring what was appended to the disk.

        Raises:
            OSError: the disk failed.
        """
        if self._fd < 0:
            return
        try:
            os.fsync(self._fd)
        except OSError:
            self._close_file()
            raise

    def leave_out(self, number: int) -> None:
        """Let the next run go on with ``number``: the records before it are lost.

        What the disk does not take cannot be helped; a directory of another process is left alone.
        """
        if self._lock.is_held:
            with contextlib.suppress(OSError):
                self._mark.write(number)

    def close(self) -> None:
        """Close the file and give the directory free; harmless when repeated."""
        self._close_file()
        self._lock.release()

    def _write(self, line: bytes, size: int) -> None:
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - only part fitted
        except OSError:
            with contextlib.suppress(OSError):  # best effort: opening repairs it otherwise
                os.ftruncate(self._fd, size)
            raise

    def _size_in_place(self) -> int:
        """Return the file's size; a file that was deleted or moved away is made anew."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(self.path)
                if os.path.samestat(status, os.fstat(self._fd)):
                    return status.st_size
            _log.warning("%s: was removed while it was written; starting a new one", self.path)
            self._close_file()
        self.open()
        return os.fstat(self._fd).st_size

    def _is_due(self, size: int, more: int) -> bool:
        """Tell whether the file is to be closed before ``more`` bytes are appended.

        A clock that steps back over midnight, and forth, closes nothing; one that steps back by
        days does once, or a file begun in a false future would never see its day pass.
        """
        today = _utc_day(self._clock())
        if size == 0:
            self._day = today
        return size > 0 and (
            size + more > self._rotate_bytes or today > self._day or today < self._day - 1
        )

    def _rotate(self) -> None:
        os.fsync(self._fd)
        now_s = self._clock()
        self._close_file()  # first, for Windows renames no open file
        self.path.rename(self._directory / closed_name(self._number, now_s))
        self._number += 1
        self._day = _utc_day(now_s)
        self._fd = self._create()
        sync_folder(self._directory)

    def _create(self) -> int:
        return open_own(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _utc_day(seconds: float) -> int:
    """Return the number of a UTC day, from 1970."""
    return int(seconds // _DAY_S)
