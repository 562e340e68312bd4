"""The lines of a log directory, as they come, over every rotation. Needs no DuckDB."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from edge.contract.logfiles import FILE_NAME, LONGEST_LINE, ClosedFile, closed_files
from edge.errors import LogError
from edge.files import open_regular, read_at
from edge.logs.lines import lines_of

_BLOCK_BYTES: Final = 1 << 16
_MOST_BYTES: Final = 1 << 26
"""Of the file being written, in which the last lines are looked for: one may be without end."""


class Follower:
    """Reads a log directory from its end on and loses no line to rotation.

    The file that is being written will get the number after the newest closed one. So when it is
    another file than before, what lies between is known by number, compressed or not.
    """

    def __init__(self, directory: Path) -> None:
        """Stand at the end of what is there now.

        Raises:
            LogError: the directory cannot be read.
        """
        self._directory = directory
        self._current = directory / FILE_NAME
        self._file: BinaryIO | None = None
        self._offset = 0  # always where a line begins: what is torn may yet be cut off
        self._is_in_long_line = False
        self._number = 0  # of the file that is open, or of the last one that was read
        self._open()
        self._offset = self._end_of_lines()
        self._start = self._number, self._offset

    def history(self, count: int) -> list[bytes]:
        """Return the last ``count`` lines before where it began to follow, oldest first."""
        number, offset = self._start
        lines: list[bytes] = []
        if self._file is not None:
            found = _tail(self._file.fileno(), offset, count)[:-1]
            lines = [line[:LONGEST_LINE] for line in found]
            number -= 1
        for closed in reversed(self._closed()):
            if closed.number <= number and len(lines) < count:
                missing = count - len(lines)
                lines = [*deque(lines_of(closed.path), maxlen=missing), *lines]
        return lines

    def poll(self) -> Iterator[bytes]:
        """Yield the whole lines that have come since the last time.

        Raises:
            LogError: a file cannot be read.
        """
        yield from self._new_lines()
        if self._is_in_place():
            return
        # Nothing is written to a file once it has another name: this is its true end.
        yield from self._new_lines()
        while True:
            while (closed := self._next_closed()) is not None:
                self._number = closed.number
                yield from lines_of(closed.path)
            read = self._number
            self._open()
            if self._number - (self._file is not None) <= read:
                break
            self._number = read  # another one was closed just now
        yield from self._new_lines()

    def close(self) -> None:
        """Close the file that is being read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end_of_lines(self) -> int:
        if self._file is None:
            return 0
        size = os.fstat(self._file.fileno()).st_size
        return size - len(_tail(self._file.fileno(), size, 0)[-1])

    def _open(self) -> None:
        """Open the file that is being written, if it is there, knowing its number for certain."""
        self.close()
        self._offset, self._is_in_long_line = 0, False
        while True:
            number = self._newest()
            try:
                file = os.fdopen(open_regular(self._current), "rb", buffering=0)
            except FileNotFoundError:
                self._number = number
                return
            except OSError as error:
                raise LogError(f"{self._current}: cannot be read ({error.strerror})") from error
            if self._newest() == number:
                self._file, self._number = file, number + 1
                return
            file.close()  # closed and renamed in between

    def _newest(self) -> int:
        return max((file.number for file in self._closed()), default=0)

    def _closed(self) -> list[ClosedFile]:
        try:
            return closed_files(self._directory)
        except FileNotFoundError:
            return []  # deleted; it may come back
        except OSError as error:
            raise LogError(f"{self._directory}: cannot be read ({error.strerror})") from error

    def _next_closed(self) -> ClosedFile | None:
        """Return the oldest closed file after the one that was read last."""
        return next((file for file in self._closed() if file.number > self._number), None)

    def _is_in_place(self) -> bool:
        try:
            status = self._current.lstat()
        except OSError:
            return self._file is None and self._next_closed() is None
        return self._file is not None and os.path.samestat(status, os.fstat(self._file.fileno()))

    def _new_lines(self) -> Iterator[bytes]:
        size = _BLOCK_BYTES
        while self._file is not None:
            block = read_at(self._file.fileno(), size, self._offset)
            end = block.rfind(b"\n") + 1
            if end:
                self._offset += end
                lines = block[: end - 1].split(b"\n")
                yield from lines[self._is_in_long_line :]
                self._is_in_long_line = False
            elif len(block) == LONGEST_LINE:  # no record: its beginning is shown, its end is not
                if not self._is_in_long_line:
                    yield block
                self._offset += len(block)
                self._is_in_long_line = True
            elif len(block) == size:
                size = min(2 * size, LONGEST_LINE)  # a line longer than a block
            else:
                return


def _tail(fd: int, end: int, count: int) -> list[bytes]:
    """Return the last ``count`` whole lines before ``end``, and what follows them."""
    data, start = b"", end
    while start > 0 and data.count(b"\n") <= count and len(data) < _MOST_BYTES:
        step = min(start, max(_BLOCK_BYTES, len(data)))
        start -= step
        data = read_at(fd, step, start) + data
    return data.split(b"\n")[-count - 1 :]
