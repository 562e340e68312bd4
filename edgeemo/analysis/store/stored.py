"""Questions over a store, in the terms of those over raw files: the answers are the same."""

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final, Self

from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import LogError
from edge.files import link_folder
from edgeemo.analysis.classes import own_classes
from edgeemo.analysis.database import COLUMNS, Choice, Logs, text_literal
from edgeemo.analysis.store.catalogue import (
    Catalogue,
    Part,
    Rollups,
    read_catalogues,
    read_rollups,
)
from edgeemo.analysis.store.layout import (
    EMOTIONS,
    HOURS,
    RECORDS,
    TRACKS,
    store_of,
    with_all_columns,
)
from edgeemo.analysis.store.rollups import NO_RECORDS, rolled, zoned
from edgeemo.analysis.store.span import WholeHours
from edgeemo.analysis.store.transaction import is_settled
from edgeemo.analysis.store.update import is_behind, stale_days, update

_HELD: Final = {"held_s": "DOUBLE", "is_still": "BOOLEAN", "is_copy": "BOOLEAN"}
_NEAR: Final = "* EXCLUDE (scores, box, head_pose, eyes, blendshapes, mesh, shares)"
"""Of records at the ends of a span: no roll-up is made of the rest."""
Session = tuple[str, str]


def open_logs(root: Path, choice: Choice | None = None, *, own_scores: bool = False) -> Logs:
    """Return the logs below a folder, by their store where there is one.

    A store that is behind the raw files is brought in line first. Where that cannot be, because it
    is being changed or may not be written, the answer comes from the raw files; also where scores
    of classes of one's own are wanted and there are any, for a store has those of emotions only.

    Raises:
        LogError: no log is there, or one cannot be read.
        MissingExtraError: DuckDB is not installed.
    """
    chosen = choice or Choice()
    store = store_of(root)
    if not store.is_dir():
        return Logs(root, chosen)
    try:
        if not _is_ready(root, store):
            update(root)
        if own_scores:
            with StoredLogs(root, chosen) as stored:
                if stored.shows_own_classes:
                    return Logs(root, chosen)
        return StoredLogs(root, chosen)
    except LogError as error:
        logs = Logs(root, chosen)
        logs.remark = f"the store was not used: {error}"
        return logs


def _is_ready(root: Path, store: Path) -> bool:
    if not is_settled(store):
        return False
    catalogues = read_catalogues(store)
    return not (stale_days(read_rollups(store), catalogues) or is_behind(root, catalogues))


