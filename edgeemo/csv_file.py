"""Rows into a CSV file that appears whole or not at all."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge.errors import SinkError
from edge.files import create_anew
from edge.text import utc_text


class CsvFile:
    """Writes rows beside ``path`` and takes the name when it is closed without an error.

    Args:
        path: the file, replaced if it is there.
        columns: the header.

    Attributes:
        rows: how many were written.
    """

    def __init__(self, path: Path, columns: Mapping[str, str] | tuple[str, ...]) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._columns = tuple(columns)
        self.rows = 0

    def __enter__(self) -> Self:
        try:
            self._file = io.TextIOWrapper(
                create_anew(self._part), "utf-8", "backslashreplace", newline=""
            )
        except OSError as error:
            raise self._refused(error) from error
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._columns)
        return self

    def write(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Write rows; a time as ``2026-01-31T12:00:00.123Z``, None as nothing."""
        try:
            for row in rows:
                self._writer.writerow(map(_text, row))
                self.rows += 1
        except OSError as error:
            raise self._refused(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._part.replace(self._path)
        except OSError as refusal:
            raise self._refused(refusal) from refusal
        finally:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path}: cannot be written ({error.strerror})")


def _text(value: Any) -> Any:
    return utc_text(value) if isinstance(value, datetime) else value
