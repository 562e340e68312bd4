"""Changes to a store that happen wholly or not at all, whenever the process is killed.

New files are written below ``pending/``. Then the list of what is to be moved and removed is
written, as ``journal.json``, in one step; from then on the change will happen: it is carried out at
once, or, after a kill or a power cut, by whoever opens the store next. Every step of it can be done
again.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import LogError
from edge.files import lock_alone, open_regular, sync_folder
from edgeemo.analysis.store.catalogue import read_json

_PENDING: Final = "pending"
_JOURNAL: Final = "journal.json"
_LOCK: Final = "lock"
_FILE_MODE: Final = 0o640
_FOLDER_MODE: Final = 0o750


class _Journal(msgspec.Struct):
    moves: list[tuple[str, str]]
    removals: list[str]


class BusyError(LogError):
    """Another process is changing the store."""


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Have a store to oneself, made if needed, with any change that was cut off carried out.

    Raises:
        BusyError: another process has it.
        LogError: it cannot be written.
    """
    try:
        store.mkdir(_FOLDER_MODE, exist_ok=True)
        lock = os.fdopen(open_regular(store / _LOCK, os.O_RDWR | os.O_CREAT), "rb+")
    except OSError as error:
        raise LogError(f"{store}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            lock_alone(lock.fileno())
        except OSError as error:
            raise BusyError(f"{store}: another edgeemo is changing it; try again later") from error
        try:
            _recover(store)
        except OSError as error:
            raise LogError(f"{store}: cannot be written ({error.strerror})") from error
        yield


def is_settled(store: Path) -> bool:
    """Tell whether no change to a store was cut off while it was carried out."""
    return not (store / _JOURNAL).exists()


class Transaction:
    """One change to a store whose lock is held."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._moves: list[tuple[str, str]] = []
        self._removals: list[str] = []
        (store / _PENDING).mkdir(_FOLDER_MODE, exist_ok=True)

    def new_file(self, path: str) -> str:
        """Return where to write what will be ``path``; both are relative to the store."""
        pending = f"{_PENDING}/{len(self._moves)}"
        self._moves.append((pending, path))
        return pending

    def put(self, path: str, value: object) -> None:
        """Write a small file in the place of an earlier one."""
        (self._store / self.new_file(path)).write_bytes(msgspec.json.encode(value))

    def remove(self, path: str) -> None:
        """Let a file go."""
        self._removals.append(path)

    def commit(self) -> None:
        """Make the change.

        Raises:
            OSError: the disk failed; it was not made, or will be when the store is opened next.
        """
        for pending, _ in self._moves:
            (self._store / pending).chmod(_FILE_MODE)
            sync_path(self._store / pending)
        part = self._store / _PENDING / _JOURNAL
        part.write_bytes(msgspec.json.encode(_Journal(self._moves, self._removals)))
        sync_path(part)
        part.replace(self._store / _JOURNAL)
        sync_path(self._store)
        _recover(self._store)


def _recover(store: Path) -> None:
    """Carry out a change that was decided on, and clear what never was."""
    journal = store / _JOURNAL
    if journal.exists():
        change = read_json(journal, _Journal)
        folders = set()
        for pending, path in change.moves:
            target = store / path
            if (store / pending).exists():
                target.parent.mkdir(_FOLDER_MODE, parents=True, exist_ok=True)
                (store / pending).replace(target)
            folders.add(target.parent)
        for folder in folders:
            sync_path(folder)
        for path in change.removals:
            (store / path).unlink(missing_ok=True)
            with suppress(OSError):
                (store / path).parent.rmdir()
        # Before the journal goes: without one nobody looks whether anything is left.
        shutil.rmtree(store / _PENDING, ignore_errors=True)
        journal.unlink()
        sync_path(store)
    shutil.rmtree(store / _PENDING, ignore_errors=True)


def sync_path(path: Path) -> None:
    """Bring a file or a folder to the disk."""
    if path.is_dir():
        sync_folder(path)
        return
    fd = os.open(path, os.O_RDWR)  # Windows syncs nothing that is open for reading only
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
