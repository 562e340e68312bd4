"""What every progress on a console shares: a bar that lives within a block, and lines above it."""

import time
from typing import Self

from rich.console import Console
from rich.progress import Progress, ProgressColumn


class ConsoleBar:
    """A bar on a terminal, plain lines now and then elsewhere; a context manager.

    Args:
        console: where to; the bar is drawn only when it is a terminal.
        columns: of the bar.
        line_every_s: without a terminal, a line is due after so many seconds.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, line_every_s: float) -> None:
        self._console = console
        self._line_every_s = line_every_s
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _say_if_due(self, line: str, *, now: bool = False) -> None:
        """Print a sign of life where no bar gives one; ``now`` does not wait until it is due."""
        if self._console.is_terminal:
            return
        time_s = time.monotonic()
        if now or time_s - self._said_s >= self._line_every_s:
            self._said_s = time_s
            self.report(line)
