"""Whether an animated GIF is whole: FFmpeg ends at the first damage, and does not tell. GIF89a."""

import mmap
from pathlib import Path
from typing import Final

_HEADER: Final = 13
_EXTENSION: Final = 0x21
_IMAGE: Final = 0x2C
_TRAILER: Final = 0x3B
_CONTROL: Final = b"\x21\xf9\x04"
"""How what precedes each picture of an animation begins."""


def broken_at(path: Path) -> int:
    """Return the byte at which the blocks of a GIF end although it goes on; 0 of a whole one.

    One that is cut off within a block is broken at its end. Of what is no GIF it is 0.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GIF8":
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            at, is_whole = _end_of_blocks(data)
            return 0 if is_whole and data.find(_CONTROL, at) < 0 else at


def _end_of_blocks(data: mmap.mmap) -> tuple[int, bool]:
    """Return where the last readable block ends, and whether a file may end there."""
    size = len(data)
    if size < _HEADER:
        return size, False
    at = _HEADER + _colours(data[10])
    while at < size:
        kind = data[at]
        if kind == _TRAILER:
            return at + 1, True
        if kind == _EXTENSION:
            end = at + 2
        elif kind == _IMAGE and at + 9 < size:
            end = at + 10 + _colours(data[at + 9]) + 1
        else:
            return min(at, size), False
        while end < size and data[end]:  # blocks of at most 255 bytes; an empty one is the last
            end += data[end] + 1
        if end >= size:
            return size, False
        at = end + 1
    return size, at == size


def _colours(flags: int) -> int:
    """Return how many bytes the colour table takes that a byte of flags announces."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
