"""DuckDB over the files of one or many log directories, in place, plain and compressed."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edge.contract.labels import EMOTIONS
from edge.contract.logfiles import log_files
from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import LogError
from edge.logs.moments import Span
from edge.logs.tail import directories_in

_MEMORY: Final = "512MB"
_ATTEMPTS: Final = 3
_ALWAYS: Final = Span()

COLUMNS: Final = {
    "kind": "VARCHAR",
    "time": "TIMESTAMP",
    "monotonic_s": "DOUBLE",
    "seq": "BIGINT",
    "session": "VARCHAR",
    "device": "VARCHAR",
    "track": "BIGINT",
    "frame": "BIGINT",
    "file": "VARCHAR",
    "label": "VARCHAR",
    "confidence": "DOUBLE",
    "scores": f"STRUCT({', '.join(f'{name} DOUBLE' for name in EMOTIONS)})",
    "box": "DOUBLE[]",
    "head_pose": "STRUCT(yaw DOUBLE, pitch DOUBLE, roll DOUBLE)",
    "latency_ms": "DOUBLE",
    "quality": "VARCHAR",
    "eyes": 'STRUCT("right" DOUBLE, "left" DOUBLE)',
    "blendshapes": f"STRUCT({', '.join(f'{name} DOUBLE' for name in BLENDSHAPES)})",
    "mesh": "DOUBLE[][]",
    "duration_s": "DOUBLE",
    "shares": f"STRUCT({', '.join(f'{name} DOUBLE' for name in (*EMOTIONS, 'uncertain'))})",
    "fps": "DOUBLE",
    "dropped_frames": "BIGINT",
    "dropped_records": "BIGINT",
    "dropped_faces": "BIGINT",
    "rss_mb": "DOUBLE",
    "temperature_c": "DOUBLE",
    "throttled": "VARCHAR",
    "fps_limit": "DOUBLE",
    "version": "VARCHAR",
    "source": "VARCHAR",
    "model": "VARCHAR",
    "mesher": "VARCHAR",
    "runtime": "VARCHAR",
    "recovered_bytes": "BIGINT",
    "outage_s": "DOUBLE",
    "reason": "VARCHAR",
    "frames": "BIGINT",
    "tracks": "BIGINT",
    "records": "BIGINT",
}
"""Every field of every kind of record, as SQL has it; tests hold it to the record classes."""

HELD: Final = """
SELECT * EXCLUDE next_s, CASE
    WHEN kind = 'emotion' AND next_s IS NOT NULL THEN greatest(0, next_s - monotonic_s)
END AS held_s
FROM (
    SELECT *, lead(monotonic_s) OVER (PARTITION BY device, session, track ORDER BY seq) AS next_s
    FROM records
)
"""
"""The records with the seconds that each emotion lasted: until the next record of its track.

An emotion that nothing follows, as in a run that was killed, has none.
"""


class Logs:
    """The records below a folder as the view ``records``; a context manager.

    Lines that are no records are NULL in every column; ``kind IS NOT NULL`` leaves them out.
    Memory is bounded: what does not fit spills to a temporary folder.
    """

    def __init__(self, root: Path, span: Span = _ALWAYS) -> None:
        """Find the files.

        Raises:
            LogError: no log is there, or DuckDB is not installed.
        """
        self._duckdb = _import_duckdb()
        self._directories = directories_in(root)
        self._span = span
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeemo-logs-"))
        self.scratch = Path(folder)
        # DuckDB takes wild cards in names for patterns, so it is given names of our own.
        self._names = [self.scratch / str(number) for number in range(len(self._directories))]
        for directory, name in zip(self._directories, self._names, strict=True):
            name.symlink_to(directory.absolute(), target_is_directory=True)
        settings = {
            "memory_limit": _MEMORY,
            "temp_directory": folder,
            "preserve_insertion_order": False,
            # Nothing is fetched: what is needed is in the wheel.
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = self._duckdb.connect(config=settings)
        self._stack.callback(self._connection.close)
        self._connection.execute("SET enable_progress_bar = false")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows.

        A file that is compressed, and so replaced, while it is read makes it begin again.

        Raises:
            LogError: the files can not be read.
        """
        attempt = 1
        while True:
            try:
                return self._attempt(sql)
            except self._duckdb.Error as error:
                if attempt == _ATTEMPTS or not isinstance(error, self._duckdb.IOException):
                    raise LogError(f"the logs can not be queried: {self._told(error)}") from error
            attempt += 1

    def _told(self, error: Exception) -> str:
        """Return an error's first line, with the names that the user knows."""
        text = str(error).splitlines()[0]
        for directory, name in zip(self._directories, self._names, strict=True):
            text = text.replace(f"{name}/", f"{directory}/")
        return text

    def _attempt(self, sql: str) -> list[tuple[Any, ...]]:
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW records AS {self._source()}")
        rows: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return rows

    def _source(self) -> str:
        names = ", ".join(
            text_literal(str(name / path.name))
            for directory, name in zip(self._directories, self._names, strict=True)
            for path in log_files(directory)
        )
        columns = ", ".join(f"{name}: '{kind}'" for name, kind in COLUMNS.items())
        text = (
            f"SELECT * FROM read_json([{names}], columns = {{{columns}}}, "
            "format = 'newline_delimited', ignore_errors = true)"
        )
        limits = [
            f"time {operator} TIMESTAMP '{moment.replace(tzinfo=None).isoformat(' ')}'"
            for operator, moment in ((">=", self._span.since), ("<", self._span.until))
            if moment is not None
        ]
        return f"{text} WHERE kind IS NULL OR ({' AND '.join(limits)})" if limits else text


def text_literal(text: str) -> str:
    """Return ``text`` as a literal of SQL."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _import_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise LogError(
            "DuckDB, which reads the logs, can not be imported "
            f"({error}); `pip install 'edgeemo[analysis]'`, on a workstation that has a copy of "
            "them; `edgeemo logs tail` works without it"
        ) from error
    return duckdb
