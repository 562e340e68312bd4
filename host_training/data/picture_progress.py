"""How long work on pictures tells where it is: a live bar on a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class PictureProgress(Protocol):
    """What long work on pictures reports to."""

    def say(self, line: str) -> None:
        """Tell a fact in words."""

    def begin(self, total: int) -> None:
        """Work on so many pictures begins."""

    def advance(self, number: int) -> None:
        """So many more are done."""


class ConsolePictureProgress:
    """Progress on a rich console; a context manager.

    Args:
        console: where to; the bar is drawn only when it is a terminal.
        line_every_s: without a terminal, a line after so many seconds.
    """

    def __init__(self, console: Console, line_every_s: float = 10.0) -> None:
        self._console = console
        self._line_every_s = line_every_s
        self._bar = Progress(
            TextColumn("meshing"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, rate="")
        self._total = self._done = 0
        self._began_s = self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def begin(self, total: int) -> None:
        """Start the bar."""
        self._total, self._done = total, 0
        self._began_s = self._said_s = time.monotonic()
        self._bar.reset(self._task, total=total, rate="")

    def advance(self, number: int) -> None:
        """Move the bar; without a terminal, print a line now and then and at the end."""
        self._done += number
        now = time.monotonic()
        rate = f"{self._done / max(now - self._began_s, 1e-6):.0f} pictures/s"
        self._bar.update(self._task, advance=number, rate=rate)
        due = now - self._said_s >= self._line_every_s or self._done >= self._total
        if due and not self._console.is_terminal:
            self._said_s = now
            self.say(f"meshed {self._done}/{self._total}  {rate}")
