"""The lines of closed files, plain and compressed, none of which fills the memory."""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, cast

from edge.contract.logfiles import LONGEST_LINE
from edge.errors import LogError
from edge.files import open_regular

_BLOCK_BYTES: Final = 1 << 18
_NO_RECORD: Final = b"null"


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a closed file, which may be compressed just before it is opened.

    A line that is too long is no record: its first bytes are given, and the rest is skipped.

    Raises:
        LogError: it cannot be read.
    """
    try:
        with ExitStack() as stack:
            yield from _lines(_opened(path, stack))
    except FileNotFoundError:
        return  # removed as too old before it could be read
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise LogError(f"{path}: is damaged ({error}); move it elsewhere") from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror})") from error


def cut(path: Path, target: Path) -> bool:
    """Copy a file without its lines that are too long; False, and no copy, if it has none.

    Raises:
        LogError: it cannot be read.
    """
    has_cut = False
    with gzip.open(target, "wb", 1) as copy:
        for line in lines_of(path):
            is_long = len(line) == LONGEST_LINE
            has_cut = has_cut or is_long
            copy.write((_NO_RECORD if is_long else line) + b"\n")
    if not has_cut:
        target.unlink()
    return has_cut


def _lines(file: BinaryIO) -> Iterator[bytes]:
    begun, is_long = b"", False
    while block := file.read(_BLOCK_BYTES):
        first, *others = block.split(b"\n")
        begun += b"" if is_long else first
        if len(begun) >= LONGEST_LINE:
            begun, is_long = begun[:LONGEST_LINE], True
        if others:
            yield begun
            yield from others[:-1]
            begun, is_long = others[-1], False
    if begun:
        yield begun


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    if path.suffix != ".gz":
        try:
            return stack.enter_context(os.fdopen(open_regular(path), "rb"))
        except FileNotFoundError:
            path = path.with_name(f"{path.name}.gz")
    file = stack.enter_context(os.fdopen(open_regular(path), "rb"))
    return stack.enter_context(cast("BinaryIO", gzip.GzipFile(fileobj=file)))
