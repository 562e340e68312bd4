"""DuckDB over the files of one or many log directories, in place, plain and compressed."""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self, cast, get_args

import msgspec
from msgspec import inspect

from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.contract.logfiles import LONGEST_LINE, log_files
from edge.contract.logrecord import Emotion, LogRecord
from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import LogError, MissingExtraError
from edge.files import link_folder
from edge.logs.lines import cut
from edge.logs.tail import directories_in
from edgeemo.analysis.classes import own_classes
from edgeemo.analysis.held import held, held_within
from edgeemo.analysis.plausible import condition, is_of_unknown_kind
from edgeemo.analysis.time_range import Span

_MEMORY: Final = "512MB"
_ATTEMPTS: Final = 3
_ALWAYS: Final = Span()
_OF_LABELS: Final = {"label": "VARCHAR", "labels": "VARCHAR[]"}
_MOST_OWN: Final = 64
"""Classes of one's own that an export has columns for."""


def _numbers(names: Iterable[str]) -> str:
    """Return the type of numbers by name, in SQL."""
    fields = ", ".join(f'"{name}" DOUBLE' for name in names)
    return f"STRUCT({fields})"


_KEYS: Final = {
    "scores": EMOTIONS,
    "shares": (*EMOTIONS, "uncertain"),
    "blendshapes": BLENDSHAPES,
}
"""What a mapping in a record has shares of."""
_LEFT_OUT: Final = frozenset({"schema", "labels", "model_sha256", "stage_ms"})


def _columns() -> dict[str, str]:
    """Return the fields of all record classes; those of an emotion first, as most are."""
    columns = {"kind": "VARCHAR"}
    for record in (Emotion, *get_args(LogRecord)):
        form = cast("inspect.StructType", inspect.type_info(record))
        for field in form.fields:
            if field.name not in _LEFT_OUT:
                columns.setdefault(field.name, _sql_type(field.type, field.name))
    return columns | {"time": "TIMESTAMP"}


