"""Samples in shards on the disk, for data that does not fit into memory.

::

    DIR/part-00001-of-00002.json   what one machine has written: ``PartRecord``
    DIR/pictures-00000000.npy      uint8 (m, 48, 48); the number is that of its first sample
    DIR/samples-00000000.npz       the same samples' targets, answers, splits, subjects, votes

Pictures are read as training asks for them; the rest, some 50 bytes a sample, is in memory.
Parts that several machines have written are put together by copying them into one folder.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from host_training.atomic import write_atomically
from host_training.data.samples import Samples
from host_training.data.stored_images import PictureFile, StoredImages
from host_training.distributed.workers import slice_of
from host_training.errors import DataError
from host_training.runs.directory import write_json

_PARTS: Final = "part-*-of-*.json"
_FORMAT: Final = 1
_ROOM: Final = "make room, and run the same command again"
_ARRAYS: Final = ("targets", "class_ids", "split", "subjects", "votes", "mesh")


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """One shard: number of its first sample, and how many it has."""

    start: int
    count: int


class PartRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine has written.

    Attributes:
        part: counted from 1.
        parts: how many there are.
        fingerprint: of the whole data set that the parts are of.
        samples: of the whole data set.
        labels: see ``Samples``, as name, form and protocol.
        shards: in order.
    """

    format_version: int = _FORMAT
    part: int
    parts: int
    fingerprint: str
    samples: int
    labels: tuple[str, ...]
    name: str
    form: str
    protocol: str
    shards: tuple[Shard, ...]


def read_part(text: str | None) -> tuple[int, int]:
    """Read ``I/N``, a part counted from 1 of so many; the whole for None.

    Raises:
        ConfigError: it is not that.
    """
    if text is None:
        return 1, 1
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise ConfigError(f"--shard {text}: expected I/N, such as 1/4 to 4/4")
    return int(part), int(parts)


def write_shards(samples: Samples, out: Path, size: int, part: tuple[int, int]) -> PartRecord:
    """Write one part of a data set; what is there of it already is written anew.

    Args:
        samples: the whole data set.
        out: the folder; several machines may share it.
        size: samples in a shard.
        part: which one of how many.

    Raises:
        ConfigError: the size is none, or pictures have aligned crops, which shards have no room
            for.
        TrainingError: the disk refuses.
    """
    if size < 1:
        raise ConfigError(f"--shards {size}: expected the number of samples in a shard, 1 or more")
    number, parts = part
    own = range(len(samples))[slice_of(len(samples), number - 1, parts)]
    shards = [
        Shard(start=start, count=min(size, own.stop - start))
        for start in range(own.start, own.stop, size)
    ]
    _make(out)
    for shard in shards:
        _write(samples, out, shard)
    record = PartRecord(
        part=number,
        parts=parts,
        fingerprint=samples.fingerprint().fingerprint,
        samples=len(samples),
        labels=samples.labels,
        name=samples.name,
        form=samples.form,
        protocol=samples.protocol,
        shards=tuple(shards),
    )
    write_json(out / f"part-{number:05d}-of-{parts:05d}.json", record, remedy=_ROOM)
    return record


def is_sharded(data: Path) -> bool:
    """Tell a folder of shards from other data."""
    return data.is_dir() and any(data.glob(_PARTS))


def read_shards(folder: Path) -> Samples:
    """Open a folder of shards; pictures stay on the disk, see ``StoredImages``.

    Raises:
        DataError: a part or a file is missing or damaged, or the parts are of different data.
    """
    records = _complete(folder, _records(folder))
    shards = [shard for record in records for shard in record.shards]
    columns: dict[str, list[NDArray[Any]]] = {}
    for shard in shards:
        for name, values in _read(folder, shard).items():
            columns.setdefault(name, []).append(values)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    files = [PictureFile(_pictures(folder, shard), shard.count) for shard in shards]
    first = records[0]
    return Samples(
        images=cast("NDArray[np.uint8]", StoredImages(files, (48, 48))),
        labels=first.labels,
        name=first.name,
        form=f"{first.form}, in {len(shards)} shards",
        protocol=first.protocol,
        **cast("dict[str, Any]", joined),
    )


def in_memory(samples: Samples) -> Samples:
    """Return the samples with their pictures in memory."""
    return replace(samples, images=np.asarray(samples.images))


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made ({error.strerror})") from error


def _pictures(folder: Path, shard: Shard) -> Path:
    return folder / f"pictures-{shard.start:08d}.npy"


def _write(samples: Samples, out: Path, shard: Shard) -> None:
    rows = slice(shard.start, shard.start + shard.count)
    images = np.ascontiguousarray(samples.images[rows])
    write_atomically(_pictures(out, shard), lambda file: np.save(file, images), remedy=_ROOM)
    own = {name: values[rows] for name in _ARRAYS if (values := getattr(samples, name)) is not None}
    path = out / f"samples-{shard.start:08d}.npz"
    write_atomically(path, lambda file: np.savez(file, **own), remedy=_ROOM)


def _read(folder: Path, shard: Shard) -> dict[str, NDArray[Any]]:
    path = folder / f"samples-{shard.start:08d}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files if name in _ARRAYS}
    except Exception as error:  # numpy and zipfile raise what they please for damaged files
        raise DataError(
            f"{path}: not the samples of a shard ({type(error).__name__}: {error}); make it again "
            "with `edgeemo data prepare --shards`"
        ) from error
    if any(len(values) != shard.count for values in found.values()):
        raise DataError(f"{path}: does not hold the {shard.count} samples of its shard")
    return found


def _records(folder: Path) -> Iterator[tuple[Path, PartRecord]]:
    for path in sorted(folder.glob(_PARTS)):
        try:
            yield path, msgspec.json.decode(path.read_bytes(), type=PartRecord)
        except (OSError, msgspec.MsgspecError) as error:
            raise DataError(f"{path}: not the record of a part ({error})") from error


def _complete(folder: Path, found: Iterator[tuple[Path, PartRecord]]) -> list[PartRecord]:
    """Refuse parts that are not, all together, one data set."""
    records: list[PartRecord] = []
    for path, record in found:
        if record.format_version != _FORMAT:
            raise DataError(
                f"{path}: of format {record.format_version}, this edgeemo reads {_FORMAT}"
            )
        if records and _whole(record) != _whole(records[0]):
            raise DataError(
                f"{path}: of other data, or of another number of parts, than the others in "
                f"{folder}; make all parts from the same data, each with its --shard I/N"
            )
        records.append(record)
    missing = set(range(1, records[0].parts + 1)) - {record.part for record in records}
    if missing:
        words = ", ".join(f"{part}/{records[0].parts}" for part in sorted(missing))
        raise DataError(f"{folder}: part {words} is missing; make it with --shard, or copy it here")
    _check_gapless(folder, records)
    return records


def _whole(record: PartRecord) -> tuple[object, ...]:
    return record.parts, record.fingerprint, record.samples, record.labels, record.protocol


def _check_gapless(folder: Path, records: list[PartRecord]) -> None:
    start = 0
    for shard in (shard for record in records for shard in record.shards):
        if shard.start != start:
            raise DataError(f"{folder}: samples {start} to {shard.start} are in no shard")
        start += shard.count
    if start != records[0].samples:
        raise DataError(f"{folder}: holds {start} of {records[0].samples} samples")
