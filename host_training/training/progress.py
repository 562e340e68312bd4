"""How a run tells its user where it is: a live bar on a terminal, plain lines elsewhere."""

import time
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from host_training.console_bar import ConsoleBar
from host_training.training.checkpoint import EpochRow


class TrainingProgress(Protocol):
    """What ``train`` reports to; entered before the first epoch and left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def report(self, line: str) -> None:
        """Tell a fact in words."""

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """An epoch, counted from 1, begins."""

    def batch(self, loss: float) -> None:
        """One more batch is done; ``loss`` is the epoch's mean so far."""

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """The epoch is over and safe on the disk."""


class ConsoleProgress(ConsoleBar):
    """A run's progress on a rich console.

    Args:
        console: where to; the bar is drawn only when it is a terminal.
        line_every_s: without a terminal, a line after so many seconds within an epoch.
    """

    def __init__(self, console: Console, line_every_s: float = 30.0) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[loss]} {task.fields[accuracy]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            line_every_s=line_every_s,
        )
        self._task = self._bar.add_task("", total=None, loss="", accuracy="")
        self._name, self._accuracy = "", ""
        self._batches = self._done = 0

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """Start the bar anew."""
        self._name, self._batches, self._done = f"epoch {epoch}/{epochs}", batches, 0
        self._said_s = time.monotonic()
        self._bar.reset(
            self._task, total=batches, description=self._name, loss="", accuracy=self._accuracy
        )

    def batch(self, loss: float) -> None:
        """Move the bar; without a terminal, print a line now and then."""
        self._done += 1
        self._bar.update(self._task, advance=1, loss=f"loss {loss:.4f}")
        self._say_if_due(f"{self._name}  batch {self._done}/{self._batches}  loss {loss:.4f}")

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Print the epoch's figures."""
        self._accuracy = f"val_accuracy {row.val_accuracy:.4f}"  # the next epoch's bar shows it
        self._bar.update(self._task, accuracy=self._accuracy)
        self.report(
            f"{self._name}  loss {row.loss:.4f}  accuracy {row.accuracy:.4f}  "
            f"val_loss {row.val_loss:.4f}  val_accuracy {row.val_accuracy:.4f}  "
            f"{row.seconds:.0f} s{'  best so far' if best else ''}"
        )


class SilentProgress:
    """No progress: what the chief of several workers shows is that of all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def report(self, line: str) -> None:
        """Keep it quiet."""

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """Keep it quiet."""

    def batch(self, loss: float) -> None:
        """Keep it quiet."""

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Keep it quiet."""
