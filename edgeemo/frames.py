"""Frames as they are analyzed: an iterator that closes its source, and what can be made of it."""

import os
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from edgeemo.results import Failure, Frame
from edgeemo.table import Table

Item_co = TypeVar("Item_co", bound=Frame | Failure, covariant=True)


class Frames(Generic[Item_co]):
    """The analyzed frames of a film, a camera, a stream or a list of pictures, one after another.

    An iterator: each frame is analyzed when it is asked for. The source is closed at its end, when
    an error or Ctrl-C ends it, when the loop is left by ``break`` or ``return``, by ``close()`` or
    a ``with`` block, and at the latest with the process. For one thread at a time.
    """

    def __init__(
        self, items: Generator[Item_co, None, None], opened: ExitStack, labels: Sequence[str]
    ) -> None:
        """Take what gives the frames.

        Args:
            items: is closed before ``opened``.
            opened: what is open for them.
            labels: the emotions that get a column in a table.
        """
        self._items = items
        self._labels = labels
        self._finish: Callable[[], object] = weakref.finalize(self, _close, items, opened)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item_co:
        try:
            return next(self._items)
        except BaseException:  # its end, too
            self.close()
            raise

    def close(self) -> None:
        """Close the source, and the log if one is written; harmless when repeated."""
        self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to_table(self) -> Table:
        """Analyze what is left, and return a row for each face in each frame."""
        return Table(self._labels).add(self)

    def to_dataframe(self) -> Any:
        """Analyze what is left; return a pandas or Polars ``DataFrame``, see ``Table``.

        Raises:
            MissingExtraError: neither is installed.
        """
        return self.to_table().to_dataframe()

    def to_arrow(self) -> Any:
        """Analyze what is left; return a ``pyarrow.Table``, see ``Table``.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return self.to_table().to_arrow()

    def to_csv(self, path: str | os.PathLike[str]) -> int:
        """Analyze what is left into a CSV file, frame by frame; return the number of rows.

        Raises:
            SinkError: the file cannot be written.
        """
        from edgeemo.csv_file import CsvFile
        from edgeemo.table import kinds_of, row_of

        with self, CsvFile(Path(os.fsdecode(path)), kinds_of(self._labels)) as file:
            for frame in self:
                file.write(row_of(face, self._labels) for face in frame)
        return file.rows


def _close(items: Generator[Item_co, None, None], opened: ExitStack) -> None:
    with opened:
        items.close()
