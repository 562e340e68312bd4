"""Picture files by their content: what a file is, its size before it is decoded, upright BGR.

OpenCV decodes, for it is there anyway (Pillow would add 20 MB to a device). What it does not tell
is read here from the file's header: the size, which bounds the memory that decoding takes; the
orientation, which OpenCV 4 does not apply to WebP; whether the file moves, and whether it is whole.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, PictureError
from edge.media.content import HEAD, content_of, is_text
from edge.system.diagnostics import silenced

MEGAPIXELS_VARIABLE: Final = "EDGEEMO_MAX_MEGAPIXELS"
"""The environment variable that allows larger pictures."""
MAX_MEGAPIXELS: Final = 64.0
_MOST_EVER: Final = 1024
"""OpenCV decodes no more."""
MAX_SIDE: Final = 32_766
"""OpenCV 4 warps no longer side."""

FORMS: Final = ("BMP", "GIF", "JPEG", "PNG", "PNM", "TIFF", "WebP")
"""What is read; PNM is PBM, PGM and PPM."""
SUFFIXES: Final = frozenset(
    {
        *(".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm"),
        *(".ppm", ".tif", ".tiff", ".webp"),
    }
)
"""Names that say "a picture". What is inside decides; these tell what was meant to be one."""

_RAW: Final = "a camera's raw file"
_MAGIC: Final = (
    (rb"\xff\xd8\xff\xf7", "JPEG-LS"),
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"RIFF....WEBP", "WebP"),
    (rb"BM.{4}\0\0\0\0.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", "BMP"),
    (rb"II\*\0....CR|IIR[OS]|MMOR|IIU\0|II\x1a\0\0\0HEAPCCDR", _RAW),
    (rb"....ftypcrx |FUJIFILMCCD-RAW|FOVb", _RAW),
    (rb"II\*\0|MM\0\*", "TIFF"),
    (rb"P[1-6]\s[\s\d#]", "PNM"),
    (rb"....ftyp(?:avif|avis)", "AVIF"),
    (rb"....ftyp(?:hei[cmsx]|hev[cmsx]|mif1|msf1)", "HEIC"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  ", "JPEG 2000"),
    (rb"8BPS", "Photoshop"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?RADIANCE", "Radiance HDR"),
    (rb"II\+\0|MM\0\+", "BigTIFF"),
    (rb"II\xbc\x01", "JPEG XR"),
    (rb"BPG\xfb", "BPG"),
    (rb"FLIF", "FLIF"),
    (rb"qoif", "QOI"),
    (rb"P7\s|P[Ff]\s", "PAM or PFM"),
    (rb"\0\0\x01\0[\x01-\xff]\0..\0[\0\x01]", "a Windows icon"),
    (rb"\0\0\x02\0[\x01-\xff]\0..\0", "a Windows cursor"),
    (rb"icns", "a macOS icon"),
    (rb"\x0a[\0-\x05]\x01[\x01\x02\x04\x08]", "PCX"),
    (rb"DDS ", "DDS"),
    (rb"\x01\xda[\0\x01][\x01\x02]", "SGI"),
    (rb"\x59\xa6\x6a\x95", "Sun raster"),
    (rb"gimp xcf ", "GIMP"),
    (rb"PK\x03\x04.{22}\x08\0\0\0mimetype(?:image/openraster|application/x-kr)", "Krita"),
    (rb"AT&TFORM....DJV", "DjVu"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "a Windows metafile"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"/\* XPM", "XPM"),
    (rb"SIMPLE  =", "FITS"),
    (rb".{128}DICM", "DICOM"),
)  # fmt: skip
_FORMS: Final = tuple((re.compile(magic, re.DOTALL), form) for magic, form in _MAGIC)
_NAMED: Final = 5
_LONGEST_LOOK: Final = 16_000_000
_WIDTH, _HEIGHT, _ORIENTATION = 0x0100, 0x0101, 0x0112
_SUBFILE, _SUB_DIRECTORIES, _DNG = 0x00FE, 0x014A, 0xC612


class Header(msgspec.Struct, frozen=True):
    """What a picture file says of itself.

    Attributes:
        size_hw: height and width in pixels, as stored.
        orientation: EXIF's, 1 to 8: how to turn it upright. A TIFF's is left to OpenCV.
        moves: there is more than one picture in it (an animation, a motion JPEG).
        is_whole: the file does not break off, as far as its structure tells.
    """

    size_hw: tuple[int, int]
    orientation: int = 1
    moves: bool = False
    is_whole: bool = True


class Picture(msgspec.Struct, frozen=True, eq=False):
    """A decoded picture.

    Attributes:
        image: BGR uint8 ``(H, W, 3)``, upright. Transparency is dropped (in a TIFF, where libtiff
            multiplies by it, it becomes black), 16 bits become 8.
        form: one of ``FORMS``.
        moves: only the first of several pictures is here.
    """

    image: NDArray[np.uint8]
    form: str
    moves: bool


def form_of(path: Path) -> str | None:
    """Return what kind of picture a file holds; None for none, or where it cannot be looked into.

    Not every kind that is known is read: ``FORMS`` are.
    """
    try:
        return _form(_read(path, HEAD)) if path.is_file() else None
    except OSError:
        return None


def is_meant_as_picture(path: Path) -> bool:
    """Tell the pictures of a folder from what lies beside them, by content or else by name."""
    return form_of(path) is not None or path.suffix.lower() in SUFFIXES


def listed(names: Sequence[str]) -> str:
    """Return file names for a message: a few, and how many there are more."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def is_film(path: Path) -> bool:
    """Tell an animated GIF and a motion JPEG, which are films where each is named by itself."""
    if form_of(path) not in {"GIF", "JPEG"}:
        return False
    header = read_header(_read(path, _LONGEST_LOOK))
    return header is not None and header.moves


