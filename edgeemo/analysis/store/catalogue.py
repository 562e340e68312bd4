"""What a store holds, and of which files it was made: one small JSON file for each log."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from edge.errors import LogError
from edgeemo.analysis.losses import Run
from edgeemo.analysis.store.layout import SCHEMA

FOLDER: Final = "catalogue"
ROLLUPS_NAME: Final = "rollups.json"

_Form = TypeVar("_Form")


class Source(msgspec.Struct, frozen=True):
    """A raw file as it was when it was stored.

    Attributes:
        name: without ``.gz``.
        is_compressed: it had that suffix.
        size, mtime_ns: of the file.
        plain_bytes, crc32: of its plain content.
    """

    name: str
    is_compressed: bool
    size: int
    mtime_ns: int
    plain_bytes: int
    crc32: int


class SessionPart(msgspec.Struct, frozen=True):
    """What a part has of one session: numbers, how many, and the tracks among which they are."""

    session: str
    first: int
    last: int
    count: int
    low_track: int | None
    high_track: int | None


class Part(msgspec.Struct, frozen=True):
    """One Parquet file of records: of one log, one device and one day (UTC).

    Attributes:
        ends_s: when the last emotion in it ended, in whole seconds since 1970, rounded up.
    """

    path: str
    device: str
    day: str
    ends_s: int
    sessions: list[SessionPart]


class SessionRun(msgspec.Struct, frozen=True):
    """The numbers of one session in the files of a batch, copies among them.

    Attributes:
        present: how many records were kept of them.
    """

    device: str
    session: str
    first: int
    last: int
    present: int


class Batch(msgspec.Struct, frozen=True):
    """Files that were stored together.

    Attributes:
        is_current: of the file that was still being written: it is replaced as a whole.
        unreadable: lines that are no records.
        copies: records that were there already, kept apart in ``copies_path``.
    """

    sources: list[Source]
    is_current: bool
    unreadable: int
    runs: list[SessionRun]
    parts: list[Part]
    copies: int = 0
    copies_path: str | None = None

    def paths(self) -> Iterator[str]:
        """Yield the files of the store that it consists of."""
        yield from (part.path for part in self.parts)
        if self.copies_path is not None:
            yield self.copies_path


class Catalogue(msgspec.Struct, frozen=True):
    """All that the store has of one log.

    Attributes:
        log: the log directory, relative to the folder that the store is in.
        fields: the columns that were known when it was begun.
        next: number of the next file.
        names: the devices that the log has had.
    """

    log: str
    fields: list[str]
    batches: list[Batch] = []
    next: int = 0
    names: list[str] = []
    schema: int = SCHEMA

    @property
    def sources(self) -> dict[str, Source]:
        """The raw files by name."""
        return {source.name: source for batch in self.batches for source in batch.sources}

    def sessions(self) -> Iterator[tuple[Part, SessionPart]]:
        """Yield the parts with what each has of a session."""
        for batch in self.batches:
            for part in batch.parts:
                yield from ((part, one) for one in part.sessions)

    def runs(self, folder: int) -> Iterator[Run]:
        """Yield what each session has here, to find what is missing; the key is its device."""
        for batch in self.batches:
            for run in batch.runs:
                yield Run(
                    (run.device,), (run.device, run.session), folder,
                    run.first, run.last, run.first, run.last, run.present,
                )  # fmt: skip


class Rolled(msgspec.Struct, frozen=True):
    """The files that hold the hours of one device and year."""

    hours: str
    emotions: str


class Rollups(msgspec.Struct, frozen=True):
    """The hourly roll-ups.

    Attributes:
        files: by partition, ``device=.../year=...``.
        tracks: the files that hold the tracks, by ``device=.../day=...``.
        stale: partitions and days whose records have changed since.
        next: number of the next file.
    """

    files: dict[str, Rolled] = {}
    stale: list[tuple[str, str]] = []
    next: int = 0
    tracks: dict[str, str] = {}


def days_of(catalogues: Iterable[Catalogue]) -> set[tuple[str, str]]:
    """Return the partitions and days that have records."""
    return {
        (part.path.split("/")[1], part.day)
        for one in catalogues
        for batch in one.batches
        for part in batch.parts
    }


def read_catalogues(store: Path) -> dict[str, Catalogue]:
    """Return the catalogues by log.

    Raises:
        LogError: one is damaged.
    """
    paths = sorted((store / FOLDER).glob("*.json"))
    found = [read_json(path, Catalogue) for path in paths if path.name != ROLLUPS_NAME]
    return {one.log: one for one in found}


def read_rollups(store: Path) -> Rollups:
    """Return what is known of the roll-ups.

    Raises:
        LogError: it is damaged.
    """
    path = store / FOLDER / ROLLUPS_NAME
    return read_json(path, Rollups) if path.exists() else Rollups()


def read_json(path: Path, form: type[_Form]) -> _Form:
    """Return the content of a file of the store.

    Raises:
        LogError: it cannot be read, or is not of that form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LogError(
            f"{path}: is damaged ({error}); `edgeemo logs store --rebuild` rebuilds the store "
            "from the raw files"
        ) from error
