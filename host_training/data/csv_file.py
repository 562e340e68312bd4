"""A CSV file as people have it: packed, in another encoding, with semicolons; or no CSV at all."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Final

from edge.errors import not_there
from edge.media.content import content_of, remedy_for
from host_training.errors import DataError

Rows = Iterator[tuple[int, list[str]]]
"""The rows below the header that are not blank, each with its number, counted from 1."""

_HEAD: Final = 1024
_LONGEST_LINE: Final = 1 << 17
"""A FER2013 row has at most 9,300 characters; a file of one endless line is not read whole."""
_GZIP: Final = b"\x1f\x8b"
_BOMS: Final = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_REMEDIES: Final[dict[str, str]] = {
    "table": "save it as CSV",
    "picture": "give the folder of class folders",
}


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
        what = DataError(f"{path}: cannot be read ({error.strerror})")
        raise not_there(what, error) from error
    except (UnicodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV text file ({error}); expected {expected}") from error


def _check_content(path: Path, head: bytes, expected: str, *, packed: bool) -> None:
    found = content_of(head)
    if found is not None:
        inside = "a gzip file of " if packed else ""
        special = _REMEDIES.get(found.kind)
        remedy = f"; {special}" if special else remedy_for(found)
        raise DataError(
            f"{path}: not a CSV text file but {inside}{found.name}{remedy}; expected a CSV with "
            f"{expected}"
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
