"""List this device's log files as JSON, or send what is asked for. Changes nothing.

Sent to ``python3 -`` on standard input, hence one file, and readable by an old Python::

    list DIR             {"files": [{"name", "size", "first"}]} or {"problem": "denied"|"missing"}
    send DIR WANTED      for each of WANTED, [[name, first, offset]...] as JSON: a line
                         {"found": false}, or {"found": true} with the content from the offset on
                         in blocks (4 bytes of length, big-endian; 0 ends them) and a line
                         {"size", "sha256"} of the content from its beginning

``first`` is the SHA-256 of a file's first line: it tells which file one is, whatever its name has
become. A plain file that was compressed meanwhile is sent as it was.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import stat
import struct
import sys
import zlib
from typing import Any, BinaryIO, cast

CURRENT = "edgeemo.jsonl"
CLOSED = r"edgeemo-(\d{6,})-\d{8}T\d{6}Z\.jsonl(\.gz)?"
_BLOCK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 20


def listing(folder: str) -> dict[str, Any]:
    """Return the log files of a folder, or why there are none to be had."""
    try:
        # Twice: a listing that runs while a file is compressed can pass over both of its names.
        names = {CURRENT, *_names(folder), *_names(folder)}
        return {"files": [entry for name in sorted(names) for entry in _entries(folder, name)]}
    except PermissionError:
        return {"problem": "denied"}
    except (FileNotFoundError, NotADirectoryError):
        return {"problem": "missing"}


def send(folder: str, wanted: list[Any], out: BinaryIO) -> None:
    """Write the files that are wanted and still are what they were."""
    for name, first, offset in wanted:
        for there in (name, f"{name}.gz"):
            file = _open(folder, there)
            if file is None:
                continue
            with file:
                if _first(file, there) == first:
                    _say(out, {"found": True})
                    _send(file, there, offset, out, unpack=there != name)
                    break
        else:
            _say(out, {"found": False})


def _send(file: BinaryIO, name: str, offset: int, out: BinaryIO, *, unpack: bool) -> None:
    file.seek(0)
    left = _whole_lines(file) if name == CURRENT else None
    content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if unpack else file
    digest, size = hashlib.sha256(), 0
    while left is None or left > 0:
        try:
            block = content.read(_BLOCK_BYTES if left is None else min(_BLOCK_BYTES, left))
        except (OSError, EOFError, zlib.error) as error:
            sys.exit(f"{name}: is damaged on the device ({error}); move it elsewhere there")
        if not block:
            break
        digest.update(block)
        fresh = block[max(0, offset - size) :]
        size += len(block)
        left = None if left is None else left - len(block)
        if fresh:
            out.write(struct.pack(">I", len(fresh)) + fresh)
    out.write(struct.pack(">I", 0))
    _say(out, {"size": size, "sha256": digest.hexdigest()})


def _say(out: BinaryIO, answer: dict[str, Any]) -> None:
    out.write(json.dumps(answer).encode("ascii") + b"\n")


def _names(folder: str) -> list[str]:
    return os.listdir(folder)  # noqa: PTH208 - names are all that is needed


def _entries(folder: str, name: str) -> list[dict[str, Any]]:
    if name != CURRENT and not re.fullmatch(CLOSED, name):
        return []
    file = _open(folder, name)
    if file is None:
        return []
    with file:
        size = os.fstat(file.fileno()).st_size
        return [{"name": name, "size": size, "first": _first(file, name)}]


def _open(folder: str, name: str) -> BinaryIO | None:
    """Open a file itself: no link, which could lead anywhere, no FIFO, which could hang."""
    path = os.path.join(folder, name)  # noqa: PTH118 - as the rest of this program
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")


def _first(file: BinaryIO, name: str) -> str | None:
    """Return the hash of the first line; None where there is no whole one."""
    content = cast("BinaryIO", gzip.GzipFile(fileobj=file)) if name.endswith(".gz") else file
    try:
        line = content.readline(_LONGEST_LINE)
    except (OSError, EOFError, zlib.error):
        return None
    return hashlib.sha256(line).hexdigest() if line.endswith(b"\n") else None


def _whole_lines(file: BinaryIO) -> int:
    """Return how many bytes the whole lines have; the rest is being written."""
    end = os.fstat(file.fileno()).st_size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(file.fileno(), end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "list":
        sys.stdout.write(json.dumps(listing(sys.argv[2])) + "\n")
    else:
        send(sys.argv[2], json.loads(sys.argv[3]), sys.stdout.buffer)
        sys.stdout.buffer.flush()
