"""A film's packets, looked through before OpenCV decodes it: how many, and of one kind or several.

OpenCV converts every picture as it did the first: of another size it makes a picture of two, of
another pixel format one of foreign memory, or it crashes. It does not tell, but the packets do.
"""

import re
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import msgspec

from edge.sources.files.avi import repeated_frames
from edge.sources.files.gif import broken_at
from edge.sources.files.mp4 import display_matrix, shown_share
from edge.sources.files.upright import Turn

_EBML: Final = b"\x1a\x45\xdf\xa3"
_PROJECTION: Final = b"\x76\x70"
_ROLL: Final = re.compile(rb"\x76\x75(?:\x84(.{4})|\x88(.{8}))", re.DOTALL)
_MATROSKA_HEAD: Final = 65_536
MOST_FAILURES: Final = 200
"""So many failures in a row, and nothing more is expected of a film."""
_MXF: Final = b"\x06\x0e\x2b\x34"
"""SMPTE ST 377-1: a key's first four bytes, and a file begins with one."""
_HEAD: Final = 4096
"""Parameters stand at the beginning of a packet."""
_UP_TO_NEXT: Final = rb".*?(?=\x00\x00[\x00\x01]|\Z)"
_H264: Final = re.compile(rb"\x00\x00\x01[\x07\x27\x47\x67]" + _UP_TO_NEXT, re.DOTALL)
_HEVC: Final = re.compile(rb"\x00\x00\x01\x42\x01" + _UP_TO_NEXT, re.DOTALL)
_MPEG2: Final = re.compile(rb"\x00\x00\x01\xb3.{4}", re.DOTALL)
_MPEG4: Final = re.compile(rb"\x00\x00\x01[\x20-\x2f]" + _UP_TO_NEXT, re.DOTALL)


def _vp8(packet: bytes) -> bytes:
    """RFC 6386, 9.1: a key frame's size."""
    return packet[6:10] if packet[3:6] == b"\x9d\x01\x2a" and not packet[0] & 1 else b""


def _vp9(packet: bytes) -> bytes:
    """VP9 bitstream specification, 6.2: a key frame's colours and size, to whole bytes."""
    return packet[4:8] if packet[1:4] == b"\x49\x83\x42" else b""


def _av1(packet: bytes) -> bytes:
    """AV1 bitstream specification, 5.3 and 5.5: a sequence header, whole; its size is a byte."""
    at = 2 if packet[:1] == b"\x12" else 0  # behind a temporal delimiter
    return packet[at : at + 2 + packet[at + 1]] if packet[at : at + 1] == b"\x0a" else b""


def _h263(packet: bytes) -> bytes:
    """ITU-T H.263, 5.1.3: the source format, three bits of PTYPE."""
    return bytes([packet[4] & 0x1C]) if packet[:2] == b"\0\0" and packet[2] & 0xFC == 0x80 else b""


def _flv1(packet: bytes) -> bytes:
    """Sorenson's H.263: 17 bits of start code, 5 of version, 8 of time; then 3 for the size.

    Of the sizes two are followed by numbers of 8 or 16 bits each.
    """
    bits = int.from_bytes(packet[:9].ljust(9, b"\0"), "big")
    if bits >> 55 != 1:
        return b""
    after = bits & (1 << 42) - 1
    length = {0: 16, 1: 32}.get(after >> 39, 0)
    return (after >> 39 - length).to_bytes(5, "big")


def _prores(packet: bytes) -> bytes:
    """SMPTE RDD 36, 5.1: chroma format, width and height of a frame."""
    return packet[16:21] if packet[4:8] == b"icpf" else b""


def _png(packet: bytes) -> bytes:
    """PNG specification, IHDR: size, depth and kind of colour."""
    return packet[16:26] if packet[12:16] == b"IHDR" else b""


def _dv(packet: bytes) -> bytes:
    """IEC 61834-2: 525 or 625 lines, a bit of the header block."""
    return packet[3:4] and bytes([packet[3] & 0x80])


def _found(pattern: re.Pattern[bytes]) -> Callable[[bytes], bytes]:
    def parameters(packet: bytes) -> bytes:
        found = pattern.search(packet)
        return found[0] if found else b""

    return parameters


_PARAMETERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "AV01": _av1,
    "av01": _av1,
    "dvsd": _dv,
    "flv1": _flv1,
    "H263": _h263,
    "h263": _h263,
    "s263": _h263,
    **dict.fromkeys(("apch", "apcn", "apcs", "apco", "ap4h", "ap4x"), _prores),
    "h264": _found(_H264),
    "hevc": _found(_HEVC),
    "mpg1": _found(_MPEG2),
    "mpg2": _found(_MPEG2),
    "png ": _png,
    "MPNG": _png,
    "FMP4": _found(_MPEG4),
    "VP80": _vp8,
    "VP90": _vp9,
}
"""What of a packet tells how its pictures are made; empty in most packets. By OpenCV's codec."""


class Survey(msgspec.Struct, frozen=True):
    """What is known of a film before it is decoded.

    Attributes:
        codec: four letters.
        packets: how many there are, damaged ones before the last included.
        announced: how many its header announces; 0 where the header does not count them.
        changes_at: the packet with which its pictures become others; None where none does.
        turn: how pictures are turned upright.
        aspect: width by height of a pixel.
        broken_at: the byte after which a GIF cannot be followed; 0 of a whole one.
    """

    codec: str
    packets: int
    announced: int
    changes_at: int | None
    turn: Turn
    aspect: Fraction | None
    broken_at: int = 0


def survey(name: str) -> Survey | None:
    """Look through a film without decoding it; None where OpenCV finds none."""
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        if not capture.isOpened():
            return None
        codec = codec_of(capture)
        packets, changes_at = _look_through(capture, codec)
        matrix = display_matrix(Path(name))
        degrees = capture.get(cv2.CAP_PROP_ORIENTATION_META) or matroska_roll(Path(name))
        return Survey(
            codec=codec,
            packets=packets,
            announced=_announced(capture, Path(name)),
            changes_at=changes_at,
            turn=Turn.of_matrix(matrix) if matrix else Turn.of_degrees(degrees),
            aspect=pixel_aspect(capture),
            broken_at=broken_at(Path(name)),
        )
    finally:
        capture.release()


def codec_of(capture: cv2.VideoCapture) -> str:
    """Return the four letters that OpenCV has for a film's codec."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace")


def pixel_aspect(capture: cv2.VideoCapture) -> Fraction | None:
    """Return width by height of a pixel; None where nobody tells."""
    across, down = (int(capture.get(key)) for key in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    return Fraction(across, down) if across > 0 and down > 0 else None


def parameters_in(codec: str, packet: bytes) -> bytes:
    """Return what a packet says of how its pictures are made; most say nothing: empty."""
    parameters = _PARAMETERS.get(codec)
    return parameters(packet[:_HEAD]) if parameters is not None else b""


def _look_through(capture: cv2.VideoCapture, codec: str) -> tuple[int, int | None]:
    count, failures, first, changes_at = 0, 0, b"", None
    while failures < MOST_FAILURES:
        if not capture.grab():
            failures += 1
            continue
        count, failures = count + failures, 0
        if codec in _PARAMETERS and changes_at is None:
            _, packet = capture.retrieve()
            told = b"" if packet is None else parameters_in(codec, packet.ravel()[:_HEAD].tobytes())
            if first and told and told != first:
                changes_at = count
            first = first or told
        count += 1
    return count, changes_at


def _announced(capture: cv2.VideoCapture, path: Path) -> int:
    """Return how many frames a film's header says that it shows; 0 where it does not count them."""
    if not _counts(path):
        return 0
    counted = round(capture.get(cv2.CAP_PROP_FRAME_COUNT) * shown_share(path))
    return max(counted - repeated_frames(path), 0)


def _counts(path: Path) -> bool:
    """Tell whether a film's container counts its frames: MP4, QuickTime, AVI and MXF do."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[4:8] in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"} or (
        head[:4] in {b"RIFF", _MXF}
    )


def matroska_roll(path: Path) -> float:
    """Return by how many degrees a Matroska film is to be turned clockwise; 0 without a word.

    RFC 9559, ``Projection`` and its ``ProjectionPoseRoll``, which counts the other way.
    """
    with path.open("rb") as file:
        head = file.read(_MATROSKA_HEAD)
    if not head.startswith(_EBML) or _PROJECTION not in head:
        return 0.0
    found = _ROLL.search(head, head.index(_PROJECTION))
    if found is None:
        return 0.0
    number = found[1] or found[2]
    return -float(struct.unpack(">f" if len(number) == 4 else ">d", number)[0])
