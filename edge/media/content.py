"""What a file holds, judged by its first bytes: for telling people what they gave instead.

Names lie: a download without a login is a web page whatever it is called. Only what is commonly
taken for a picture, a film or a table is known here; what is read has readers of its own.
"""

import re
from typing import Final, Literal

import msgspec

Kind = Literal["archive", "table", "picture", "page", "sound", "text", "other"]

HEAD: Final = 4096
"""So many bytes are looked at."""
_SHOWN: Final = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A, 0x0C, 0x0D, 0x1B}


class Content(msgspec.Struct, frozen=True):
    """What a file holds.

    Attributes:
        name: with its article: ``a zip archive``.
        kind: what can be done about it.
    """

    name: str
    kind: Kind


_TABLE: Final[tuple[tuple[bytes, str, Kind], ...]] = (
    (rb".{257}ustar", "a tar archive", "archive"),
    (rb"PK\x03\x04.{0,1000}(?:\[Content_Types\]|xl/)", "an Excel workbook", "table"),
    (rb"PK\x03\x04.{0,1000}word/", "a Word document", "other"),
    (rb"PK\x03\x04.{0,60}mimetypeapplication/vnd\.oasis", "an OpenDocument file", "table"),
    (rb"PK\x03\x04.{0,1000}\.np[yz]", "a NumPy archive", "other"),
    (rb"PK\x03\x04.{0,1000}(?:config\.json|model\.weights\.h5)", "a Keras model", "other"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive", "archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "archive"),
    (rb"Rar!\x1a\x07", "a RAR archive", "archive"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file", "archive"),
    (rb"\xfd7zXZ\0", "an xz file", "archive"),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard file", "archive"),
    (rb"\x1f\x8b", "a gzip file", "archive"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel or Word file", "table"),
    (rb"PAR1", "a Parquet file", "table"),
    (rb"ARROW1|FEA1", "an Arrow or Feather file", "table"),
    (rb"\x89HDF\r\n", "an HDF5 file", "other"),
    (rb"\x93NUMPY", "a NumPy array", "other"),
    (rb"SQLite format 3\0", "an SQLite database", "other"),
    (rb"....TFL3", "a TFLite model", "other"),
    (
        rb"\x80[\x02-\x05][\x8c\x95}\](]",
        "a pickle, which can run anything and is not opened",
        "other",
    ),
    (rb"\x7fELF", "a program", "other"),
    (rb"%PDF-", "a PDF", "other"),
    (rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|RIFF....WEBP", "a picture", "picture"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", "sound (MP3)", "sound"),
    (rb"\xff[\xf1\xf9]", "sound (AAC)", "sound"),
    (rb"RIFF....WAVE|RF64....WAVE", "sound (WAV)", "sound"),
    (rb"fLaC", "sound (FLAC)", "sound"),
    (rb"....ftypM4[AB] ", "sound (M4A)", "sound"),
    (rb"OggS.{23,28}(?:\x01vorbis|OpusHead|\x7fFLAC|Speex)", "sound (Ogg)", "sound"),
    (rb"FORM....AIF[FC]", "sound (AIFF)", "sound"),
    (rb"#!AMR", "sound (AMR)", "sound"),
    (rb"MThd\0", "music notes (MIDI)", "sound"),
    (rb"version https://git-lfs", "a Git LFS pointer and not the file itself", "other"),
    (rb"L\0\0\0\x01\x14\x02\0|\[InternetShortcut\]", "a shortcut and not the file itself", "other"),
    (rb"\0\0\0\x01Bud1|bplist00|\0\x05\x16\x07", "a file of macOS's own", "other"),
    (rb"data:\w+/|/9j/4AAQ|iVBORw0KGgo", "a picture as base64 text", "text"),
    (rb"\s*<(?:\?xml|!--|!doctype svg).{0,1000}<svg|\s*<svg", "an SVG drawing", "other"),
    (rb"\s*<\?xml(?!.{0,1000}<html)", "an XML file", "text"),
    (rb"\s*<(?:!doctype|html|head|\?xml|!--)", "a web page", "page"),
    (rb"\s*(?:\{\s*[\"}]|\[\s*[{\[\]\"\d-])", "JSON", "table"),
)
_KNOWN: Final = tuple(
    (re.compile(magic, re.DOTALL | re.IGNORECASE), Content(name, kind))
    for magic, name, kind in _TABLE
)
TEXT: Final = Content("a text file", "text")
_REMEDIES: Final[dict[Kind, str]] = {
    "archive": "unpack it",
    "page": "a download without its login gives one: download the file itself",
}


def content_of(head: bytes) -> Content | None:
    """Return what begins with these bytes; None for nothing that is known, and for plain text."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    return next((content for magic, content in _KNOWN if magic.match(head)), None)


def is_text(head: bytes) -> bool:
    """Tell whether these bytes are the beginning of a text: UTF-8, or UTF-16 that says so."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return b"\0\0" not in head
    if not head or any(byte < 0x80 and byte not in _SHOWN for byte in head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.end >= len(head) - 3 and len(head) >= HEAD  # a letter cut in two at the end
    return True


def remedy_for(content: Content) -> str:
    """Return what to do with it, whatever was expected: ``; unpack it``, or nothing."""
    remedy = _REMEDIES.get(content.kind)
    return f"; {remedy}" if remedy else ""
