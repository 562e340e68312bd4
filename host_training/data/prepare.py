"""`edgeemo data prepare`: mesh every picture once, and go on where the last run stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import lock_alone
from host_training.data.find_faces import MakeMesher, Pictures, mesh_in_batches
from host_training.data.picture_progress import PictureProgress
from host_training.data.prepared import (
    RECORD,
    ROOM,
    Meshes,
    PreparedRecord,
    Recipe,
    without_face,
)
from host_training.data.samples import Samples, picture_keys
from host_training.distributed.workers import slice_of
from host_training.errors import DataError
from host_training.runs.directory import write_json


def prepare_pictures(
    samples: Samples,
    out: Path,
    recipe: Recipe,
    make: MakeMesher,
    workers: int,
    progress: PictureProgress,
    part: tuple[int, int] = (1, 1),
) -> PreparedRecord | None:
    """Mesh the pictures that ``out`` does not hold yet, and write its ``prepared.json``.

    Every batch is safe on the disk before the next one is told of; a run that was stopped at any
    moment is continued by running it again.

    Args:
        samples: the data set.
        out: the prepared folder, made if it is not there.
        recipe: describes what ``make`` makes; results of other recipes are left alone and unused.
        make: opens the mesher.
        workers: processes to use.
        progress: told of every batch.
        part: which one of how many parts of the pictures, counted from 1. The files of all parts
            may be copied into one folder; without parts, that is completed and recorded.

    Returns:
        What was prepared; None for a part of several.

    Raises:
        DataError: another process is preparing this folder, a file of it is damaged, a worker
            died, or the run was interrupted.
        InferenceError: the mesher failed.
        TrainingError: the disk refuses.
    """
    meshes = Meshes(out, recipe)
    with _locked(out, meshes.path):
        known = meshes.found()
        keys = picture_keys(samples.images)
        todo = _not_yet(keys, known)
        if part[1] > 1:
            mine = _part_of(keys, *part)
            todo = np.array([row for row in todo if bytes(keys[row]) in mine], np.int64)
            progress.report(f"part {part[0]} of {part[1]}: {len(mine)} pictures, {len(todo)} to do")
        distinct = len(set(map(bytes, keys)))
        progress.report(
            f"{distinct} distinct pictures in {len(samples)} samples, "
            f"{len(known.keys() & set(map(bytes, keys)))} of them prepared already"
        )
        progress.begin(len(todo))
        try:
            for rows, meshed in mesh_in_batches(Pictures.of(samples), todo, make, workers):
                meshes.add(keys[rows], meshed)
                known.update(zip(map(bytes, keys[rows]), meshed.found.tolist(), strict=True))
                progress.advance(len(rows))
        except KeyboardInterrupt as interrupt:
            raise DataError(
                "interrupted; what is done is kept: run the same command again to continue"
            ) from interrupt
        if part[1] > 1:
            return None
        found = np.array([known[bytes(key)] for key in keys], bool)
        record = PreparedRecord(
            recipe=recipe,
            dataset=samples.fingerprint(),
            pictures=distinct,
            rows_with_face=int(found.sum()),
            rows_without_face=without_face(samples, found),
        )
        write_json(out / RECORD, record, remedy=ROOM)
    return record


def _not_yet(keys: NDArray[np.void], known: dict[bytes, bool]) -> NDArray[np.int64]:
    """Return the first row of each picture that is not known yet."""
    first: dict[bytes, int] = {}
    for i, key in enumerate(map(bytes, keys)):
        if key not in known:
            first.setdefault(key, i)
    return np.array(list(first.values()), np.int64)


def _part_of(keys: NDArray[np.void], part: int, parts: int) -> set[bytes]:
    """Return the keys of one part: the pictures' own, so that it is the same on all machines."""
    ordered = sorted(set(map(bytes, keys)))
    return set(ordered[slice_of(len(ordered), part - 1, parts)])


@contextmanager
def _locked(out: Path, meshes: Path) -> Iterator[None]:
    """Keep other processes out of the folder; the system frees it however this one ends."""
    try:
        meshes.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DataError(f"{out}: cannot be made or written ({error.strerror})") from error
    try:
        _lock(lock, out)
        for leftover in meshes.glob(".*.npz.*"):  # of a run that was killed while it wrote
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(lock)


def _lock(lock: int, out: Path) -> None:
    try:
        lock_alone(lock)
    except OSError as error:
        raise DataError(
            f"{out}: another process is preparing this folder; wait for it, or give another --out"
        ) from error
