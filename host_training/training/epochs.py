"""The epochs of a run: train, validate, make it safe on the disk, go on."""

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge.contract.mesh_features import FeatureNorm
from host_training.atomic import RESUME
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.distributed.workers import ALONE, Workers, slice_of
from host_training.errors import TrainingError
from host_training.metrics.inputs import input_names, model_inputs
from host_training.metrics.predict import batched_probabilities
from host_training.metrics.scores import Metrics, metrics
from host_training.runs.directory import RunDirectory
from host_training.training.ahead import ahead
from host_training.training.batches import TrainingBatches
from host_training.training.checkpoint import (
    Checkpoint,
    EpochRow,
    best_row,
    capture,
    decode,
    encode,
    load_newest,
    restore,
    save_checkpoint,
)
from host_training.training.learner import Learner
from host_training.training.optimizer import has_run_out_of_patience, plateau_rate
from host_training.training.progress import TrainingProgress
from host_training.training.weight_average import WeightAverage

if TYPE_CHECKING:
    import keras

History = tuple[EpochRow, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What every epoch of a run needs.

    Attributes:
        directory: None for a worker that is not the chief, which writes nothing.
        learner: at its first weights: what has been learnt so far is taken from the checkpoints.
        average: of the weights.
        inference: the form that is validated and kept, with the averaged weights.
        norm: of the mesh features, where the network takes them.
        validation: measurable rows only.
        workers: those who train together; each validates its part.
    """

    directory: RunDirectory | None
    config: TrainConfig
    learner: Learner
    average: WeightAverage
    inference: "keras.Model"
    batches: TrainingBatches
    norm: FeatureNorm | None
    validation: Samples
    progress: TrainingProgress
    workers: Workers = ALONE


def run_epochs(run: Run) -> History:
    """Do the epochs that are missing; each is safe on the disk before the next begins.

    Raises:
        TrainingError: interrupted by the user, the loss is not a number, or the disk refuses.
    """
    history = _restored(run)
    try:
        while len(history) < run.config.epochs and not _stopped(run, history):
            history = _kept(run, (*history, _epoch(run, history)))
    except KeyboardInterrupt as interrupt:
        raise TrainingError(
            f"interrupted in epoch {len(history) + 1}/{run.config.epochs}, {len(history)} are safe"
            f"{_where(run.directory)}; continue with the same command and --resume"
        ) from interrupt
    return history


def _stopped(run: Run, history: History) -> bool:
    if not has_run_out_of_patience(run.config, history):
        return False
    run.progress.report(f"stopping early: {run.config.patience} epochs without a better one")
    return True


def _restored(run: Run) -> History:
    """Take up the newest whole checkpoint, if there is one, and say so.

    Everyone begins with the chief's state, of a new run too: what two machines compute alike may
    differ by rounding.
    """
    kept = _newest(run.directory) if run.directory is not None else None
    if run.workers.count > 1:
        start = kept or capture(run.learner, run.average, ())
        kept = decode(run.workers.from_chief(lambda: encode(start)))
    if kept is None:
        return ()
    restore(run.learner, run.average, kept)
    done, epochs = len(kept.history), run.config.epochs
    where = f"at epoch {done + 1}/{epochs}" if done < epochs else f"after its last epoch, {epochs}"
    if done and run.directory is not None:
        run.progress.report(f"resuming {run.directory.path} {where}")
    return kept.history


def _newest(directory: RunDirectory) -> Checkpoint | None:
    checkpoint = load_newest(directory.checkpoints)
    if checkpoint is None and directory.record().epochs_done:
        raise TrainingError(
            f"{directory.checkpoints}: no whole checkpoint is left to resume from; start a "
            "new run with another --out"
        )
    return checkpoint


def _where(directory: RunDirectory | None) -> str:
    return "" if directory is None else f" in {directory.path}"


def _epoch(run: Run, history: History) -> EpochRow:
    """Train one more epoch and validate."""
    started, index = time.monotonic(), len(history)
    if run.config.schedule == "plateau":
        run.learner.learning_rate = plateau_rate(run.config, history)
    run.progress.begin_epoch(index + 1, run.config.epochs, len(run.batches))
    loss, accuracy = _learn(run, index)
    run.workers.after_steps()
    _check_weights(run, index)
    run.inference.set_weights(run.average.weights())
    figures, val_loss = validate(run, index, run.workers)
    return EpochRow(
        epoch=index + 1,
        learning_rate=run.learner.learning_rate,
        loss=loss,
        accuracy=accuracy,
        val_loss=val_loss,
        val_accuracy=figures.accuracy,
        val_balanced_accuracy=figures.balanced_accuracy,
        seconds=round(time.monotonic() - started, 3),
    )


def validate(run: Run, index: int, workers: Workers) -> tuple[Metrics, float]:
    """Measure the form that is kept, with the weights that it has, on the validation rows.

    Args:
        run: see there.
        index: of the epoch, from 0.
        workers: those who do it together, each its part; all get the same figures.

    Returns:
        The figures, and the mean cross-entropy.

    Raises:
        TrainingError: an answer is not a number.
    """
    rows = run.validation
    inputs = model_inputs(rows, input_names(run.inference), run.norm)
    own = slice_of(len(rows), workers.index, workers.count)
    mine = batched_probabilities(run.inference, {name: inputs[name][own] for name in inputs})
    parts = workers.gather(mine.tobytes())
    probabilities = np.frombuffer(b"".join(parts), np.float32).reshape(len(rows), -1)
    if not np.isfinite(probabilities).all():
        # The loss of each batch is taken before its step: the last step shows only here.
        raise _diverged(run, index, "an answer to the validation samples is not a number")
    figures = metrics(probabilities, rows.class_ids, rows.labels, protocol=rows.protocol, split="")
    right = probabilities[np.arange(len(rows)), rows.class_ids].astype(np.float64)
    return figures, float(-np.log(np.maximum(right, 1e-7)).mean())


def _learn(run: Run, index: int) -> tuple[float, float]:
    """Take the steps of one epoch; return its mean loss and accuracy over the batches.

    The means are our own: ``train_on_batch`` forgets the batches before.
    """
    sums = np.zeros(2)
    run.learner.begin_epoch(index)
    batches = run.batches.epoch(index)
    if run.batches.can_run_ahead:
        batches = ahead(batches)
    for number, batch in enumerate(batches, 1):
        loss, accuracy = run.learner.step(batch)
        run.average.update()
        sums += loss, accuracy
        if not np.isfinite(loss):
            raise _diverged(run, index, f"the loss is {loss}")
        run.progress.batch(float(sums[0]) / number)
    loss, accuracy = (sums / len(run.batches)).tolist()
    return loss, accuracy


def _check_weights(run: Run, index: int) -> None:
    """Refuse to go on where a worker's weights are not the others' to the bit."""
    if run.workers.count == 1:
        return
    digest = hashlib.sha256()
    for weight in run.learner.get_weights():
        digest.update(np.ascontiguousarray(weight).data)
    digests = run.workers.gather(digest.digest())
    for worker, other in enumerate(digests):
        if other != digests[0]:
            raise TrainingError(
                f"{run.workers.name(worker)} has other weights than the chief after epoch "
                f"{index + 1}; check its memory and its network, and start all workers again with "
                "--resume"
            )


def _diverged(run: Run, index: int, what: str) -> TrainingError:
    return TrainingError(
        f"{what} in epoch {index + 1}: training has diverged; start a new run with a lower "
        f"--learning-rate than {run.config.learning_rate:g}"
    )


def _kept(run: Run, history: History) -> History:
    """Write down the state after the newest epoch, where this worker does."""
    best = best_row(history) is history[-1]
    if run.directory is not None:
        _write(run, run.directory, history, best=best)
    run.progress.end_epoch(history[-1], best=best)
    return history


def _write(run: Run, directory: RunDirectory, history: History, *, best: bool) -> None:
    if best or run.config.keep == "last":
        # Before the checkpoint: killed in between, the epoch is done again, to the same result.
        save_model(run, directory.model)
    save_checkpoint(directory.checkpoints, capture(run.learner, run.average, history))
    directory.write_history(history)
    record = msgspec.structs.replace(directory.record(), epochs_done=len(history))
    directory.write_record(record)


def save_model(run: Run, target: Path) -> None:
    """Write the network that was just validated.

    Raises:
        TrainingError: the disk refuses.
    """
    temporary = target.with_name(f".partial-{target.name}")
    try:
        run.inference.save(temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TrainingError(
            f"{target}: cannot be written ({error.strerror or error}); {RESUME}"
        ) from error
