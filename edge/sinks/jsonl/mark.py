"""Where the numbers go on after records that were lost at the end of a run.

The records that are in the files tell the next run where to go on; those that a full disk refused
tell nothing, and their numbers would be given again: a loss without a gap. So the next number is
kept in the name of an empty file, ``edgeemo.next-601``: a full disk has no room for content, but it
has for a name.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from edge.contract.logfiles import MOST_RECORDS

_NAME: Final = re.compile(r"edgeemo\.next-(\d{1,12})")


class NextMark:
    """The mark of a log directory; made when records are lost, removed when it tells nothing."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self) -> int:
        """Return the number to go on with at least; 0 without a mark."""
        numbers = [number for number in self._numbers() if number <= MOST_RECORDS]
        return max(numbers, default=0)

    def write(self, number: int) -> None:
        """Keep ``number``.

        Raises:
            OSError: the disk does not take so much as a name.
        """
        there = self._numbers()
        if number in there:
            return
        path = self._path(number)
        if there:
            self._path(max(there)).rename(path)
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o640))

    def clear(self, number: int) -> None:
        """Remove a mark that tells nothing more than records that go up to ``number`` do."""
        for there in self._numbers():
            if there <= number:
                with contextlib.suppress(OSError):
                    self._path(there).unlink()

    def _path(self, number: int) -> Path:
        return self._directory / f"edgeemo.next-{number}"

    def _numbers(self) -> list[int]:
        with os.scandir(self._directory) as entries:
            matches = [_NAME.fullmatch(entry.name) for entry in entries]
        return [int(match[1]) for match in matches if match]
