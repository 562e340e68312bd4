"""Learning curves for TensorBoard, written beside whatever else shows progress."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from host_training.checkpoint import EpochRow
from host_training.frameworks import import_keras
from host_training.progress import TrainingProgress


class TensorBoardProgress:
    """Passes everything on to another progress, and writes each epoch's figures as scalars.

    Args:
        inner: what shows progress to people.
        folder: for the event files; ``tensorboard --logdir`` takes its parent's parent to compare
            runs.
    """

    def __init__(self, inner: TrainingProgress, folder: Path) -> None:
        self._inner = inner
        self._folder = folder
        self._writer: Any = None

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._inner.__exit__(kind, error, trace)

    def say(self, line: str) -> None:
        """Pass a line on."""
        self._inner.say(line)

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """Pass it on."""
        self._inner.begin_epoch(epoch, epochs, batches)

    def batch(self, loss: float) -> None:
        """Pass it on."""
        self._inner.batch(loss)

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Write the epoch's figures, at once, and pass it on."""
        import_keras()
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default():
            for name in EpochRow.__struct_fields__[1:]:
                tf.summary.scalar(name, getattr(row, name), step=row.epoch)
        self._writer.flush()
        self._inner.end_epoch(row, best=best)
