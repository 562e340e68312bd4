"""A CSV file as people have it: packed, in another encoding, with semicolons; or no CSV at all."""

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from host_training.errors import DataError

Rows = Iterator[tuple[int, list[str]]]
"""The rows below the header that are not blank, each with its number, counted from 1."""

_HEAD: Final = 1024
_LONGEST_LINE: Final = 1 << 17
"""A FER2013 row has at most 9,300 characters; a file of one endless line is not read whole."""
_GZIP: Final = b"\x1f\x8b"
_BOMS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_CONTENTS: Final = (
    (rb".{257}ustar", "a tar archive; unpack it"),
    (rb"PK\x03\x04.{0,1000}(?:\[Content_Types\]|xl/)", "an Excel workbook; save it as CSV"),
    (rb"PK\x03\x04.{0,1000}\.np[yz]", "a NumPy archive"),
    (rb"PK(?:\x03\x04|\x05\x06)", "a zip archive; unpack it"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (rb"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file; unpack it"),
    (rb"\xfd7zXZ\0", "an xz file; unpack it"),
    (rb"\x28\xb5\x2f\xfd", "a Zstandard file; unpack it"),
    (_GZIP, "a gzip file in a gzip file; unpack it"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook (.xls); save it as CSV"),
    (rb"PAR1", "a Parquet file; save it as CSV"),
    (rb"ARROW1|FEA1", "an Arrow or Feather file; save it as CSV"),
    (rb"\x89HDF\r\n", "an HDF5 file"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"\x80[\x02-\x05][\x8c\x95}\](]", "a pickle, which can run anything and is not opened"),
    (rb"%PDF-", "a PDF"),
    (
        rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|RIFF....WEBP",
        "a picture; give the folder of class folders",
    ),
    (rb"version https://git-lfs", "a Git LFS pointer and not the file itself; `git lfs pull`"),
    (
        rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|\?xml|!--)",
        "a web page, as a download without its login gives; download the file itself",
    ),
    (rb"(?:\xef\xbb\xbf)?\s*[{\[]", "JSON; save it as CSV"),
)
"""What a file may be instead, by its first bytes."""
_OTHERS: Final = tuple((re.compile(magic, re.DOTALL | re.I), told) for magic, told in _CONTENTS)


@contextmanager
def open_csv(path: Path, expected: str) -> Iterator[tuple[list[str], Rows]]:
    """Open a CSV, gzipped or not, in UTF-8 or UTF-16, with commas, semicolons or tabs.

    Args:
        path: the file.
        expected: what it should be, for messages: ``emotion,pixels,Usage as in fer2013.csv``.

    Yields:
        The header, stripped and in lower case, and the rows below it.

    Raises:
        DataError: it cannot be read, is damaged, or is something else, which is named.
    """
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: not a file; expected {expected}")
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            binary = gzip.GzipFile(fileobj=raw) if packed else raw
            head = binary.peek(_HEAD)[:_HEAD]
            _check_content(path, head, expected, packed=packed)
            encoding = _BOMS.get(head[:2], "utf-8-sig")
            with io.TextIOWrapper(binary, encoding=encoding, newline="") as text:
                lines = _lines(path, text)
                first = next(lines, "")
                reader = csv.reader(
                    chain([first], lines), delimiter=_delimiter(first), skipinitialspace=True
                )
                header = [name.strip().lower() for name in next(reader, [])]
                if not any(header):
                    raise DataError(f"{path}: empty; expected {expected}")
                yield header, _numbered(reader)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: truncated or damaged gzip file ({error}); copy it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV text file ({error}); expected {expected}") from error


def _check_content(path: Path, head: bytes, expected: str, *, packed: bool) -> None:
    for magic, told in _OTHERS:
        if magic.match(head):
            inside = "a gzip file of " if packed else ""
            raise DataError(
                f"{path}: not a CSV text file but {inside}{told}; expected a CSV with {expected}"
            )
    if b"\0" in head and head[:2] not in _BOMS:
        raise DataError(
            f"{path}: not a CSV text file but binary, or UTF-16 without a byte-order mark; "
            f"expected a CSV with {expected}, best in UTF-8"
        )


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """Yield the lines, blank ones at the beginning left out, none longer than a CSV's can be."""
    begun = False
    while line := text.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError(
                f"{path}: a line of more than {_LONGEST_LINE:,} characters; expected a CSV with a "
                "line for each row"
            )
        begun = begun or bool(line.strip())
        if begun:
            yield line


def _delimiter(header: str) -> str:
    """Return what separates the columns: what the header has most of."""
    return max(",;\t", key=header.count)


def _numbered(reader: Iterator[list[str]]) -> Rows:
    number = 0
    for row in reader:
        if any(cell.strip() for cell in row):
            number += 1
            yield number, row
