"""One device's log as it is kept here: whole files only, whenever this is cut off.

A file is known by its first line, which holds its session and number. So the file that was being
written at the last visit is found again under the name that it has got meanwhile, and continued.
"""

import glob
import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from edge.contract.logfiles import (
    FILE_NAME,
    LONGEST_LINE,
    PART_SUFFIX,
    closed_files,
    closed_name,
    log_files,
    parse_closed,
)
from edge.files import sync_folder

_DIRECTORY_MODE: Final = 0o750
_FILE_MODE: Final = 0o640
_SPARE_BYTES: Final = 100_000_000

Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class RemoteFile(msgspec.Struct, frozen=True):
    """A log file of a device, as ``deploy/device/logs.py`` lists it."""

    name: str
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 60)]
    first: Hash | None

    @property
    def number(self) -> int | None:
        """The closed file's number; None: the one being written, or no log file's name at all."""
        parsed = parse_closed(self.name)
        return parsed[0] if parsed else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a device.

    Attributes:
        remote: the file, under its name on the device.
        part: where it grows here.
        offset: how much of it is here.
        continues: it is the one that is being written here; its plain content is asked for.
    """

    remote: RemoteFile
    part: Path
    offset: int
    continues: bool

    @property
    def name(self) -> str:
        """What to ask for: the plain file, where it is one here."""
        return _stem(self.remote.name) if self.continues else self.remote.name


class LogCopy:
    """The folder of one device."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / FILE_NAME
        self._growing = folder / f"{FILE_NAME}{PART_SUFFIX}"
        self._is_trusted = True

    @property
    def room(self) -> int:
        """How many bytes a device may bring; the disk is never filled to its end."""
        return max(0, shutil.disk_usage(self._folder.parent).free - _SPARE_BYTES)

    def settle(self, remote: Sequence[RemoteFile]) -> list[Path]:
        """Bring what is here in line with what the device has; return what was set aside.

        Nothing is deleted: what the device has no more keeps its place, or, where the device has
        begun a new log and would need the same names, gets a folder beside. A log that comes back,
        as after a start without its disk, goes on in the copy that was set aside.

        Raises:
            OSError: the disk failed.
        """
        self._folder.mkdir(_DIRECTORY_MODE, parents=True, exist_ok=True)
        aside = self._set_aside(remote)
        if not log_files(self._folder) and self._take_back(remote):
            aside += self._set_aside(remote)
        return [path for path in aside if path.exists()]

    def _take_back(self, remote: Sequence[RemoteFile]) -> bool:
        """Let an earlier copy of the device's log take the place of an empty folder."""
        for earlier in sorted(self._folder.parent.glob(f"{glob.escape(self._folder.name)}~*")):
            if LogCopy(earlier).is_of(remote):
                self._clear(())
                self._folder.rmdir()
                earlier.rename(self._folder)
                return True
        return False

    def is_of(self, remote: Sequence[RemoteFile]) -> bool:
        """Tell whether this is a copy of a log, by a file that both have and none that differs."""
        theirs = {file.number for file in remote}
        has_both = any(file.number in theirs for file in closed_files(self._folder))
        has_both = has_both or self._counterpart(remote) is not None
        return has_both and not self._differs(remote)

    def _differs(self, remote: Sequence[RemoteFile]) -> bool:
        """Tell whether a closed file here is another one there, or has no successor there."""
        theirs = {file.number: file for file in remote if file.number}
        ours = {file.number: file.path for file in closed_files(self._folder)}
        if max(theirs, default=0) < max(ours, default=0):
            return True
        both = sorted(ours.keys() & theirs.keys())
        if any(_stem(theirs[number].name) != _stem(ours[number].name) for number in both):
            return True
        # A board without a clock may close two files in the same second of its false time.
        return any(_first(ours[number]) != theirs[number].first for number in both[-1:])

    def _set_aside(self, remote: Sequence[RemoteFile]) -> list[Path]:
        theirs = [file.number for file in remote if file.number]
        ours = [file.number for file in closed_files(self._folder)]
        aside: list[Path] = []
        if self._differs(remote):
            aside.append(_beside(self._folder))
            self._folder.rename(aside[0])
            self._folder.mkdir(_DIRECTORY_MODE)
        elif self._current.exists() and self._counterpart(remote) is None:
            number = max(ours, default=0) + 1
            if number < min(theirs, default=1):  # removed there as too old
                name = closed_name(number, self._current.stat().st_mtime)
                self._current.rename(self._folder / name)
            else:
                aside.append(_beside(self._folder))
                aside[0].mkdir(_DIRECTORY_MODE)
                self._current.rename(aside[0] / FILE_NAME)
        return aside

    def missing(self, remote: Sequence[RemoteFile]) -> list[Wanted]:
        """Return what is to be asked for, in the order in which it must be taken.

        Raises:
            OSError: the disk failed.
        """
        ours = {file.number for file in closed_files(self._folder)}
        counterpart = self._counterpart(remote)
        if counterpart is not None and _first(self._growing) != counterpart.first:
            self._growing.unlink(missing_ok=True)
        wanted = [] if counterpart is None else [self._continued(counterpart)]
        closed = {file.number: file for file in remote if file.number}
        for number in sorted(closed.keys() - ours):
            file = closed[number]
            if file != counterpart:
                part = self._folder / f"{file.name}{PART_SUFFIX}"
                offset = min(_size(part), file.size)
                wanted.append(Wanted(file, part, offset, continues=False))
        for file in remote:
            if file.number is None and file.first is not None and file != counterpart:
                begun = self._growing if counterpart is None else None
                offset = _size(begun) if begun and _first(begun) == file.first else 0
                wanted.append(Wanted(file, self._growing, offset, continues=False))
        self._clear(one.part for one in wanted)
        return wanted

    def begin(self, wanted: Wanted) -> None:
        """Make the part what is here of a file, for the rest to be appended.

        Raises:
            OSError: the disk failed.
        """
        if wanted.continues and _size(wanted.part) < wanted.offset:
            shutil.copyfile(self._current, wanted.part)
        fd = os.open(wanted.part, os.O_WRONLY | os.O_CREAT, _FILE_MODE)
        try:
            os.ftruncate(fd, wanted.offset)
        finally:
            os.close(fd)

    def keep(self, wanted: Wanted, size: int, sha256: str) -> bool:
        """Give a part its name if it is what the device has; False: it is not, and is gone.

        Raises:
            OSError: the disk failed.
        """
        with wanted.part.open("rb+") as file:
            os.fsync(file.fileno())
            is_whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        if not is_whole or wanted.part.stat().st_size != size:
            wanted.part.unlink()
            self._is_trusted = False
            return False
        name = wanted.remote.name
        if wanted.remote.number is None:
            wanted.part.replace(self._current)
        elif wanted.continues:
            # In two steps, each of which leaves every record here once.
            wanted.part.replace(self._current)
            closed = self._folder / _stem(name)
            self._current.rename(closed)
            if name != closed.name:
                _compress(closed)
        else:
            wanted.part.rename(self._folder / name)
        sync_folder(self._folder)
        return True

    def _counterpart(self, remote: Iterable[RemoteFile]) -> RemoteFile | None:
        """Return what has become of the file that is being written here."""
        first = _first(self._current)
        return next((file for file in remote if first is not None and file.first == first), None)

    def _continued(self, remote: RemoteFile) -> Wanted:
        offset = max(_size(self._current), _size(self._growing)) if self._is_trusted else 0
        return Wanted(remote, self._growing, offset, continues=True)

    def _clear(self, needed: Iterable[Path]) -> None:
        """Remove what was cut off and is not asked for any more."""
        keep = set(needed)
        for path in self._folder.glob(f"edgeemo*{PART_SUFFIX}"):
            if path not in keep:
                path.unlink()


def _stem(name: str) -> str:
    return name.removesuffix(".gz")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _first(path: Path) -> str | None:
    """Return the hash of a file's first line; None without a whole one."""
    if not path.exists():
        return None
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(LONGEST_LINE)
    except (EOFError, gzip.BadGzipFile, zlib.error):  # as the device says of a damaged one
        return None
    return hashlib.sha256(line).hexdigest() if line.endswith(b"\n") else None


def _beside(folder: Path) -> Path:
    """Return a name beside the folder that is free, and that no device can have."""
    number = 1
    while (path := folder.with_name(f"{folder.name}~{number}")).exists():
        number += 1
    return path


def _compress(path: Path) -> None:
    """Replace a file by its compressed form; a pair that a cut leaves behind is read once."""
    target = path.with_name(f"{path.name}.gz")
    part = target.with_name(f"{target.name}{PART_SUFFIX}")
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _FILE_MODE)
    with path.open("rb") as plain, os.fdopen(fd, "wb") as file:
        with gzip.GzipFile("", "wb", 6, file) as packed:
            shutil.copyfileobj(plain, packed, 1 << 18)
        file.flush()
        os.fsync(file.fileno())
    part.rename(target)
    path.unlink()
