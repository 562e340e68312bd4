"""`edgeemo logs store`: bring a store in line with the raw files beside it."""

import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from edge.errors import LogError
from edge.logs.tail import directories_in
from edgeemo.analysis.store.catalogue import (
    FOLDER,
    ROLLUPS_NAME,
    Batch,
    Catalogue,
    Rollups,
    Source,
    days_of,
    read_catalogues,
    read_rollups,
)
from edgeemo.analysis.store.ingest import Ingest, Reader, Session
from edgeemo.analysis.store.layout import (
    COPIES,
    EMOTIONS,
    HOURS,
    RECORDS,
    TRACKS,
    partition_value,
    store_of,
    stored_columns,
)
from edgeemo.analysis.store.rollups import roll_up
from edgeemo.analysis.store.sources import RawFile, all_files, batches, changes
from edgeemo.analysis.store.transaction import Transaction, locked

Progress = Callable[[str, int], None]
"""Is called with a log's name and the number of raw files of it that were stored."""


class Update(msgspec.Struct):
    """What an update did.

    Attributes:
        logs: log directories that the store has.
        files: raw files that were read.
        records: that the store has.
        size_bytes: of the store.
        lacking: fields that some older parts of the store were made without.
    """

    logs: int = 0
    files: int = 0
    records: int = 0
    size_bytes: int = 0
    lacking: list[str] = []


def update(root: Path, *, rebuild: bool = False, progress: Progress | None = None) -> Update:
    """Store what is new in the logs at and below ``root``, and drop what is gone from them.

    Only what changed is read. Killed at any moment, or on a full disk, the store is as it was
    before a batch of files or after it; the next call goes on.

    Args:
        root: a log directory, or a folder of several.
        rebuild: make the store anew.
        progress: is told of each batch.

    Raises:
        BusyError: another process is changing it.
        LogError: a raw file cannot be read, or the store cannot be written.
        MissingExtraError: DuckDB is not installed.
    """
    directories_in(root)
    store = store_of(root)
    with locked(store):
        try:
            if rebuild:
                _clear(store)
            return _Update(root, store, progress or (lambda _log, _files: None)).run()
        except OSError as error:
            raise LogError(
                f"{store}: cannot be written ({error.strerror}); the raw files are untouched, and "
                "the next call goes on"
            ) from error


def is_behind(root: Path, catalogues: dict[str, Catalogue]) -> bool:
    """Tell whether the logs have changed since they were stored.

    Raises:
        LogError: there is no log.
    """
    names = {}
    for directory in directories_in(root):
        names[_name(root, directory)] = directory
    if names.keys() != catalogues.keys():
        return True
    return any(not changes(path, catalogues[log]).is_none for log, path in names.items())


def stale_days(rollups: Rollups, catalogues: dict[str, Catalogue]) -> set[tuple[str, str]]:
    """Return partitions and days whose roll-ups are to be made, also those of an older edgeemo."""
    known = days_of(catalogues.values())
    return set(rollups.stale) | {
        one for one in known if "{}/day={}".format(*one) not in rollups.tracks
    }


