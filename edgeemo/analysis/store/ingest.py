"""Raw files become Parquet: what each record means beside its neighbours is worked out once."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from edge.contract.logfiles import FILE_NAME
from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import LogError
from edge.files import link_folder
from edgeemo.analysis.database import COLUMNS, Logs, text_literal
from edgeemo.analysis.held import END_S, HELD_S, IS_APART, IS_STILL
from edgeemo.analysis.store.catalogue import (
    Batch,
    Catalogue,
    Part,
    SessionPart,
    SessionRun,
)
from edgeemo.analysis.store.layout import (
    COPIES,
    MANY,
    MOST_NAMES,
    RECORDS,
    SCHEMA,
    partition_value,
    stored_columns,
)
from edgeemo.analysis.store.sources import RawFile
from edgeemo.analysis.store.transaction import Transaction

_DETAILS: Final = ("blendshapes", "mesh")
_LEAN: Final = COLUMNS | dict.fromkeys(_DETAILS, "VARCHAR")
"""For logs without these details, as they mostly are: their columns are not even begun."""
_SHAPES: Final = (
    f"map([{', '.join(map(text_literal, BLENDSHAPES))}], "
    f"[{', '.join(f'fresh.blendshapes.{name}' for name in BLENDSHAPES)}])"
)
_IS_CURRENT: Final = f"parse_filename(filename) IN ('{FILE_NAME}', '{FILE_NAME}.gz')"
"""The latter is a copy of it without the lines that are too long."""
_TRACK: Final = "device, session, track, is_apart"
_KEY: Final = f"{_TRACK}, seq"
_SAME: Final = (
    "{0}.device = {1}.device AND {0}.session = {1}.session AND {0}.seq = {1}.seq "
    "AND {0}.track IS NOT DISTINCT FROM {1}.track AND {0}.is_apart = {1}.is_apart"
)
Session = tuple[str, str]
"""Device and session."""
_Place = tuple[str, str, bool]
"""Of a part: device, day, and whether its records may be followed by others."""
Share = tuple[int, bool]
"""What belongs together in a batch: a folder's number, and whether it is its current file."""


