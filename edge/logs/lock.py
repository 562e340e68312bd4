"""One writer a directory: a locked file that names its holder."""

import contextlib
import os
from pathlib import Path
from typing import Final

from edge.contract.logfiles import LOCK_NAME
from edge.errors import SinkError
from edge.files import lock_alone, open_own, open_regular

_LONGEST_PID: Final = 20


class DirectoryLock:
    """An exclusive lock on a log directory, held until ``release`` or the end of the process.

    The kernel releases it whatever happens to the holder, so a lock cannot be stale. The file
    stays: removing it would let two processes hold a lock on two files of the same name.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock, unless it is held already and its file is still in place.

        Raises:
            OSError: the lock file cannot be made.
            SinkError: another process holds it.
        """
        if self.is_held:
            return
        self.release()
        # Made through a descriptor of its own: one that could write, held for months, would keep
        # an administrator from remounting the disk read-only.
        os.close(open_own(self._path, os.O_WRONLY | os.O_CREAT))
        fd = open_own(self._path, os.O_RDONLY)
        try:
            lock_alone(fd)
        except OSError as error:
            os.close(fd)
            raise SinkError(
                f"{self._path.parent}: another edgeemo writes there ({self._holder()}); stop it or "
                "choose another --log-dir"
            ) from error
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name, too
            self._sign()

    def release(self) -> None:
        """Give the lock back; harmless when repeated."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def is_held(self) -> bool:
        """The lock is ours, and its file is still in place."""
        return self._fd >= 0 and self._is_in_place()

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(self._path.lstat(), os.fstat(self._fd))
        except OSError:
            return False

    def _sign(self) -> None:
        fd = open_own(self._path, os.O_WRONLY)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, b"%d\n" % os.getpid())
        finally:
            os.close(fd)

    def _holder(self) -> str:
        try:
            fd = open_regular(self._path)
            try:
                pid = int(os.read(fd, _LONGEST_PID))
            finally:
                os.close(fd)
        except (OSError, ValueError):
            return "process unknown"
        return f"process {pid}"
