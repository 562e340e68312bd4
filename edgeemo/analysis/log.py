"""Logs of one device or many, for questions in Python: every answer is a DuckDB relation."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from edge.errors import ConfigError
from edgeemo.analysis.classes import all_labels
from edgeemo.analysis.database import Choice, Logs
from edgeemo.analysis.export import selected
from edgeemo.analysis.store import open_logs
from edgeemo.analysis.studies.sessions import sessions
from edgeemo.analysis.studies.tables import KEYS, measures_of, wide_rows
from edgeemo.analysis.summary import By, Summary, summarise
from edgeemo.analysis.time_range import parse_span

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

_KEYS: Final[dict[By, tuple[str, ...]]] = {
    "total": (),
    "hour": ("hour",),
    "track": ("device", "session", "track"),
    "device": ("device",),
    "segment": ("device", "session", "segment"),
    "session": ("device", "session"),
    "file": ("device", "file"),
    "weekday": ("weekday",),
    "quality": ("quality",),
}
_TYPES: Final = {"hour": "TIMESTAMP", "track": "BIGINT"}
_KEY_TYPES: Final = {
    **dict.fromkeys(KEYS, "VARCHAR"),
    "segment_start_s": "DOUBLE",
    "segment_end_s": "DOUBLE",
    "track": "BIGINT",
}


class Log:
    """The records of one log directory, or of all below a folder.

    Every method returns a DuckDB relation: ``.df()`` makes a pandas DataFrame of it, ``.pl()`` one
    of Polars, ``.arrow()`` an Arrow table, ``.fetchall()`` tuples, and ``.filter("track = 1")`` or
    ``.aggregate("label, avg(confidence)")`` ask on. Relations live as long as the log is open: it
    is a context manager, and closed when it is no longer used. Times are UTC.
    """

    def __init__(self, logs: Logs) -> None:
        self._stack = ExitStack()
        self._opened: Logs | None = self._stack.enter_context(logs)

    def emotions(self) -> "DuckDBPyRelation":
        """Return the ``emotion`` records, with ``held_s``, the seconds that each one lasted.

        Raises:
            LogError: the files cannot be read.
        """
        return self._table(selected(self._logs, "emotion"))

    def tracks(self) -> "DuckDBPyRelation":
        """Return the ``track_ended`` records: how long each face stayed, and its shares."""
        return self._table(selected(self._logs, "track_ended"))

    def events(self) -> "DuckDBPyRelation":
        """Return the ``event`` records: what faces did, where `[events]` asked for it."""
        return self._table(selected(self._logs, "event"))

    def markers(self) -> "DuckDBPyRelation":
        """Return the ``marker`` records: what was marked, and when."""
        return self._table(selected(self._logs, "marker"))

    def segments(self) -> "DuckDBPyRelation":
        """Return a row for each face in each segment between markers, as `logs export --as wide`.

        A session without markers is one segment without a name.

        Raises:
            LogError: the files cannot be read.
        """
        found = sessions(self._logs)
        columns = {name: _KEY_TYPES.get(name, "DOUBLE") for name in (*KEYS, *measures_of(found))}
        rows = [[row[name] for name in columns] for row in wide_rows(found)]
        table: DuckDBPyRelation = self._logs.table_of(columns, rows)
        return table

    def health(self) -> "DuckDBPyRelation":
        """Return the ``health`` records: frames per second, memory, heat, losses."""
        return self._table(selected(self._logs, "health"))

    def starts(self) -> "DuckDBPyRelation":
        """Return the ``service_started`` records: versions, sources and models."""
        return self._table(selected(self._logs, "service_started"))

    def stops(self) -> "DuckDBPyRelation":
        """Return the ``service_stopped`` records: why, and what was done."""
        return self._table(selected(self._logs, "service_stopped"))

    def summary(self, by: By = "total") -> "DuckDBPyRelation":
        """Return a row for each group, or one for all, as `edgeemo logs summary`.

        ``seconds_...`` is how long faces showed each label, ``faces_...`` counts those that were
        seen in one frame only, as in pictures; ``lost`` counts the records that are missing.

        Raises:
            LogError: the files cannot be read.
            ConfigError: nothing that it can be grouped by.
        """
        if by not in _KEYS:
            raise ConfigError(f"by: expected {', '.join(_KEYS)}, got {by!r}")
        keys = {key: _TYPES.get(key, "VARCHAR") for key in _KEYS[by]}
        groups = summarise(self._logs, by).groups
        labels = all_labels(label for group in groups for label in group.weights)
        rows = [[*(group.key if keys else ()), *_figures(group, labels)] for group in groups]
        found: DuckDBPyRelation = self._logs.table_of({**keys, **_columns(labels)}, rows)
        return found

    def sql(self, query: str) -> "DuckDBPyRelation":
        """Return the answer to a query of your own over the view ``records``.

        Raises:
            LogError: the query is wrong, or the files cannot be read.
        """
        return self._table(query)

    def close(self) -> None:
        """Close the database and remove its temporary files; harmless when repeated."""
        self._opened = None
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _logs(self) -> Logs:
        if self._opened is None:
            raise ConfigError("the log is closed; open it again")
        return self._opened

    def _table(self, query: str) -> "DuckDBPyRelation":
        found: DuckDBPyRelation = self._logs.table(query)
        return found


def open_log(
    path: str | os.PathLike[str] = "edgeemo-logs",
    *,
    since: str | None = None,
    until: str | None = None,
) -> Log:
    """Open the log directory at ``path``, or all below it, as those of a fleet.

    Where `edgeemo logs store` keeps them as Parquet, they are read from there.

    Args:
        path: a ``--log-dir`` of `edgeemo run`, or a folder that holds several.
        since: from then on: ``2026-01-31``, ``2026-01-31T12:00`` (UTC), or ``24h`` ago.
        until: before then; the same forms.

    Raises:
        LogError: no log is there.
        ConfigError: no point in time.
        MissingExtraError: DuckDB is not installed.
    """
    span = parse_span(since, until, datetime.now(UTC))
    return Log(open_logs(Path(os.fsdecode(path)), Choice(span), own_scores=True))


def _columns(labels: Sequence[str]) -> dict[str, str]:
    return {
        "records": "BIGINT",
        "first": "TIMESTAMP",
        "last": "TIMESTAMP",
        "tracks": "BIGINT",
        **{f"seconds_{label}": "DOUBLE" for label in labels},
        **{f"faces_{label}": "BIGINT" for label in labels},
        "confidence": "DOUBLE",
        "latency_p50_ms": "DOUBLE",
        "latency_p95_ms": "DOUBLE",
        "fps": "DOUBLE",
        "lost": "BIGINT",
    }


def _figures(group: Summary, labels: Sequence[str]) -> Sequence[Any]:
    p50, p95 = group.latency_ms or (None, None)
    return (
        group.records, group.first, group.last, group.tracks,
        *(group.seconds.get(label, 0.0) for label in labels),
        *(group.faces.get(label, 0) for label in labels),
        group.confidence, p50, p95, group.fps, group.lost,
    )  # fmt: skip