class Reader(Logs):
    """DuckDB over chosen raw files, and over a store that is being made.

    Attributes:
        empty: columns of ``fresh`` that no line has: nothing of them is joined or sorted.
    """

    def __init__(self, root: Path, store: Path) -> None:
        super().__init__(root)
        self._store = store
        self._wanted: Sequence[Path] = ()
        self.empty: frozenset[str] = frozenset()

    def __enter__(self) -> Self:
        super().__enter__()
        self._link = self.scratch / "store"
        link_folder(self._link, self._store)
        return self

    def place(self, path: str) -> str:
        """Return a file of the store as a literal of SQL, whatever the store's own path is."""
        return text_literal(str(self._link / path))

    def path_of(self, filename: str) -> str:
        """Return a file of the store by the name that DuckDB knows it by."""
        return filename.removeprefix(f"{self._link}/")

    def parts(self, paths: Iterable[str], options: str = "") -> str:
        """Return SQL that reads files of the store, older ones without newer columns, too."""
        names = ", ".join(map(self.place, paths))
        return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false{options})"

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a query that reads no raw file.

        Raises:
            LogError: it failed, as for want of space.
        """
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(sql).fetchall()
        except self._duckdb.Error as error:
            reason = str(error).splitlines()[0].replace(str(self._link), str(self._store))
            raise LogError(f"{self._store}: cannot be written or read ({reason})") from error
        return rows

    def read(self, files: Sequence[RawFile]) -> None:
        """Make the table ``fresh`` of all lines of some raw files.

        Raises:
            LogError: one cannot be read.
        """
        self._wanted = [file.path for file in files]
        self._read(_LEAN)
        if not self.empty.issuperset(_DETAILS):
            self._read(COLUMNS)

    def _read(self, columns: Mapping[str, str]) -> None:
        self.columns = columns
        self.rows(
            f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {', '.join(columns)}, folder, "
            f"{IS_APART} AS is_apart, {_IS_CURRENT} AS is_current FROM lines"
        )
        (counts,) = self.ask(f"SELECT {', '.join(f'count({name})' for name in columns)} FROM fresh")
        self.empty = frozenset(
            name for name, count in zip(columns, counts, strict=True) if not count
        )

    def _views(self) -> dict[str, str]:
        return {"lines": self._source()}  # as the files are at each attempt

    def _files(self) -> dict[Path, Path]:
        places = dict(zip(self.directories, self._names, strict=True))
        found = {}
        for path in self._wanted:
            now = path if path.exists() else path.with_name(f"{path.name}.gz")
            name = places[path.parent] / now.name
            if not self._cut_of(name).exists():
                found[name] = now
        return found


class Ingest:
    """Stores one batch of files: of one log after what it has, or of several logs as a whole.

    Args:
        reader: has the files read.
        logs: the logs that take part, by the numbers of their folders.
        catalogues: theirs, without what the batch replaces.
    """

    def __init__(
        self, reader: Reader, logs: dict[int, str], catalogues: dict[str, Catalogue]
    ) -> None:
        self._reader = reader
        self._logs = logs
        self._catalogues = catalogues

    def sessions(self) -> dict[Session, tuple[int, int]]:
        """Return the sessions of the files with their lowest and highest numbers."""
        rows = self._reader.ask(
            "SELECT device, session, min(seq), max(seq) FROM fresh WHERE kind IS NOT NULL "
            "GROUP BY ALL"
        )
        return {(device, session): (low, high) for device, session, low, high in rows}

    def lacks(self, paths: Collection[str]) -> bool:
        """Tell whether files of the store have a record that the fresh files do not have."""
        if not paths:
            return False
        ((count,),) = self._reader.ask(
            f"SELECT count(*) FROM (SELECT *, {IS_APART} AS is_apart "
            f"FROM {self._reader.parts(paths)}) AS old ANTI JOIN fresh "
            f"ON {_SAME.format('old', 'fresh')} AND fresh.kind IS NOT NULL"
        )
        return bool(count)

    def store(
        self, change: Transaction, files: Sequence[RawFile]
    ) -> tuple[dict[str, Catalogue], set[tuple[str, str]]]:
        """Write what the files hold; return the new catalogues, and the days that changed.

        A day is known by its partition of ``records`` and its date.
        """
        shares = self._shares(files)
        copies = self._set_copies_apart()
        self._find_neighbours()
        self._connect()
        days: set[tuple[str, str]] = set()
        catalogues = {log: self._amended(change, log, days) for log in self._logs.values()}
        parts = self._parts()
        runs, unreadable = self._runs(), self._unreadable()
        for share, sources in shares.items():
            log = self._logs[share[0]]
            catalogue = catalogues[log]
            names, counter = list(catalogue.names), catalogue.next
            written = []
            for place, (ends_s, sessions) in parts.get(share, {}).items():
                device, day, _ = place
                if device not in names and len(names) < MOST_NAMES:
                    names.append(device)
                value = partition_value(device) if device in names else MANY
                path = self._part_path(value, day, log, counter)
                counter += 1
                self._write(change, path, share, place)
                written.append(Part(path, device, day, ends_s, sessions))
                days.add((f"device={value}", day))
            copies_path = None
            if copies.get(share):
                copies_path = f"{COPIES}/{partition_value(log)}-{counter:06}.parquet"
                counter += 1
                self._copy(
                    f"SELECT {_KEY}, time AT TIME ZONE 'UTC' AS time, label, confidence "
                    f"FROM copies WHERE {_of(share)} ORDER BY time",
                    change.new_file(copies_path),
                )
            batch = Batch(
                [file.source for file in sources], share[1], unreadable.get(share, 0),
                runs.get(share, []), written, copies.get(share, 0), copies_path,
            )  # fmt: skip
            catalogues[log] = Catalogue(
                log, catalogue.fields, [*catalogue.batches, batch], counter, names
            )
        return catalogues, days

    def _shares(self, files: Sequence[RawFile]) -> dict[Share, list[RawFile]]:
        numbers = {log: number for number, log in self._logs.items()}
        shares: defaultdict[Share, list[RawFile]] = defaultdict(list)
        for file in files:
            number = self._reader.directories.index(file.path.parent)
            if number in numbers.values():
                shares[number, file.is_current].append(file)
        return dict(shares)

    def _set_copies_apart(self) -> dict[Share, int]:
        """Move records that the files have twice to the table ``copies``; count them by share."""
        ask = self._reader.ask
        ask(
            "CREATE OR REPLACE TEMP TABLE copies AS SELECT fresh.rowid AS row, fresh.* FROM fresh "
            f"JOIN (SELECT {_KEY}, arg_min(rowid, (folder, is_current, rowid)) AS kept FROM fresh "
            f"WHERE kind IS NOT NULL GROUP BY {_KEY} HAVING count(*) > 1) AS twice "
            f"ON {_SAME.format('fresh', 'twice')} "
            "WHERE fresh.kind IS NOT NULL AND fresh.rowid <> kept"
        )
        rows = ask("SELECT folder, is_current, count(*) FROM copies GROUP BY ALL")
        return {(folder, current): count for folder, current, count in rows}

    def _find_neighbours(self) -> None:
        """Make the table ``tails``: the last stored record of each track that goes on."""
        ask = self._reader.ask
        columns = ", ".join(f"{name} {kind}" for name, kind in _TAIL.items())
        ask(f"CREATE OR REPLACE TEMP TABLE tails ({columns})")
        tracks = dict[Session, tuple[int, int]]()
        for device, session, low, high in ask(
            "SELECT device, session, min(track), max(track) FROM fresh "
            "WHERE kind IS NOT NULL AND track IS NOT NULL GROUP BY ALL"
        ):
            tracks[device, session] = (low, high)
        paths = {
            part.path
            for catalogue in self._catalogues.values()
            for batch in catalogue.batches
            for part in batch.parts
            for one in part.sessions
            if (bounds := tracks.get((part.device, one.session)))
            and one.low_track is not None
            and one.high_track is not None
            and one.low_track <= bounds[1]
            and one.high_track >= bounds[0]
        }
        if paths:
            ask(
                f"INSERT INTO tails SELECT {_TRACK}, max(seq), arg_max(monotonic_s, seq), "
                "arg_max(kind, seq), any_value(track_first_s), "
                "arg_max(coalesce(held_s, -1), seq), arg_max(is_still, seq), "
                f"arg_max(filename, seq) FROM (SELECT *, {IS_APART} AS is_apart "
                f"FROM {self._reader.parts(paths, ', filename = true')}) "
                "SEMI JOIN (SELECT DISTINCT device, session, track FROM fresh "
                "WHERE kind IS NOT NULL) "
                f"AS going USING (device, session, track) GROUP BY {_TRACK}"
            )

    def _connect(self) -> None:
        """Make the table ``connected``: what each record is worth, beside its neighbours."""
        self._reader.ask(f"""
            CREATE OR REPLACE TEMP TABLE connected AS
            WITH lines AS (
                SELECT rowid AS row, {_KEY}, monotonic_s, kind, duration_s,
                    NULL::DOUBLE AS known_first_s, NULL::VARCHAR AS part
                FROM fresh
                WHERE kind IS NOT NULL AND rowid NOT IN (SELECT row FROM copies)
                UNION ALL
                SELECT NULL, {_KEY}, monotonic_s, kind, NULL, track_first_s, part FROM tails
            ), firsts AS (
                SELECT device, session, track, min(seq) AS first_seq FROM lines GROUP BY ALL
            ), neighbours AS (
                SELECT *, lead(monotonic_s) OVER its AS next_s,
                    lead(duration_s) OVER its AS stayed_s,
                    first_value(coalesce(known_first_s, monotonic_s)) OVER its AS first_s,
                    part IS NULL AND seq = first_seq AS begins
                FROM lines LEFT JOIN firsts USING (device, session, track)
                WINDOW its AS (PARTITION BY {_TRACK} ORDER BY seq)
            ), ended AS (SELECT *, {END_S} AS end_s FROM neighbours)
            SELECT row, {_KEY}, part,
                next_s IS NULL AND track IS NOT NULL AND kind <> 'track_ended' AND NOT is_apart
                    AND session = (SELECT arg_max(session, seq) FROM lines) AS is_open,
                {HELD_S} AS held_s, {IS_STILL} AS is_still,
                coalesce(begins, false) AS begins_track,
                CASE WHEN track IS NOT NULL THEN first_s END AS track_first_s
            FROM ended
        """)

    def _amended(self, change: Transaction, log: str, days: set[tuple[str, str]]) -> Catalogue:
        """Write the parts anew whose last records are followed now; return the catalogue."""
        catalogue = self._catalogues[log]
        stale = {
            self._reader.path_of(row[0])
            for row in self._reader.ask(
                "SELECT DISTINCT tails.part FROM tails JOIN connected USING (device, session, "
                "track, is_apart, seq) WHERE coalesce(connected.held_s, -1) <> tails.held_s "
                "OR connected.is_still <> tails.is_still"
            )
        }
        counter, batches = catalogue.next, []
        for batch in catalogue.batches:
            parts = []
            for part in batch.parts:
                if part.path in stale:
                    folder = part.path.rpartition("/")[0]
                    path = f"{folder}/{partition_value(log)}-{counter:06}.parquet"
                    counter += 1
                    ends_s = self._amend(change, part.path, path)
                    days.add((folder.split("/")[1], part.day))
                    part = Part(path, part.device, part.day, ends_s, part.sessions)  # noqa: PLW2901
                parts.append(part)
            batches.append(
                Batch(
                    batch.sources, batch.is_current, batch.unreadable, batch.runs, parts,
                    batch.copies, batch.copies_path,
                )
            )  # fmt: skip
        return Catalogue(log, catalogue.fields, batches, counter, catalogue.names)

    def _amend(self, change: Transaction, old: str, new: str) -> int:
        known = ", ".join(
            f"coalesce(fresh.{name}, old.{name}) AS {name}" for name in ("held_s", "is_still")
        )
        self._copy(
            f"SELECT old.* REPLACE ({known}) FROM {self._reader.parts([old])} AS old "
            "LEFT JOIN connected AS fresh "
            "ON fresh.part IS NOT NULL AND NOT fresh.is_apart AND old.device = fresh.device "
            "AND old.session = fresh.session AND old.track = fresh.track AND old.seq = fresh.seq "
            "ORDER BY time, seq",
            pending := change.new_file(new),
        )
        change.remove(old)
        ((ends_s,),) = self._reader.ask(
            f"SELECT {_ENDS_S.format('')} FROM {self._reader.parts([pending])}"
        )
        return int(ends_s)

    def _parts(self) -> dict[Share, dict[_Place, tuple[int, list[SessionPart]]]]:
        """Return what each part is to hold, by its place: when it ends, and its sessions."""
        rows = self._reader.ask(f"""
            SELECT folder, is_current, fresh.device, time::DATE::VARCHAR AS day,
                {_OPEN} AS is_open, {_ENDS_S.format("connected.")}, fresh.session,
                min(fresh.seq), max(fresh.seq), count(*), min(fresh.track), max(fresh.track)
            FROM fresh JOIN connected ON fresh.rowid = connected.row
            GROUP BY folder, is_current, fresh.device, day, {_OPEN}, fresh.session ORDER BY ALL
        """)
        found: dict[Share, dict[_Place, tuple[int, list[SessionPart]]]] = {}
        for folder, is_current, device, day, is_open, ends_s, *session in rows:
            places = found.setdefault((folder, is_current), {})
            before, sessions = places.get((device, day, is_open), (0, []))
            one = SessionPart(*session)
            places[device, day, is_open] = (max(before, int(ends_s)), [*sessions, one])
        return found

    def _runs(self) -> dict[Share, list[SessionRun]]:
        rows = self._reader.ask(f"""
            SELECT folder, is_current, device, session, min(seq), max(seq),
                count(*) FILTER ({_KEPT})
            FROM fresh WHERE kind IS NOT NULL GROUP BY ALL ORDER BY ALL
        """)
        found: defaultdict[Share, list[SessionRun]] = defaultdict(list)
        for folder, is_current, *run in rows:
            found[folder, is_current].append(SessionRun(*run))
        return dict(found)

    def _unreadable(self) -> dict[Share, int]:
        rows = self._reader.ask(
            "SELECT folder, is_current, count(*) FROM fresh WHERE kind IS NULL GROUP BY ALL"
        )
        return {(folder, current): count for folder, current, count in rows}

    def _part_path(self, value: str, day: str, log: str, counter: int) -> str:
        name = f"{partition_value(log)}-{counter:06}.parquet"
        return f"{RECORDS}/device={value}/day={day}/{name}"

    def _write(self, change: Transaction, path: str, share: Share, place: _Place) -> None:
        device, day, is_open = place
        columns = {name: f"fresh.{name}" for name in COLUMNS} | {
            "time": "fresh.time AT TIME ZONE 'UTC'",
            "blendshapes": f"CASE WHEN fresh.blendshapes IS NOT NULL THEN {_SHAPES} END",
            "log": text_literal(self._logs[share[0]]),
        }
        every = stored_columns()
        held = [name for name in every if name not in self._reader.empty]
        filled = ", ".join(f"{columns.get(name, f'connected.{name}')} AS {name}" for name in held)
        typed = ", ".join(
            f"CAST({name if name in held else 'NULL'} AS {kind}) AS {name}"
            for name, kind in every.items()
        )
        self._copy(
            f"SELECT {typed} FROM ("
            f"SELECT {filled} FROM fresh JOIN connected ON fresh.rowid = connected.row "
            f"WHERE {_of(share)} AND {_OPEN} = {str(is_open).lower()} "
            f"AND fresh.device = {text_literal(device)} "
            f"AND fresh.time >= TIMESTAMP '{day}' "
            f"AND fresh.time < TIMESTAMP '{day}' + INTERVAL 1 DAY ORDER BY fresh.time, fresh.seq)",
            change.new_file(path),
        )

    def _copy(self, query: str, pending: str) -> None:
        copy_to(self._reader, query, pending)


def copy_to(reader: Reader, query: str, pending: str) -> None:
    """Write the rows of a query as Parquet."""
    reader.ask(
        f"COPY ({query}) TO {reader.place(pending)} (FORMAT parquet, COMPRESSION zstd, "
        f"COMPRESSION_LEVEL 1, KV_METADATA {{edgeemo_schema: '{SCHEMA}'}})"
    )


_OPEN: Final = "(connected.is_open AND NOT is_current)"
"""A record that may be followed in files to come has a part of its own, small to write anew."""
_ENDS_S: Final = "ceil(max(epoch(time) + coalesce({0}held_s, 0)))::BIGINT"
_KEPT: Final = "kind IS NOT NULL AND rowid NOT IN (SELECT row FROM copies)"
_TAIL: Final = {
    "device": "VARCHAR", "session": "VARCHAR", "track": "BIGINT", "is_apart": "BOOLEAN",
    "seq": "BIGINT",
    "monotonic_s": "DOUBLE", "kind": "VARCHAR", "track_first_s": "DOUBLE", "held_s": "DOUBLE",
    "is_still": "BOOLEAN", "part": "VARCHAR",
}  # fmt: skip


def _of(share: Share) -> str:
    return f"folder = {share[0]} AND is_current = {str(share[1]).lower()}"