class _Update:
    def __init__(self, root: Path, store: Path, progress: Progress) -> None:
        self._root = root
        self._store = store
        self._progress = progress
        self._catalogues = read_catalogues(store)
        self._rollups = read_rollups(store)
        self._stale = stale_days(self._rollups, self._catalogues)
        self._done = Update()

    def run(self) -> Update:
        with Reader(self._root, self._store) as reader:
            self._reader = reader
            self._logs = {
                number: _name(self._root, directory)
                for number, directory in enumerate(reader.directories)
            }
            for log in self._catalogues.keys() - set(self._logs.values()):
                self._drop(log)
            for number, directory in enumerate(reader.directories):
                self._bring_in_line(number, directory)
            self._roll_up()
        self._done.logs = len(self._logs)
        self._done.records = sum(
            run.present
            for one in self._catalogues.values()
            for batch in one.batches
            for run in batch.runs
        )
        self._done.size_bytes = sum(
            path.stat().st_size for path in self._store.rglob("*") if path.is_file()
        )
        known = set(stored_columns())
        self._done.lacking = sorted(
            set().union(*(known - set(one.fields) for one in self._catalogues.values()))
        )
        return self._done

    def _bring_in_line(self, number: int, directory: Path) -> None:
        log = self._logs[number]
        catalogue = self._known(log)
        found = changes(directory, catalogue)
        if found.touched:
            catalogue = _touched(catalogue, found.touched)
            self._commit(Transaction(self._store), {log: catalogue})
        if found.is_none:
            if log not in self._catalogues:
                self._commit(Transaction(self._store), {log: catalogue})
            return
        if found.must_rebuild or (found.replaced is not None and not found.fresh):
            self._rebuild(number)
            return
        self._append_all(number, found.fresh, found.replaced)

    def _append_all(self, number: int, files: list[RawFile], replaced: Batch | None) -> None:
        """Store files after those that the store has, or all anew where they are not just new."""
        for chunk in batches(files):
            sessions = self._append(number, chunk, replaced)
            replaced = None
            if sessions is not None:
                self._rebuild(number, sessions)
                return

    def _append(
        self, number: int, files: list[RawFile], replaced: Batch | None
    ) -> Collection[Session] | None:
        """Store files; return their sessions, and store nothing, where some records are known."""
        log = self._logs[number]
        catalogue = _without(self._known(log), replaced)
        self._reader.read(files)
        ingest = Ingest(self._reader, {number: log}, {log: catalogue})
        sessions = ingest.sessions()
        numbers = {one: last for one, (_, last) in _numbers(catalogue).items()}
        elsewhere = {
            session
            for name, other in self._catalogues.items()
            if name != log
            for session in _numbers(other)
        }
        gone = {(run.device, run.session) for run in replaced.runs} if replaced else set()
        is_known = any(numbers.get(one, -1) >= low for one, (low, _) in sessions.items())
        lost = replaced is not None and ingest.lacks([part.path for part in replaced.parts])
        if is_known or lost or elsewhere & (sessions.keys() | gone):
            return sessions.keys() | gone
        self._write(ingest, files, [replaced] if replaced else [])
        self._progress(log, len(files))
        return None

    def _rebuild(self, number: int, sessions: Collection[Session] = ()) -> None:
        """Store a log anew, together with those that share a session with it."""
        group = self._related(number, sessions)
        if len(group) == 1 and not sessions:
            log, directory = self._logs[number], self._reader.directories[number]
            change = Transaction(self._store)
            self._remove(change, self._known(log).batches)
            self._commit(change, {log: _empty(log, self._known(log).next)})
            self._append_all(number, all_files(directory), None)
            return
        files = [file for one in group for file in all_files(self._reader.directories[one])]
        logs = {one: self._logs[one] for one in group}
        self._reader.read(files)
        gone = [batch for log in logs.values() for batch in self._known(log).batches]
        empty = {log: _empty(log, self._known(log).next) for log in logs.values()}
        self._write(Ingest(self._reader, logs, empty), files, gone)
        for one in group:
            self._progress(self._logs[one], len(all_files(self._reader.directories[one])))

    def _related(self, number: int, sessions: Collection[Session]) -> list[int]:
        """Return the logs that share sessions with a log, with each other, or have these ones."""
        of_log = {one: set(_numbers(self._known(log))) for one, log in self._logs.items()}
        of_log[number] |= set(sessions)
        group, found = {number}, of_log[number]
        while more := {one for one, own in of_log.items() if one not in group and own & found}:
            group |= more
            found = set().union(*(of_log[one] for one in group))
        return sorted(group)

    def _drop(self, log: str) -> None:
        """Forget a log whose folder is gone, and store anew those that shared a session."""
        gone = set(_numbers(self._catalogues[log]))
        change = Transaction(self._store)
        self._remove(change, self._catalogues[log].batches)
        change.remove(_path(log))
        del self._catalogues[log]
        self._commit(change, {})
        for number, other in self._logs.items():
            if gone & set(_numbers(self._known(other))):
                self._rebuild(number, gone)

    def _known(self, log: str) -> Catalogue:
        return self._catalogues.get(log) or _empty(log)

    def _write(self, ingest: Ingest, files: Sequence[RawFile], gone: Sequence[Batch]) -> None:
        change = Transaction(self._store)
        self._remove(change, gone)
        catalogues, days = ingest.store(change, files)
        self._stale |= days
        self._done.files += len(files)
        self._commit(change, catalogues)

    def _remove(self, change: Transaction, gone: Iterable[Batch]) -> None:
        for batch in gone:
            for path in batch.paths():
                change.remove(path)
            for part in batch.parts:
                self._stale.add((part.path.split("/")[1], part.day))

    def _commit(self, change: Transaction, catalogues: dict[str, Catalogue]) -> None:
        for log, catalogue in catalogues.items():
            change.put(_path(log), catalogue)
        self._rollups = msgspec.structs.replace(self._rollups, stale=sorted(self._stale))
        change.put(f"{FOLDER}/{ROLLUPS_NAME}", self._rollups)
        change.commit()
        self._catalogues |= catalogues

    def _roll_up(self) -> None:
        paths = {
            (part.path.split("/")[1], part.day, part.path)
            for catalogue in self._catalogues.values()
            for batch in catalogue.batches
            for part in batch.parts
        }
        while self._stale:
            partition, day = min(self._stale)
            year = day[:4]
            days = {d for p, d in self._stale if p == partition and d.startswith(year)}
            change = Transaction(self._store)
            self._rollups = roll_up(
                self._reader, change, self._rollups, partition, year, days,
                sorted(path for p, d, path in paths if p == partition and d in days),
            )  # fmt: skip
            self._stale -= {(partition, one) for one in days}
            self._commit(change, {})


def _path(log: str) -> str:
    return f"{FOLDER}/{partition_value(log)}.json"


def _name(root: Path, directory: Path) -> str:
    return directory.relative_to(root).as_posix()


def _empty(log: str, number: int = 0) -> Catalogue:
    return Catalogue(log, list(stored_columns()), next=number)


def _without(catalogue: Catalogue, batch: Batch | None) -> Catalogue:
    kept = [one for one in catalogue.batches if one is not batch]
    return msgspec.structs.replace(catalogue, batches=kept)


def _touched(catalogue: Catalogue, sources: dict[str, Source]) -> Catalogue:
    """Return a catalogue with what is known now of raw files whose content is the same."""
    kept = [
        msgspec.structs.replace(
            batch, sources=[sources.get(one.name, one) for one in batch.sources]
        )
        for batch in catalogue.batches
    ]
    return msgspec.structs.replace(catalogue, batches=kept)


def _numbers(catalogue: Catalogue) -> dict[Session, tuple[int, int]]:
    """Return the lowest and highest number of each session."""
    found: dict[Session, tuple[int, int]] = {}
    for batch in catalogue.batches:
        for run in batch.runs:
            low, high = found.get((run.device, run.session), (run.first, run.last))
            found[run.device, run.session] = (min(low, run.first), max(high, run.last))
    return found


def _clear(store: Path) -> None:
    """Remove what a store holds; a kill in between leaves one that is made anew."""
    for folder in (FOLDER, RECORDS, HOURS, EMOTIONS, TRACKS, COPIES):
        if (store / folder).exists():
            shutil.rmtree(store / folder)