def _sql_type(kind: inspect.Type, name: str) -> str:
    simple = {inspect.BoolType: "BOOLEAN", inspect.IntType: "BIGINT", inspect.FloatType: "DOUBLE"}
    match kind:
        case inspect.UnionType():
            (kind,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
            return _sql_type(kind, name)
        case inspect.TupleType():
            return f"{_sql_type(kind.item_types[0], name)}[]"
        case inspect.VarTupleType():
            return f"{_sql_type(kind.item_type, name)}[]"
        case inspect.StructType():
            fields = [f'"{field.name}" {_sql_type(field.type, name)}' for field in kind.fields]
            return f"STRUCT({', '.join(fields)})"
        case inspect.DictType():
            fields = [f'"{key}" {_sql_type(kind.value_type, name)}' for key in _KEYS[name]]
            return f"STRUCT({', '.join(fields)})"
    return simple.get(type(kind), "VARCHAR")


COLUMNS: Final = _columns()
"""Every field of every kind of record, as SQL has it, but a few that nobody asks for."""

_SCALARS: Final = frozenset(
    name for name, kind in COLUMNS.items() if "[" not in kind and "(" not in kind
)
_KIND: Final = (
    f"CASE WHEN {condition(_SCALARS)} THEN kind "
    f"WHEN {is_of_unknown_kind(_SCALARS)} THEN 'unknown' END"
)


class Choice(msgspec.Struct, frozen=True):
    """Which records are asked for; what is empty is not asked about.

    Attributes:
        span: from when, until when.
        devices, sessions: all records of these.
        labels: of emotion records; those of other kinds are left out.
        min_confidence: the same.
    """

    span: Span = Span()
    devices: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    min_confidence: float = 0.0

    @property
    def of_runs(self) -> str:
        """The condition on devices and sessions, in SQL."""
        terms = [
            f"{name} IN ({', '.join(map(text_literal, wanted))})"
            for name, wanted in (("device", self.devices), ("session", self.sessions))
            if wanted
        ]
        return " AND ".join(terms or ["true"])

    @property
    def has_emotions(self) -> bool:
        """Only some of the emotion records are asked for."""
        return bool(self.labels or self.min_confidence)

    @property
    def of_emotions(self) -> str:
        """The condition on emotion records, in SQL."""
        terms = ["label IS NOT NULL", f"confidence >= {self.min_confidence}"]
        if self.labels:
            terms.append(f"label IN ({', '.join(map(text_literal, self.labels))})")
        return " AND ".join(terms)


class Logs:
    """The records below a folder as the view ``records``; a context manager.

    ``records`` has those of the span that is asked for; ``all_records`` has all of the devices and
    sessions that are, and ``in_span`` says which these are. ``folder`` numbers the log directory of
    each. The ``kind`` of a line that is no record, for what it holds or for what it lacks, is NULL;
    that of a record which a later version may have written, of a kind that this one does not know,
    is ``unknown``. Memory is bounded: what does not fit spills to a temporary folder.

    Attributes:
        choice: what is asked for.
        has_span: the records of a part of the time.
        has_rollups: the views ``hours`` and ``emotions`` answer what is asked for.
        columns: names and types of what is read of a line.
        remark: what the user should know of how the answers come about.
        directories, names: the log directories by number, and their paths below the folder.
    """

    has_rollups = False
    remark = ""
    columns: Mapping[str, str] = COLUMNS

    def __init__(self, root: Path, choice: Choice | Span = _ALWAYS) -> None:
        """Find the files.

        Raises:
            LogError: no log is there.
            MissingExtraError: DuckDB is not installed.
        """
        self._duckdb = import_duckdb()
        self.directories = directories_in(root)
        self.choice = Choice(choice) if isinstance(choice, Span) else choice
        self.has_span = self.choice.span != _ALWAYS
        self.names = [one.relative_to(root).as_posix() for one in self.directories]
        self._stack = ExitStack()
        self._tables = 0

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeemo-logs-"))
        self.scratch = Path(folder)
        # DuckDB takes wild cards in names for patterns, so it is given names of our own.
        links, self._cuts = self.scratch / "logs", self.scratch / "cuts"
        links.mkdir()
        self._names = [links / str(number) for number in range(len(self.directories))]
        for directory, name in zip(self.directories, self._names, strict=True):
            link_folder(name, directory)
            (self._cuts / name.name).mkdir(parents=True)
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

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query and return its rows.

        A file that is compressed, and so replaced, while it is read makes it begin again.

        Raises:
            LogError: the files cannot be read.
        """
        attempt = 1
        while True:
            try:
                return self._attempt(sql)
            except self._duckdb.Error as error:
                may_pass = isinstance(error, self._duckdb.IOException) and attempt < _ATTEMPTS
                self._refresh()
                if not may_pass and not self._cut_long_lines(str(error)):
                    raise LogError(f"the logs cannot be queried: {self._told(error)}") from error
            attempt += 1

    def table(self, sql: str) -> Any:
        """Run a query once, into a table of its own; return it as a DuckDB relation.

        What it holds stays as it was, whatever becomes of the files; until the logs are closed.

        Raises:
            LogError: the files cannot be read.
        """
        name = self._new_table()
        self.rows(f"CREATE TEMP TABLE {name} AS {sql}")
        return self._connection.table(name)

    def table_of(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> Any:
        """Return values as a DuckDB relation.

        Args:
            columns: the type of each in SQL, by name.
            rows: a value for each column.
        """
        name = self._new_table()
        typed = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        self._connection.execute(f"CREATE TEMP TABLE {name} ({typed})")
        places = ", ".join("?" for _ in columns)
        for row in rows:
            self._connection.execute(f"INSERT INTO {name} VALUES ({places})", list(row))
        return self._connection.table(name)

    def _new_table(self) -> str:
        self._tables += 1
        return f"edgeemo_{self._tables}"

    @property
    def unreadable(self) -> int:
        """Lines that are no records, beside those that ``records`` shows."""
        return 0

    @property
    def copies(self) -> int:
        """Records that are there already, beside those that ``records`` shows."""
        return 0

    def held(self) -> str:
        """Return a query for what is asked for; see ``held_within``."""
        query = held_within(self.choice.span, self.once("records"), self.once("all_records"))
        if not self.choice.has_emotions:
            return query
        unreadable = "kind IS NULL AND NOT (is_copy OR is_carried)"
        return f"SELECT * FROM ({query}) WHERE ({self.choice.of_emotions}) OR ({unreadable})"

    def once(self, records: str) -> str:
        """Return a query for records with what each is worth; see ``edgeemo.analysis.held``."""
        return held(records)

    def with_own_scores(self) -> tuple[str, ...]:
        """Find classes of one's own in the logs, and read their scores and shares from now on.

        Raises:
            LogError: the files cannot be read.
        """
        found = self.rows(
            "SELECT DISTINCT unnest(list_append(coalesce(labels, []), label)) FROM all_labels"
        )
        own = own_classes(label for (label,) in found if label is not None)[:_MOST_OWN]
        if own:
            more = {
                "scores": _numbers((*EMOTIONS, *own)),
                "shares": _numbers((*EMOTIONS, *own, UNCERTAIN)),
            }
            self.columns = {**self.columns, **more}
        return own

    def runs(self) -> list[tuple[Any, ...]] | None:
        """Return what each session has, as ``losses.Run`` wants it; None: ask the records."""
        return None

    def _refresh(self) -> None:
        """Look anew at what there is, after a query has failed."""

    def _cut_long_lines(self, error: str) -> bool:
        """Put copies in the place of files whose lines DuckDB finds too long; False: none has any.

        Raises:
            LogError: the reason was a file that cannot be read.
        """
        files = self._files()
        suspects = [name for name in files if str(name) in error] or list(files)
        try:
            cuts = [cut(files[name], self._cut_of(name)) for name in suspects]
        except LogError as damage:
            raise LogError(f"the logs cannot be queried: {damage}") from damage
        return any(cuts)

    def _cut_of(self, name: Path) -> Path:
        stem = name.name.removesuffix(".gz")
        return self._cuts / name.parent.name / f"{stem}.gz"

    def _files(self) -> dict[Path, Path]:
        """Return the files by the names that DuckDB gets; those with a copy are left out."""
        return {
            name / path.name: path
            for directory, name in zip(self.directories, self._names, strict=True)
            for path in log_files(directory)
            if not self._cut_of(name / path.name).exists()
        }

    def _told(self, error: Exception) -> str:
        """Return an error's first line, with the names that the user knows."""
        text = str(error).splitlines()[0]
        for directory, name in zip(self.directories, self._names, strict=True):
            text = text.replace(f"{name}/", f"{directory}/")
        return text

    def _attempt(self, sql: str) -> list[tuple[Any, ...]]:
        for name, query in self._views().items():
            self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")
        rows: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        return rows

    def _views(self) -> dict[str, str]:
        return {
            "all_records": f"SELECT * EXCLUDE (filename), {self._in_span()} AS in_span "
            f"FROM ({self._source()}) WHERE kind IS NULL OR ({self.choice.of_runs})",
            "records": "SELECT * EXCLUDE in_span FROM all_records WHERE kind IS NULL OR in_span",
            "all_labels": f"FROM {self._from_files(_OF_LABELS)}",
        }

    def _source(self) -> str:
        place = len(self._cuts.parts) + 1  # in /scratch/logs/7/edgeemo.jsonl, and below cuts
        return (
            f"SELECT * REPLACE ({_KIND} AS kind), "
            f"split_part(filename, '/', {place})::INT AS folder "
            f"FROM {self._from_files(self.columns)}"
        )

    def _from_files(self, columns: Mapping[str, str]) -> str:
        files = [*self._files(), *self._cuts.glob("*/*")]
        names = ", ".join(text_literal(str(name)) for name in files)
        typed = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
        return (
            f"read_json([{names}], columns = {{{typed}}}, filename = true, "
            f"maximum_object_size = {LONGEST_LINE}, "
            "format = 'newline_delimited', ignore_errors = true)"
        )

    def _in_span(self) -> str:
        limits = [
            f"time {operator} {moment}"
            for operator, moment in zip((">=", "<"), self.choice.span.limits, strict=True)
            if moment is not None
        ]
        return " AND ".join(limits or ["true"])


def text_literal(text: str) -> str:
    """Return ``text`` as a literal of SQL."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def import_duckdb() -> Any:
    """Import DuckDB.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError(
            "DuckDB, which reads the logs, cannot be imported "
            f"({error}); `pip install 'edgeemo[analysis]'`, here or on a workstation with a copy "
            "of the logs; `edgeemo logs tail` works without it"
        ) from error
    return duckdb
