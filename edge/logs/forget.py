"""`edgeemo logs forget`: a participant's code goes from raw logs; all else stays."""

import gzip
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Final

import msgspec

from edge.contract.logfiles import LONGEST_LINE, DirectoryLock, log_files
from edge.errors import LogError
from edge.files import create_anew
from edge.logs.lines import lines_of
from edge.logs.tail import directories_in

_KIND: Final = b'"service_started"'


class Forgotten(msgspec.Struct, frozen=True):
    """What was done.

    Attributes:
        sessions: how many had the code.
        files: how many files were written anew.
    """

    sessions: int
    files: int


def forget_participant(root: Path, participant: str) -> Forgotten:
    """Take a participant's code out of every session below a folder.

    A session is named in its first record only: that loses the code, all others stay as they are.
    Each file is replaced by its successor, whole or not at all, with the same name, owner, mode and
    time; a call that was interrupted is repeated.

    Raises:
        LogError: a log is being written, holds what cannot be read, or cannot be written.
        SinkError: another edgeemo writes there.
    """
    sessions = files = 0
    for directory in directories_in(root):
        lock = DirectoryLock(directory)
        try:
            lock.acquire()
            for path in log_files(directory):
                found = _forget_in(path, participant)
                sessions, files = sessions + found, files + bool(found)
        except OSError as error:
            raise LogError(f"{directory}: cannot be changed ({error.strerror})") from error
        finally:
            lock.release()
    return Forgotten(sessions, files)


def _forget_in(path: Path, participant: str) -> int:
    """Write a file without the code, if it has it; return how many records had."""
    if not any(_names(line, participant) for line in lines_of(path)):
        return 0
    status = path.lstat()
    part = path.with_name(f".{path.name}.forget")
    count = 0
    try:
        with create_anew(part, 0o600) as raw:
            _own_as(raw.fileno(), status)
            packed = path.suffix == ".gz"
            with gzip.GzipFile(fileobj=raw, mode="wb") if packed else nullcontext(raw) as out:
                for line, found in _without(path, participant):
                    out.write(line + b"\n")
                    count += found
            raw.flush()
            os.fsync(raw.fileno())
        os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(part, path)  # noqa: PTH105 - over what had the code
    finally:
        part.unlink(missing_ok=True)
    return count


def _without(path: Path, participant: str) -> Iterator[tuple[bytes, int]]:
    """Yield the lines of the new file, and for each whether it was changed."""
    for line in lines_of(path):
        if len(line) >= LONGEST_LINE:
            raise LogError(
                f"{path}: has a line of more than {LONGEST_LINE:,} bytes, which cannot be copied; "
                "remove that file, or that line"
            )
        found = _names(line, participant)
        yield (_cleared(line) if found else line), int(found)


def _names(line: bytes, participant: str) -> bool:
    """Tell whether a line is a session's first record, with this code."""
    if _KIND not in line:
        return False
    try:
        record = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("participant") == participant


def _cleared(line: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(line) | {"participant": None})


def _own_as(fd: int, status: os.stat_result) -> None:
    """Let the same accounts read and write it as before."""
    if sys.platform == "win32":  # which takes them from the folder
        return
    os.fchmod(fd, status.st_mode & 0o777)
    if os.geteuid() == 0:
        os.fchown(fd, status.st_uid, status.st_gid)