def open_picture(path: Path) -> Picture:
    """Decode a picture.

    Raises:
        PictureError: no picture, of a form that is not read, damaged, cut off or too large; the
            message names file and reason.
        ConfigError: the environment variable for larger pictures holds no number.
    """
    try:
        if not path.is_file():
            raise PictureError(path, "not a file")
        data = _read(path, round(8 * _most_pixels()) + _LONGEST_LOOK)
    except OSError as error:
        raise PictureError(path, str(error.strerror)) from error
    return decode_picture(data, path)


def decode_picture(data: bytes, name: object) -> Picture:
    """Decode the bytes of a picture's file.

    Args:
        data: all of the file.
        name: what messages call it.

    Raises:
        PictureError: as ``open_picture``.
        ConfigError: as ``open_picture``.
    """
    form = _form(data)
    if form not in FORMS:
        raise PictureError(name, _instead(data, form))
    header = read_header(data)
    _check(name, header)
    image = _decode(data, form)
    if image is None or header is None:
        raise PictureError(name, f"a {form} that is damaged, or of a kind that OpenCV lacks")
    return Picture(_upright(image, header.orientation), form, header.moves)


def _instead(data: bytes, form: str | None) -> str:
    """Say what is there instead of a picture that is read."""
    if not data:
        return "an empty file"
    found = content_of(data[:HEAD])
    text = "a text file" if is_text(data[:HEAD]) else "its content is no picture"
    remedy = "; convert it to JPEG or PNG" if form else ""
    return f"{form or (found.name if found else text)}, expected {', '.join(FORMS)}{remedy}"


def read_header(data: bytes) -> Header | None:
    """Return what a picture's header says, without decoding it; None where it is damaged."""
    form = _form(data)
    if form not in FORMS:
        return None
    try:
        header = _READERS[form](data)
    except (struct.error, IndexError, ValueError):
        return None
    return header if min(header.size_hw) > 0 else None


