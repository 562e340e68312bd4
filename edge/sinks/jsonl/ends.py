"""How files end: a torn line is cut off, and the last record tells where the numbers go on."""

import contextlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from edge.contract.logfiles import LONGEST_LINE, MOST_RECORDS, closed_files
from edge.contract.logrecord import decoded
from edge.errors import LogError
from edge.files import open_regular, read_at

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
