"""What an MP4's or QuickTime film's header says, and OpenCV does not tell. ISO/IEC 14496-12."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

_Span = tuple[int, int]
"""Where the content of a box begins and ends."""
_MOST_EDITS: Final = 10_000


def display_matrix(path: Path) -> bytes:
    """Return the display matrix of a film's pictures; empty without one.

    OpenCV makes an angle of it, in which a mirror image is lost. The nine numbers of ``tkhd`` come
    in the machine's byte order, as FFmpeg has them.
    """
    with path.open("rb") as file:
        for film in _films(file, path):
            for start, _ in _within(file, film, b"tkhd"):
                data = _read(file, start + (52 if _is_wide(file, start) else 40), 36)
                if len(data) == 36:
                    return struct.pack("=9i", *struct.unpack(">9i", data))
            break
    return b""


def shown_share(path: Path) -> float:
    """Return which part of its frames a film shows; 1 without an edit list.

    Phones trim a film by its edit list, and leave what nobody shall see in the file. ``elst`` has
    durations in the movie's time scale (``mvhd``), ``mdhd`` that of all frames in the track's.
    """
    with path.open("rb") as file:
        movie_s, scale = _duration(file, _within(file, (0, _size(path)), b"moov", b"mvhd"))
        for film in _films(file, path):
            whole_s, _ = _duration(file, _within(file, film, b"mdia", b"mdhd"))
            shown = sum(_edits(file, _within(file, film, b"edts", b"elst")))
            if movie_s and whole_s and shown:
                return min(shown / scale / whole_s, 1.0)
            break
    return 1.0


def _duration(file: BinaryIO, headers: Iterator[_Span]) -> tuple[float, int]:
    """Return the seconds of the first ``mvhd`` or ``mdhd``, and units a second; 0 without one."""
    for start, _ in headers:
        is_wide = _is_wide(file, start)
        data = _read(file, start + (20 if is_wide else 12), 12 if is_wide else 8)
        if len(data) == (12 if is_wide else 8):
            scale, units = struct.unpack(">IQ" if is_wide else ">II", data)
            return (units / scale, scale) if scale else (0.0, 0)
    return 0.0, 0


def _edits(file: BinaryIO, lists: Iterator[_Span]) -> Iterator[int]:
    """Yield how long each shown edit is, in the movie's units; empty ones are pauses before it."""
    for start, end in lists:
        is_wide = _is_wide(file, start)
        form = struct.Struct(">QqI" if is_wide else ">IiI")
        data = _read(file, start + 8, min(end - start - 8, _MOST_EDITS * form.size))
        for units, media, _ in form.iter_unpack(data[: len(data) // form.size * form.size]):
            if media >= 0:
                yield units


def _films(file: BinaryIO, path: Path) -> Iterator[_Span]:
    """Yield the tracks that hold pictures."""
    for track in _within(file, (0, _size(path)), b"moov", b"trak"):
        for start, _ in _within(file, track, b"mdia", b"hdlr"):
            if _read(file, start + 8, 4) == b"vide":
                yield track


def _size(path: Path) -> int:
    return path.stat().st_size


def _is_wide(file: BinaryIO, start: int) -> bool:
    """Tell whether a box has times of 64 bits: its version."""
    return _read(file, start, 1) == b"\1"


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(max(length, 0))


def _within(file: BinaryIO, span: _Span, *names: bytes) -> Iterator[_Span]:
    """Yield the boxes that a path of names leads to."""
    first, *rest = names
    for inner in _boxes(file, span, first):
        if rest:
            yield from _within(file, inner, *rest)
        else:
            yield inner


def _boxes(file: BinaryIO, span: _Span, wanted: bytes) -> Iterator[_Span]:
    """Yield the contents of the boxes of a name."""
    start, end = span
    while start + 8 <= end:
        size, name = struct.unpack(">I4s", _read(file, start, 8).ljust(8, b"\0"))
        content = start + 8
        if size == 1:
            size, content = int.from_bytes(_read(file, content, 8), "big"), start + 16
        size = size or end - start
        if size < content - start:
            return
        if name == wanted:
            yield content, min(start + size, end)
        start += size