class StoredLogs(Logs):
    """The records below a folder as its store has them."""

    def __init__(self, root: Path, choice: Choice) -> None:
        super().__init__(root, choice)
        self._store = store_of(root)
        self._refresh()
        self._hours = WholeHours.of(choice.span)
        is_whole = self._hours is not None and not choice.has_emotions
        self.has_rollups = is_whole and bool(self._rollups.files)

    def __enter__(self) -> Self:
        super().__enter__()
        self._link = self.scratch / "store"
        link_folder(self._link, self._store)
        return self

    @property
    def unreadable(self) -> int:
        """Lines that are no records, of whatever time."""
        return sum(batch.unreadable for one in self._logs for batch in one.batches)

    @property
    def copies(self) -> int:
        """Records that are there already."""
        paths = [b.copies_path for one in self._logs for b in one.batches if b.copies_path]
        if not paths:
            return 0
        emotions = self.choice.of_emotions if self.choice.has_emotions else "true"
        ((count,),) = self._connection.execute(
            f"SELECT count(*) FROM ({zoned(RECORDS, self._parquet(paths))}) "
            f"WHERE {self._in_span()} AND {self.choice.of_runs} AND {emotions}"
        ).fetchall()
        return int(count)

    def once(self, records: str) -> str:
        """Return a query for records with what each is worth, as it was worked out before."""
        return f"SELECT * FROM {records}"

    @property
    def shows_own_classes(self) -> bool:
        """Whether faces have shown classes of one's own."""
        labels = self.rows("SELECT DISTINCT label FROM records WHERE label IS NOT NULL")
        return bool(own_classes(label for (label,) in labels))

    def with_own_scores(self) -> tuple[str, ...]:
        """Return nothing: a store has the scores of emotions only, see ``open_logs``."""
        return ()

    def runs(self) -> list[tuple[Any, ...]]:
        """Return what each session has, as ``losses.Run`` wants it."""
        found = [
            (run.session, run.folder, run.first, run.last, run.low, run.high, run.present)
            for number, one in enumerate(self._logs)
            for run in one.runs(number)
            if self._is_chosen(*run.session)
        ]
        if self.has_span:
            bounds = {
                (device, session): (low, high)
                for device, session, low, high in self.rows(
                    "SELECT device, session, min(first_seq), max(last_seq) FROM hours "
                    "WHERE first_seq IS NOT NULL GROUP BY ALL"
                    if self.has_rollups
                    else "SELECT device, session, min(seq), max(seq) FROM records GROUP BY ALL"
                )
            }
            present = self._present(bounds)
            seen: set[tuple[Session, int]] = set()
            within = []
            for session, folder, first, last, *_ in found:
                count = 0 if (session, folder) in seen else present.get((session, folder), 0)
                seen.add((session, folder))
                within.append(
                    (session, folder, first, last, *bounds.get(session, (None, None)), count)
                )
            found = within
        return [(*session, *rest) for session, *rest in found]

    def _present(self, bounds: dict[Session, tuple[int, int]]) -> dict[tuple[Session, int], int]:
        """Return how many records of each session and log have a number within bounds."""
        found: dict[tuple[Session, int], int] = {}
        cut: dict[tuple[Session, int], list[str]] = {}
        for number, one in enumerate(self._logs):
            for part, of_session in one.sessions():
                session = (part.device, of_session.session)
                if session not in bounds:
                    continue
                low, high = bounds[session]
                key = (session, number)
                if low <= of_session.first and of_session.last <= high:
                    found[key] = found.get(key, 0) + of_session.count
                elif of_session.first <= high and of_session.last >= low:
                    cut.setdefault(key, []).append(part.path)
        for key, paths in cut.items():
            device, name = key[0]
            low, high = bounds[key[0]]
            ((count,),) = self._connection.execute(
                f"SELECT count(*) FROM {self._parquet(paths)} WHERE seq BETWEEN {low} AND {high} "
                f"AND device = {text_literal(device)} AND session = {text_literal(name)}"
            ).fetchall()
            found[key] = found.get(key, 0) + count
        return found

    def _is_chosen(self, device: str, session: str) -> bool:
        return (not self.choice.devices or device in self.choice.devices) and (
            not self.choice.sessions or session in self.choice.sessions
        )

    def _refresh(self) -> None:
        self._has_near = False
        catalogues = read_catalogues(self._store)
        self._logs: list[Catalogue] = [catalogues[log] for log in sorted(catalogues)]
        self._rollups: Rollups = read_rollups(self._store)

    def _files(self) -> dict[Path, Path]:
        return {}

    def _views(self) -> dict[str, str]:
        parts = [
            part for one in self._logs for batch in one.batches for part in batch.parts
            if self._is_wanted(part) and self._is_in_span(part)
        ]  # fmt: skip
        views = {
            "all_records": f"SELECT *, {self._in_span()} AS in_span FROM ({self._rows(parts)}) "
            f"WHERE {self.choice.of_runs}",
            "records": "SELECT * EXCLUDE in_span FROM all_records WHERE in_span",
        }
        if self.has_rollups and self._hours is not None:
            views |= self._rolled_views(self._hours)
        return views

    def _rolled_views(self, hours: "WholeHours") -> dict[str, str]:
        """Return the roll-ups of what is asked for; what lies at its edges is made from records."""
        files = self._rollups.files.values()
        paths = {
            HOURS: [one.hours for one in files],
            EMOTIONS: [one.emotions for one in files],
            TRACKS: [
                path
                for place, path in self._rollups.tracks.items()
                if hours.has_day(place.rpartition("=")[2])
            ],
        }
        views = {
            f"stored_{table}": "SELECT * FROM "
            f"({rolled(table, self._parquet(found) if found else None)}) "
            f"WHERE {self.choice.of_runs} AND {hours.condition}"
            for table, found in paths.items()
        }
        if not self.has_span:
            return views | {table: f"FROM stored_{table}" for table in paths}
        near = [
            part.path
            for one in self._logs for batch in one.batches for part in batch.parts
            if self._is_wanted(part) and hours.is_near(part)
        ]  # fmt: skip
        if not self._has_near:  # asked for several times, and few
            rows = zoned(RECORDS, with_all_columns(self._parquet(near))) if near else NO_RECORDS
            self._connection.execute(
                f"CREATE OR REPLACE TEMP TABLE near AS SELECT {_NEAR} FROM ({rows}) "
                f"WHERE {self.choice.of_runs} AND ({hours.edges})"
            )
            self._has_near = True
        return views | hours.views()

    def _rows(self, parts: list[Part]) -> str:
        """Return a query for the records of some parts, as ``Logs`` has them."""
        if not parts:
            columns = COLUMNS | {"folder": "INT"} | _HELD
            nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in columns.items())
            return f"SELECT {nothing} WHERE false"
        shapes = ", ".join(f"{name} := blendshapes['{name}']" for name in BLENDSHAPES)
        shapes = f"CASE WHEN blendshapes IS NOT NULL THEN struct_pack({shapes}) END AS blendshapes"
        changed = {"time": "time AT TIME ZONE 'UTC' AS time", "blendshapes": shapes}
        names = ", ".join(changed.get(name, name) for name in COLUMNS)
        logs = ", ".join(text_literal(one.log) for one in self._logs)
        return (
            f"SELECT {names}, "
            f"list_position([{logs}], log) - 1 AS folder, "
            f"held_s, is_still, false AS is_copy "
            f"FROM {with_all_columns(self._parquet([part.path for part in parts]))}"
        )

    def _parquet(self, paths: list[str]) -> str:
        names = ", ".join(text_literal(str(self._link / path)) for path in paths)
        return f"read_parquet([{names}], union_by_name = true, hive_partitioning = false)"

    def _is_wanted(self, part: Part) -> bool:
        return any(self._is_chosen(part.device, one.session) for one in part.sessions)

    def _is_in_span(self, part: Part) -> bool:
        """Tell whether a part has records of the span, or some that last into it."""
        since, until = self.choice.span.since, self.choice.span.until
        begins = datetime.combine(date.fromisoformat(part.day), time(), UTC)
        return (since is None or part.ends_s >= since.timestamp()) and (
            until is None or begins < until
        )
