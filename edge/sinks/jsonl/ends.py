"""How files end: a torn line is cut off, and the last record tells where the numbers go on."""

import contextlib
import os
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from edge.contract.logfiles import closed_files

_TAIL_BYTES: Final = 1 << 16


class _Numbered(msgspec.Struct):
    """What is read of a record."""

    seq: int


def cut_torn_line(fd: int) -> int:
    """Truncate the file after its last newline and return how many bytes went."""
    size = os.lseek(fd, 0, os.SEEK_END)
    keep = _newline_before(fd, size) + 1
    if keep < size:
        os.ftruncate(fd, keep)
        os.fsync(fd)
    return size - keep


def last_closed_seq(directory: Path) -> int:
    """Return the number of the last record in the newest closed file, or -1."""
    newest = closed_files(directory)[-1:]
    if not newest:
        return -1
    path = newest[0].path
    if newest[0].is_compressed:
        return _last_compressed_seq(path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return last_seq(fd)
    finally:
        os.close(fd)


def _last_compressed_seq(path: Path) -> int:
    import gzip  # hardly ever: files are compressed long before the next one is empty again
    import zlib

    try:
        with gzip.open(path) as lines:
            (last,) = deque(lines, maxlen=1)
            return msgspec.json.decode(last, type=_Numbered).seq
    except (OSError, EOFError, ValueError, zlib.error, msgspec.MsgspecError):
        return -1  # a damaged file must not keep the service from starting


def _newline_before(fd: int, end: int) -> int:
    """Return where the last newline before ``end`` is, or -1."""
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline
        end = start
    return -1


def last_seq(fd: int) -> int:
    """Return the number of the last record, or -1: what is no record is passed over."""
    end = os.lseek(fd, 0, os.SEEK_END) - 1
    while end > 0:
        start = _newline_before(fd, end) + 1
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.json.decode(os.pread(fd, end - start, start), type=_Numbered).seq
        end = start - 1
    return -1
