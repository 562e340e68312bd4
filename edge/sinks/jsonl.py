"""Records as JSON Lines in a local file that survives a pulled plug."""

import contextlib
import errno
import fcntl
import logging
import os
import time
from pathlib import Path
from typing import Final, Literal

from edge.contract.logrecord import LogRecord, encode_record
from edge.errors import SinkError

_log = logging.getLogger(__name__)

FILE_NAME: Final = "edgeemo.jsonl"
_FSYNC_INTERVAL_S: Final = 1.0
_TAIL_BYTES: Final = 1 << 16


class JsonlSink:
    """Appends each record with one ``write`` to ``DIR/edgeemo.jsonl`` (mode 0640).

    A last line without its newline (the plug was pulled in mid-write) is cut off when the file is
    opened. A line that the disk takes only in part is taken back, so the file always holds whole
    lines. The file is locked: a second writer is refused.

    Attributes:
        path: the file.
        recovered_bytes: bytes of a torn last line that were cut off when it was opened.
    """

    def __init__(
        self, directory: Path, fsync: Literal["always", "interval", "never"] = "interval"
    ) -> None:
        """Open or make the file.

        Raises:
            SinkError: the directory can not be made or written, or another process writes there.
        """
        self.path = directory / FILE_NAME
        self._fsync = fsync
        self._synced_s = time.monotonic()
        self._fd = _open_locked(directory, self.path)
        try:
            self.recovered_bytes = _cut_torn_line(self._fd)
        except OSError as error:
            os.close(self._fd)
            raise SinkError(f"{self.path}: can not be repaired ({error.strerror})") from error
        if self.recovered_bytes:
            _log.warning("%s: cut %d bytes of a torn line", self.path, self.recovered_bytes)

    def write(self, record: LogRecord) -> None:
        """Append one record.

        Raises:
            SinkError: the disk is full or gone; the file is as it was before.
        """
        if self._fd < 0:
            raise SinkError(f"{self.path}: is closed")
        line = encode_record(record)
        end = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, "only part of the line fitted")  # noqa: TRY301 - one way out
            self._sync()
        except OSError as error:
            with contextlib.suppress(OSError):  # best effort: opening repairs it otherwise
                os.ftruncate(self._fd, end)
            raise SinkError(f"{self.path}: can not be written ({error.strerror})") from error

    def close(self) -> None:
        """Bring everything to the disk and unlock the file."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _sync(self) -> None:
        if self._fsync == "never":
            return
        now_s = time.monotonic()
        if self._fsync == "always" or now_s - self._synced_s >= _FSYNC_INTERVAL_S:
            os.fsync(self._fd)
            self._synced_s = now_s


def _open_locked(directory: Path, path: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise SinkError(
            f"{path}: can not be written ({error.strerror}); choose another --log-dir"
        ) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise SinkError(
            f"{path}: another edgeemo writes there; stop it or choose another --log-dir"
        ) from error
    return fd


def _cut_torn_line(fd: int) -> int:
    """Truncate the file after its last newline and return how many bytes went."""
    size = end = os.lseek(fd, 0, os.SEEK_END)
    keep = 0
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            keep = start + newline + 1
            break
        end = start
    if keep < size:
        os.ftruncate(fd, keep)
        os.fsync(fd)
    return size - keep
