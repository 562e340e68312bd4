"""Learning curves for TensorBoard, written beside what people are shown."""

from pathlib import Path
from typing import Any

from rich.console import Console

from host_training.frameworks import import_keras
from host_training.training.checkpoint import EpochRow
from host_training.training.progress import ConsoleProgress


class TensorBoardProgress(ConsoleProgress):
    """Progress on a console that also writes each epoch's figures as scalars.

    Args:
        console: where to.
        folder: for the event files; ``tensorboard --logdir`` takes its parent's parent to compare
            runs.
    """

    def __init__(self, console: Console, folder: Path) -> None:
        super().__init__(console)
        self._folder = folder
        self._writer: Any = None

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        super().__exit__()

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Write the epoch's figures, at once, and print them."""
        import_keras()
        import tensorflow as tf

        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
        with self._writer.as_default():
            for name in EpochRow.__struct_fields__[1:]:
                tf.summary.scalar(name, getattr(row, name), step=row.epoch)
        self._writer.flush()
        super().end_epoch(row, best=best)
