"""How long work on pictures tells where it is: a live bar on a terminal, plain lines elsewhere."""

import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from host_training.console_bar import ConsoleBar


class PictureProgress(Protocol):
    """What long work on pictures reports to."""

    def report(self, line: str) -> None:
        """Tell a fact in words."""

    def begin(self, total: int) -> None:
        """Work on so many pictures begins."""

    def advance(self, number: int) -> None:
        """So many more are done."""


class ConsolePictureProgress(ConsoleBar):
    """Progress of work on pictures on a rich console.

    Args:
        console: where to; the bar is drawn only when it is a terminal.
        line_every_s: without a terminal, a line after so many seconds.
        doing: to the pictures, as said while it is done.
        done: the same when it is.
    """

    def __init__(
        self,
        console: Console,
        line_every_s: float = 10.0,
        doing: str = "meshing",
        done: str = "meshed",
    ) -> None:
        super().__init__(
            console,
            TextColumn(doing),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            line_every_s=line_every_s,
        )
        self._task = self._bar.add_task("", total=None, rate="")
        self._total = self._done = 0
        self._word = done
        self._began_s = time.monotonic()

    def begin(self, total: int) -> None:
        """Start the bar."""
        self._total, self._done = total, 0
        self._began_s = self._said_s = time.monotonic()
        self._bar.reset(self._task, total=total, rate="")

    def advance(self, number: int) -> None:
        """Move the bar; without a terminal, print a line now and then and at the end."""
        self._done += number
        elapsed_s = time.monotonic() - self._began_s
        # In no time at all, work that was done before is read back: that is no rate.
        rate = f"{self._done / elapsed_s:.0f} pictures/s" if elapsed_s > 1 else ""
        self._bar.update(self._task, advance=number, rate=rate)
        line = f"{self._word} {self._done}/{self._total}  {rate}".rstrip()
        self._say_if_due(line, now=self._done >= self._total)
