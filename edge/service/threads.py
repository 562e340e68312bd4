"""How many threads find faces: one while it keeps up with the camera, two where it does not."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.system import machine

_log = logging.getLogger(__name__)

_WINDOW_S: Final = 10.0
"""Over so long a time is looked at how busy the loop was."""
_BUSY: Final = 0.9
"""A loop that works for more than this share of the time leaves frames out."""
_WINDOWS: Final = 2
"""So many busy windows one after the other ask for a second thread."""
_SPEED_UP: Final = 1.64
"""What two threads gain (docs/mesh.md)."""
_EASY: Final = 0.7
"""One thread is enough again when it would be busy for less than this share."""
_PATIENCE: Final = 6
"""After so many windows; twice as many after each time that it was not enough."""
_MOST_PATIENCE: Final = 360
_STAT: Final = Path("/proc/stat")


class IdleCores:
    """Says how many cores had nothing to do since it was last asked."""

    def __init__(self, stat: Path = _STAT) -> None:
        self._stat = stat
        self._ticks = self._read()

    def __call__(self, elapsed_s: float) -> float:
        """Return the cores, on average over the ``elapsed_s`` since then; 0 where nobody tells."""
        before, self._ticks = self._ticks, self._read()
        if before is None or self._ticks is None or elapsed_s <= 0:
            return 0.0
        return (self._ticks - before) / (os.sysconf("SC_CLK_TCK") * elapsed_s)

    def _read(self) -> int | None:
        """Return the ticks that all cores idled, or waited for a disk."""
        try:
            _, _, _, _, idle, waiting, *_ = self._stat.read_text("ascii").split("\n")[0].split()
            return int(idle) + int(waiting)
        except (OSError, ValueError):
            return None


class ThreadChoice:
    """Chooses between one thread and two; slowly, for each change loads the models anew.

    Two threads take a third less time, and a fifth more of the processor. So they are taken only
    where one cannot keep up, a core is idle, and the board is not hot; what is hot goes back.

    Attributes:
        count: the threads now.

    Args:
        idle_cores: returns how many cores idled, given the seconds since it was last asked.
        cores: that this process may use.
    """

    def __init__(
        self,
        idle_cores: Callable[[float], float] | None = None,
        cores: int | None = None,
    ) -> None:
        self._idle_cores = idle_cores or IdleCores()
        self._cores = cores or machine.usable_cores()
        self.count = 1
        self._began_s: float | None = None
        self._busy_s = 0.0
        self._in_a_row = 0
        self._patience = _PATIENCE

    def note(self, now_s: float, busy_s: float, *, is_hot: bool) -> bool:
        """Take what a frame has cost; return whether ``count`` has changed.

        Args:
            now_s: a monotonic clock's seconds, after the frame.
            busy_s: seconds that it was worked on.
            is_hot: the rate is limited by the board's heat.
        """
        if self._began_s is None:
            self._began_s = now_s
            return False
        self._busy_s += busy_s
        elapsed_s = now_s - self._began_s
        if elapsed_s < _WINDOW_S:
            return False
        share, idle = self._busy_s / elapsed_s, self._idle_cores(elapsed_s)
        self._began_s, self._busy_s = now_s, 0.0
        return self._grow(share, idle, is_hot) if self.count == 1 else self._shrink(share, is_hot)

    def _grow(self, share: float, idle: float, is_hot: bool) -> bool:
        may_grow = share > _BUSY and idle >= 1 and self._cores > 1 and not is_hot
        self._in_a_row = self._in_a_row + 1 if may_grow else 0
        if self._in_a_row < _WINDOWS:
            return False
        told = f"busy for {share:.0%} of the time, {idle:.1f} cores idle"
        return self._change(2, told)

    def _shrink(self, share: float, is_hot: bool) -> bool:
        is_easy = share * _SPEED_UP < _EASY
        self._in_a_row = self._in_a_row + 1 if is_easy else 0
        if is_hot:
            return self._change(1, "the board is hot")
        if self._in_a_row < self._patience:
            return False
        self._patience = min(2 * self._patience, _MOST_PATIENCE)
        return self._change(1, f"busy for {share:.0%} of the time with two")

    def _change(self, count: int, why: str) -> bool:
        self.count, self._in_a_row = count, 0
        _log.info("faces are found by %s from now on: %s", _THREADS[count], why)
        return True


_THREADS: Final = {1: "one thread", 2: "two threads"}
