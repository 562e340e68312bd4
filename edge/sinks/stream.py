"""Records to the standard output or to a FIFO, for another program on this machine."""

import contextlib
import errno
import os
import select
import stat
from pathlib import Path
from typing import Final

from edge.contract.logrecord import LogRecord
from edge.errors import SinkError
from edge.sinks.json_lines import LineOutlet, is_writable

_AT_ONCE: Final[int] = getattr(select, "PIPE_BUF", 512)
"""A pipe that is ready takes so many bytes without blocking, and takes them whole."""


class StdoutSink:
    """Writes records to the standard output as JSON lines.

    The descriptor stays as it is: making it non-blocking would change it for the shell, too, which
    has the same one.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = os.dup(fd)
        self._outlet = LineOutlet(self._fd, self._send)

    def write(self, record: LogRecord) -> None:
        """Write one record.

        Raises:
            SinkError: whoever reads is too slow, or gone.
        """
        try:
            if not self._outlet.offer(record):
                raise SinkError("the reader of the standard output is too slow")
        except OSError as error:
            raise SinkError(f"the standard output cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Finish the last line; harmless when repeated."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                self._outlet.finish()
            os.close(self._fd)
            self._fd = -1

    def _send(self, data: bytes) -> int:
        if not is_writable(self._fd):
            raise BlockingIOError
        return os.write(self._fd, data[:_AT_ONCE])


class FifoSink:
    """Writes records to a FIFO while somebody reads it: ``cat /run/edgeemo/records``.

    Without a reader, records pass by; that is no error.
    """

    def __init__(self, path: Path) -> None:
        """Make the FIFO (mode 0640), unless it is there.

        Raises:
            SinkError: it cannot be made, or something else has its name.
        """
        self._path = path
        self._fd = -1
        self._outlet: LineOutlet | None = None
        try:
            with contextlib.suppress(FileExistsError):
                os.mkfifo(path, 0o640)
            is_fifo = stat.S_ISFIFO(path.lstat().st_mode)
        except OSError as error:
            raise SinkError(f"{path}: no FIFO can be made there ({error.strerror})") from error
        if not is_fifo:
            raise SinkError(f"{path}: is there and is no FIFO; remove it or name another path")

    @property
    def is_read(self) -> bool:
        """Whether somebody had opened the FIFO when the last record was written."""
        return self._outlet is not None

    def write(self, record: LogRecord) -> None:
        """Write one record, if somebody reads.

        Raises:
            SinkError: the reader is too slow, or the FIFO is gone.
        """
        try:
            outlet = self._outlet or self._open()
            if outlet is not None and not outlet.offer(record):
                raise SinkError(f"{self._path}: the reader is too slow")
        except BrokenPipeError:
            self._hang_up()  # the reader left; the next one gets whole lines
        except OSError as error:
            self._hang_up()
            raise SinkError(f"{self._path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Finish the last line and let go; the FIFO stays. Harmless when repeated."""
        if self._outlet is not None:
            with contextlib.suppress(OSError):
                self._outlet.finish()
        self._hang_up()

    def _open(self) -> LineOutlet | None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW
        try:
            fd = self._fd = os.open(self._path, flags)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads
                return None
            raise
        if not stat.S_ISFIFO(os.fstat(fd).st_mode):  # it has come since, and may be anything
            raise OSError(errno.EINVAL, "is no FIFO any more")
        self._outlet = LineOutlet(fd, lambda data: os.write(fd, data))
        return self._outlet

    def _hang_up(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._outlet = -1, None
