"""Lines to a reader that may be slow: whole ones, and without ever waiting for it."""

import select
import sys
from collections.abc import Callable
from typing import Final

from edge.contract.logrecord import LogRecord, encode_record

_GRACE_MS: Final = 1000


class LineOutlet:
    """Sends lines through a function that takes as many bytes as the reader has room for.

    A line that was begun is finished before the next one; a line that finds an unfinished one is
    refused as a whole. So a reader that lags misses lines, which their numbers tell, but never gets
    half a one. The kernel's own buffer (64 kB for a pipe) is the only queue.

    Args:
        fd: for the wait at the end.
        send: takes bytes, returns how many went; BlockingIOError when there is no room at all.
    """

    def __init__(self, fd: int, send: Callable[[bytes], int]) -> None:
        self._fd = fd
        self._send = send
        self._rest = b""

    def offer(self, record: LogRecord) -> bool:
        """Send a record, or keep what does not fit for the next time; False: it was refused.

        Raises:
            OSError: the reader is gone.
        """
        self._drain()
        if self._rest:
            return False
        self._rest = encode_record(record)
        self._drain()
        return True

    def finish(self) -> None:
        """Send what is left of the last line, if the reader takes it within a second.

        Raises:
            OSError: the reader is gone.
        """
        while self._rest and is_writable(self._fd, _GRACE_MS):
            before = len(self._rest)
            self._drain()
            if len(self._rest) == before:
                return

    def _drain(self) -> None:
        try:
            while self._rest:
                self._rest = self._rest[self._send(self._rest) :]
        except BlockingIOError:
            return


def is_writable(fd: int, wait_ms: int = 0) -> bool:
    """Tell whether a pipe takes something at once, or does within ``wait_ms``.

    Windows tells it of no pipe: there a slow reader holds the writer up.
    """
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(wait_ms))