def _form(data: bytes) -> str | None:
    head = data[:HEAD]
    form = next((form for magic, form in _FORMS if magic.match(head)), None)
    return _RAW if form == "TIFF" and _is_raw(head) else form


def _is_raw(head: bytes) -> bool:
    """Tell a camera's raw file, whose TIFF directory begins with a thumbnail, from a picture.

    Of DNG, NEF, ARW and their like OpenCV would decode that thumbnail, or nothing.
    """
    try:
        tags = _tags(head)
    except (struct.error, ValueError):
        return False
    return _DNG in tags or (tags.get(_SUBFILE) == 1 and _SUB_DIRECTORIES in tags)


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        # Never asked for more than there is: Python reserves what it is asked for.
        return file.read(min(most, os.fstat(file.fileno()).st_size))


def _most_pixels() -> float:
    text = os.environ.get(MEGAPIXELS_VARIABLE, "") or f"{MAX_MEGAPIXELS}"
    try:
        most = float(text)
    except ValueError:
        most = 0.0
    if not 0 < most <= _MOST_EVER:
        raise ConfigError(f"{MEGAPIXELS_VARIABLE}={text}: expected a number from 0 to {_MOST_EVER}")
    return most * 1e6


def _check(path: object, header: Header | None) -> None:
    """Refuse, before anything is decoded, what is damaged or would take too much memory."""
    if header is None:
        raise PictureError(path, "its header is damaged")
    height, width = header.size_hw
    size = f"{width}x{height} pixels"
    if height * width > _most_pixels():
        raise PictureError(
            path,
            f"too large: {size}, {height * width / 1e6:.0f} megapixels, at most "
            f"{_most_pixels() / 1e6:g}; {MEGAPIXELS_VARIABLE} allows more",
        )
    if max(height, width) > MAX_SIDE:
        raise PictureError(path, f"too large: {size}, at most {MAX_SIDE} a side")
    if not header.is_whole:
        raise PictureError(path, f"cut off: {size} were announced")


def _decode(data: bytes, form: str) -> NDArray[np.uint8] | None:
    """Return BGR ``(H, W, 3)``, not turned but for a TIFF; None where it is damaged."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        with silenced():  # libpng and libjpeg print their own complaints
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if image is None and form == "GIF":  # many builds of OpenCV have no GIF, but FFmpeg
                image = _first_frame(data)
    except cv2.error:
        return None
    return None if image is None else np.asarray(image, np.uint8)


def _first_frame(data: bytes) -> NDArray[np.uint8] | None:
    """Decode the first frame by FFmpeg, from memory: a name may be one that OpenCV cannot open."""
    if not hasattr(os, "memfd_create"):  # as on Linux only; it gives up a GIF that OpenCV has not
        return None
    descriptor = os.memfd_create("picture")
    try:
        os.write(descriptor, data)
        capture = cv2.VideoCapture(f"/proc/self/fd/{descriptor}", cv2.CAP_FFMPEG)
        there, image = capture.read()
        capture.release()
    finally:
        os.close(descriptor)
    return np.asarray(image, np.uint8) if there else None


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror a picture as EXIF's orientation says."""
    if orientation >= 5:  # rows and columns change places
        image = image.transpose(1, 0, 2)
    if orientation in {3, 4, 7, 8}:
        image = image[::-1]
    if orientation in {2, 3, 6, 7}:
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _jpeg(data: bytes) -> Header:
    size_hw, orientation, at, is_album = (0, 0), 1, 2, False
    while True:
        at = data.index(b"\xff", at)
        marker = data[at + 1]
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:  # stuffing, or without a body
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            size_hw = struct.unpack_from(">HH", body, 1)
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body)
        elif marker == 0xE2 and body.startswith(b"MPF\0"):
            is_album = True  # previews, a second eye or a gain map follow: still one picture
        elif marker == 0xDA:
            break
        at += 2 + length
    end = data.find(b"\xff\xd9", at)  # cannot be among compressed pixels
    moves = not is_album and data[end + 2 : end + 5] == b"\xff\xd8\xff"
    return Header(size_hw, orientation, end >= 0 and moves, end >= 0)


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    orientation, moves, is_whole = 1, False, False
    for name, body in _chunks(data, 8, ">", overhead=4):
        if name == b"acTL":
            moves = struct.unpack_from(">I", body)[0] > 1
        elif name == b"eXIf":
            orientation = _exif_orientation(bytes(body))
        is_whole = name == b"IEND"
    return Header((height, width), orientation, moves, is_whole)


