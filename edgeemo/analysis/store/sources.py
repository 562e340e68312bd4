"""The raw files as they are now, compared with those that a store was made of."""

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.contract.logfiles import FILE_NAME, log_files
from edge.files import open_regular
from edgeemo.analysis.store.catalogue import Batch, Catalogue, Source

_BLOCK: Final = 1 << 20
_BATCH_BYTES: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file of a log directory, and what identifies its content."""

    path: Path
    source: Source

    @property
    def is_current(self) -> bool:
        """It is the one that is still being written."""
        return self.source.name == FILE_NAME


@dataclass(frozen=True, slots=True)
class Changes:
    """What has happened to a log since it was stored.

    Attributes:
        fresh: files that are to be stored, in their order.
        replaced: the batch of the file that was being written, which is no more as it was.
        must_rebuild: a file that was closed has gone or become another one.
        touched: sources of which only date or compression changed.
    """

    fresh: list[RawFile]
    replaced: Batch | None = None
    must_rebuild: bool = False
    touched: dict[str, Source] | None = None

    @property
    def is_none(self) -> bool:
        """The store has the log as it is."""
        return not self.fresh and self.replaced is None and not self.must_rebuild


def changes(directory: Path, catalogue: Catalogue) -> Changes:
    """Compare a log directory with its catalogue.

    A file is taken for the same while name, size and time of change are; beyond that by length and
    CRC-32 of its plain content, so a log that was copied or compressed is not stored again.

    Raises:
        OSError: a file cannot be read.
    """
    known = catalogue.sources
    fresh: list[RawFile] = []
    touched: dict[str, Source] = {}
    seen: set[str] = set()
    for path in log_files(directory):
        name = path.name.removesuffix(".gz")
        status = path.stat()
        before = known.get(name)
        if before is not None and _is_untouched(before, path, status):
            seen.add(name)
            continue
        try:
            now = _source(path, status)
        except FileNotFoundError:  # it has been closed or compressed since it was listed
            continue
        if before is not None and (before.plain_bytes, before.crc32) == (
            now.plain_bytes,
            now.crc32,
        ):
            seen.add(name)
            touched[name] = now
        else:
            fresh.append(RawFile(path, now))
    gone = [b for b in catalogue.batches if any(one.name not in seen for one in b.sources)]
    replaced = next((batch for batch in gone if batch.is_current), None)
    must_rebuild = any(not batch.is_current for batch in gone)
    return Changes(fresh, replaced, must_rebuild, touched)


def all_files(directory: Path) -> list[RawFile]:
    """Return all files of a log directory, in their order.

    Raises:
        OSError: one cannot be read.
    """
    return [RawFile(path, _source(path, path.stat())) for path in log_files(directory)]


def batches(files: Sequence[RawFile]) -> list[list[RawFile]]:
    """Return files in groups that fit into memory."""
    groups: list[list[RawFile]] = []
    room = 0
    for file in files:
        if not groups or file.source.plain_bytes > room:
            groups.append([])
            room = _BATCH_BYTES
        groups[-1].append(file)
        room -= file.source.plain_bytes
    return groups


def _is_untouched(before: Source, path: Path, status: os.stat_result) -> bool:
    found = (path.suffix == ".gz", status.st_size, status.st_mtime_ns)
    return found == (before.is_compressed, before.size, before.mtime_ns)


def _source(path: Path, status: os.stat_result) -> Source:
    is_compressed = path.suffix == ".gz"
    with os.fdopen(open_regular(path), "rb") as file:
        if is_compressed:
            file.seek(-min(8, status.st_size), os.SEEK_END)
            crc32, plain_bytes = struct.unpack("<II", file.read(8).rjust(8, b"\0"))
        else:
            crc32 = plain_bytes = 0
            while block := file.read(_BLOCK):
                crc32, plain_bytes = zlib.crc32(block, crc32), plain_bytes + len(block)
    name = path.name.removesuffix(".gz")
    return Source(name, is_compressed, status.st_size, status.st_mtime_ns, plain_bytes, crc32)
