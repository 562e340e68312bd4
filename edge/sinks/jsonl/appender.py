"""The file that is being written: whole lines only, whatever happens."""

import contextlib
import errno
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.contract.logfiles import FILE_NAME, DirectoryLock, closed_files, closed_name
from edge.files import open_own, sync_folder
from edge.sinks.jsonl.ends import NextMark, cut_torn_line, last_closed_seq, last_seq

_log = logging.getLogger(__name__)

_DAY_S: Final = 86_400


class Appender:
    """Appends lines to ``DIR/edgeemo.jsonl`` (mode 0640), each by one ``write``; one thread only.

    After an error the file is closed, so that the disk can be remounted or repaired; the next line
    opens it again, in a directory made anew if that was deleted.

    Attributes:
        path: the file.
        recovered_bytes: bytes of torn last lines that were cut off when it was opened.
        next_seq: the number after that of the last record when the file was opened, or after the
            last one that was lost; 0 for a new log.
    """

    def __init__(
        self, directory: Path, rotate_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = directory / FILE_NAME
        self.recovered_bytes = 0
        self.next_seq = 0
        self._directory = directory
        self._rotate_bytes = rotate_bytes
        self._clock = clock
        self._lock = DirectoryLock(directory)
        self._mark = NextMark(directory)
        self._fd = -1
        self._day = 0
        self._number = 0

    def open(self) -> None:
        """Open or make the file, repair it, and close it for good if it is of another day.

        Raises:
            OSError: it cannot be made or written.
            SinkError: another process writes in the directory.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        self._number = max((file.number for file in closed_files(self._directory)), default=0) + 1
        self._fd = self._create()
        written_s = os.fstat(self._fd).st_mtime  # before the repair changes it
        torn = cut_torn_line(self._fd)
        if torn:
            self.recovered_bytes += torn
            _log.warning("%s: cut %d bytes of a torn line", self.path, torn)
        size = os.fstat(self._fd).st_size
        last = last_seq(self._fd)
        if last < 0:
            last = last_closed_seq(self._directory)
        self._mark.clear(last + 1)
        self.next_seq = max(self.next_seq, last + 1, self._mark.read())
        # Its last write tells the day, also to a process that was started later.
        self._day = _utc_day(written_s)
        if self._is_due(size, 0):
            self._rotate()

    def append(self, line: bytes) -> bool:
        """Append one line, with its newline; True means that a file was closed for it.

        Raises:
            OSError: the disk did not take it; the file is as it was before.
            SinkError: another process has come to write in the directory.
        """
        try:
            size = self._size_in_place()
            rotated = self._is_due(size, len(line))
            if rotated:
                self._rotate()
                size = 0
            self._write(line, size)
        except OSError:
            self._close_file()
            raise
        return rotated

    def sync(self) -> None:
        """Bring what was appended to the disk.

        Raises:
            OSError: the disk failed.
        """
        if self._fd < 0:
            return
        try:
            os.fsync(self._fd)
        except OSError:
            self._close_file()
            raise

    def leave_out(self, number: int) -> None:
        """Let the next run go on with ``number``: the records before it are lost.

        What the disk does not take cannot be helped; a directory of another process is left alone.
        """
        if self._lock.is_held:
            with contextlib.suppress(OSError):
                self._mark.write(number)

    def close(self) -> None:
        """Close the file and give the directory free; harmless when repeated."""
        self._close_file()
        self._lock.release()

    def _write(self, line: bytes, size: int) -> None:
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - only part fitted
        except OSError:
            with contextlib.suppress(OSError):  # best effort: opening repairs it otherwise
                os.ftruncate(self._fd, size)
            raise

    def _size_in_place(self) -> int:
        """Return the file's size; a file that was deleted or moved away is made anew."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                status = os.lstat(self.path)
                if os.path.samestat(status, os.fstat(self._fd)):
                    return status.st_size
            _log.warning("%s: was removed while it was written; starting it anew", self.path)
            self._close_file()
        self.open()
        return os.fstat(self._fd).st_size

    def _is_due(self, size: int, more: int) -> bool:
        """Tell whether the file is to be closed before ``more`` bytes are appended.

        A clock that steps back over midnight, and forth, closes nothing; one that steps back by
        days does once, or a file begun in a false future would never see its day pass.
        """
        today = _utc_day(self._clock())
        if size == 0:
            self._day = today
        return size > 0 and (
            size + more > self._rotate_bytes or today > self._day or today < self._day - 1
        )

    def _rotate(self) -> None:
        os.fsync(self._fd)
        now_s = self._clock()
        self._close_file()  # first, for Windows renames no open file
        self.path.rename(self._directory / closed_name(self._number, now_s))
        self._number += 1
        self._day = _utc_day(now_s)
        self._fd = self._create()
        sync_folder(self._directory)

    def _create(self) -> int:
        return open_own(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _utc_day(seconds: float) -> int:
    """Return the number of a UTC day, from 1970."""
    return int(seconds // _DAY_S)
