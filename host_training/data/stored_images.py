"""Pictures that stay on the disk until they are asked for, behind NumPy's way of asking."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_training.errors import DataError

BLOCK: Final = 16384
"""Pictures that are in memory at once where all are gone through."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file of pictures, ``.npy``, uint8 ``(count, h, w)``."""

    path: Path
    count: int


class StoredImages:
    """Pictures in files, uint8 ``(n, h, w)``; indexed by numbers it reads, by a mask it does not.

    What is read is read anew each time, by offset and without mapping the files: the system caches
    them in memory that nobody else wants, and this process stays as small as it is.

    Args:
        files: whose pictures follow each other.
        size_hw: of each picture.
        rows: int64: which of them, in which order; all when None.

    Raises:
        DataError: a file is missing, or not what its name and number say.
    """

    dtype = np.dtype(np.uint8)
    ndim = 3

    def __init__(
        self,
        files: Sequence[PictureFile],
        size_hw: tuple[int, int],
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        self._files, self._size_hw = tuple(files), size_hw
        self._ends = np.cumsum([0, *(file.count for file in files)])
        self._rows = np.arange(self._ends[-1]) if rows is None else rows
        self._opened = [_opened(file, size_hw) for file in files]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of pictures, and their height and width."""
        return (len(self._rows), *self._size_hw)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: Any) -> Any:
        """Return the pictures at ``key``: a number, a slice, an array of numbers, or a mask."""
        if isinstance(key, int | np.integer):
            return self._read(self._rows[[int(key)]])[0]
        chosen = self._rows[key]
        if isinstance(key, np.ndarray) and key.dtype == bool:
            return StoredImages(self._files, self._size_hw, chosen)
        return self._read(chosen)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self), BLOCK):
            yield from self[start : start + BLOCK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all of them, in memory."""
        return np.asarray(self[:], dtype)

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read pictures in the order of the files, what lies together at once."""
        order = np.argsort(rows, kind="stable")
        wanted, read = rows[order], np.empty((len(rows), *self._size_hw), np.uint8)
        place = np.searchsorted(self._ends, wanted, side="right") - 1
        breaks = np.flatnonzero((np.diff(wanted) != 1) | (np.diff(place) != 0)) + 1
        size = self._size_hw[0] * self._size_hw[1]
        for first, last in zip([0, *breaks], [*breaks, len(wanted)], strict=True):
            if first == last:
                continue
            number = int(place[first])
            handle, offset = self._opened[number]
            into = read[first:last].data.cast("B")
            offset += size * int(wanted[first] - self._ends[number])
            if _read_at(handle.number, into, offset) != len(into):
                raise DataError(f"{self._files[number].path}: has been cut off; make it again")
        result = np.empty_like(read)
        result[order] = read
        return result


class _Handle:
    """An open file, closed with the last who reads from it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.number)


def _opened(file: PictureFile, size_hw: tuple[int, int]) -> tuple[_Handle, int]:
    """Return a file and where its pictures begin."""
    reason = ""
    try:
        mapped = np.load(file.path, mmap_mode="r", allow_pickle=False)
        if mapped.dtype == np.uint8 and mapped.shape == (file.count, *size_hw):
            return _Handle(file.path), mapped.offset
        reason = f"holds {mapped.dtype} {mapped.shape}"
    except (OSError, ValueError, EOFError) as error:
        reason = str(error)
    raise DataError(
        f"{file.path}: not the {file.count} pictures of a shard ({reason}); make it again with "
        "`edgeemo data prepare --shards`"
    )


def _read_at(number: int, into: memoryview, offset: int) -> int:
    """Read into a buffer from a place in a file on; return how many bytes there were."""
    if sys.platform == "win32":
        os.lseek(number, offset, os.SEEK_SET)
        data = os.read(number, len(into))
        into[: len(data)] = data
        return len(data)
    return os.preadv(number, [into], offset)