def _webp(data: bytes) -> Header:
    size_hw, orientation, moves = (0, 0), 1, False
    for name, body in _chunks(data, 12, "<"):
        if name == b"VP8X":
            moves = bool(body[0] & 2)
            width, height = (int.from_bytes(body[i : i + 3], "little") + 1 for i in (4, 7))
            size_hw = height, width
        elif name == b"EXIF":
            orientation = _exif_orientation(bytes(body))
        elif name == b"VP8 " and size_hw == (0, 0):
            width, height = struct.unpack_from("<HH", body, 6)
            size_hw = height & 0x3FFF, width & 0x3FFF
        elif name == b"VP8L" and size_hw == (0, 0):
            (bits,) = struct.unpack_from("<I", body, 1)
            size_hw = (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    (announced,) = struct.unpack_from("<I", data, 4)
    return Header(size_hw, orientation, moves, len(data) >= announced + 8)


def _chunks(
    data: bytes, at: int, order: str, *, overhead: int = 0
) -> Iterator[tuple[bytes, memoryview]]:
    """Yield a PNG's chunks (length, name, body, sum) or a RIFF's (name, length, body, pad)."""
    view = memoryview(data)
    while at + 8 <= len(data):
        first, second = bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        name, size = (second, first) if order == ">" else (first, second)
        (length,) = struct.unpack(f"{order}I", size)
        yield name, view[at + 8 : at + 8 + length]
        at += 8 + length + (overhead or length % 2)


def _gif(data: bytes) -> Header:
    width, height = struct.unpack_from("<HH", data, 6)
    at = 13 + _colours(data[10])
    pictures = 0
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C:
            pictures += 1
            at += 11 + _colours(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at]:  # blocks, each after its length
            at += data[at] + 1
        at += 1
    return Header((height, width), moves=pictures > 1, is_whole=pictures > 0)


def _colours(flags: int) -> int:
    """Return how many bytes a GIF's colour table has."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _bmp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    return Header((abs(height), abs(width)))


def _tiff(data: bytes) -> Header:
    tags = _tags(data)
    return Header((tags.get(_HEIGHT, 0), tags.get(_WIDTH, 0)))


def _pnm(data: bytes) -> Header:
    words = re.sub(rb"#[^\n\r]*", b" ", data[:4096]).split(maxsplit=3)
    return Header((int(words[2]), int(words[1])))


def _exif_orientation(body: bytes) -> int:
    try:
        orientation = _tags(body.removeprefix(b"Exif\0\0")).get(_ORIENTATION, 1)
    except (struct.error, ValueError):
        return 1  # EXIF that is damaged says nothing
    return orientation if 1 <= orientation <= 8 else 1


def _tags(data: bytes) -> dict[int, int]:
    """Return the numbers of a TIFF's first directory, which is EXIF's form, too."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("neither byte order")
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, at)
        tags[tag] = 0
        if kind in {3, 4}:
            tags[tag] = struct.unpack_from(f"{order}{'HI'[kind - 3]}", data, at + 8)[0]
    return tags


_READERS: Final[dict[str, Callable[[bytes], Header]]] = {
    "BMP": _bmp,
    "GIF": _gif,
    "JPEG": _jpeg,
    "PNG": _png,
    "PNM": _pnm,
    "TIFF": _tiff,
    "WebP": _webp,
}
