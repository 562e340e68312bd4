"""A run's whole state after an epoch, in one file that is there whole or not at all."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from host_training.atomic import RESUME, write_atomically
from host_training.training.learner import Learner
from host_training.training.weight_average import WeightAverage

logger = logging.getLogger(__name__)

KEPT: Final = 2
"""Checkpoints kept besides the best: the newest, and one to fall back to."""


_COUNTS: Final = "counts"
"""The member that tells how many arrays of each group there are."""


class EpochRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``history.csv``; ``epoch`` counts from 1."""

    epoch: int
    learning_rate: float
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that the next epoch depends on.

    Attributes:
        arrays: every variable of model and optimiser (weights, moments, step, dropout's state).
        history: the epochs so far.
        average: the state of the weights' moving average; empty without one.
    """

    arrays: tuple[NDArray[np.generic], ...]
    history: tuple[EpochRow, ...]
    average: tuple[NDArray[np.generic], ...] = ()


def best_row(history: tuple[EpochRow, ...]) -> EpochRow:
    """Return the epoch of the best validation accuracy, the earlier of equals."""
    return max(history, key=lambda row: (row.val_accuracy, -row.epoch))


def capture(learner: Learner, average: WeightAverage, history: tuple[EpochRow, ...]) -> Checkpoint:
    """Copy the state of a learner and of its weights' average."""
    return Checkpoint(tuple(learner.state()), history, tuple(average.state()))


def restore(learner: Learner, average: WeightAverage, checkpoint: Checkpoint) -> None:
    """Put a state back into a new learner of the same architecture.

    Raises:
        TrainingError: the state is of another network.
    """
    learner.restore(list(checkpoint.arrays))
    average.restore(checkpoint.average)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write ``epoch-NNNN.npz`` and remove those that are no longer needed.

    Raises:
        TrainingError: the disk refuses; what was there before is untouched.
    """
    path = folder / f"epoch-{len(checkpoint.history):04d}.npz"
    write_atomically(path, lambda file: _write(file, checkpoint), remedy=RESUME)
    keep = {path.name, f"epoch-{best_row(checkpoint.history).epoch:04d}.npz"}
    files = sorted(folder.glob("epoch-*.npz"))
    for old in files[:-KEPT]:
        if old.name not in keep:
            old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None when there is none."""
    for path in sorted(folder.glob("epoch-*.npz"), reverse=True):
        try:
            return _load(path)
        # A damaged byte is told by zipfile, zlib or NumPy with an exception of almost any kind.
        except Exception as error:
            logger.warning("%s: damaged (%s), falling back to the one before", path, error)
    return None


def encode(checkpoint: Checkpoint) -> bytes:
    """Return a checkpoint as the bytes of its file."""
    file = io.BytesIO()
    _write(file, checkpoint)
    return file.getvalue()


def decode(data: bytes) -> Checkpoint:
    """Return the checkpoint that ``encode`` made bytes of."""
    return _read(io.BytesIO(data))


def _write(file: IO[bytes], checkpoint: Checkpoint) -> None:
    members: dict[str, Any] = {
        f"{group}_{i:04d}": array
        for group, arrays in (("variable", checkpoint.arrays), ("average", checkpoint.average))
        for i, array in enumerate(arrays)
    }
    members["history"] = np.frombuffer(msgspec.json.encode(checkpoint.history), np.uint8)
    members[_COUNTS] = np.array((len(checkpoint.arrays), len(checkpoint.average)))
    np.savez(file, **members)


def _load(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        return _read(file)


def _read(file: IO[bytes]) -> Checkpoint:
    with np.load(file, allow_pickle=False) as members:
        history = msgspec.json.decode(members["history"].tobytes(), type=tuple[EpochRow, ...])
        names = set(members.files) - {"history", _COUNTS}
        variables = sum(name.startswith("variable_") for name in names)
        counts = (variables, len(names) - variables)  # of a checkpoint of an older version
        if _COUNTS in members.files:
            counts = members[_COUNTS].tolist()
        groups = [
            [f"{group}_{i:04d}" for i in range(count)]
            for group, count in zip(("variable", "average"), counts, strict=True)
        ]
        # The zip's sums hold for what a member holds, not for the list of its members.
        if {name for group in groups for name in group} != names:
            raise ValueError("an array is missing")
        arrays, average = (tuple(members[name] for name in group) for group in groups)
        return Checkpoint(arrays, history, average)
