"""Which worker has gone, hangs, or keeps the others waiting. It never reads a clock itself."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

LIMIT_S: Final = 8.0
"""So long after the last sign of life a worker is taken for dead, and so much later than the first
one it may come to the next training step."""
_AWAY_SILENT_S: Final = 90.0
_AWAY_BEHIND_S: Final = 600.0
"""The same where workers do different things: read data, write checkpoints, build their graphs,
for which TensorFlow holds Python up."""
_STEPS: Final = 5
"""Slow machines take long over every step: so many usual ones may be waited for, too."""
_LOOKS_S: Final = 2.0
"""Who looks less often than that was held up itself, and has heard nothing of anyone meanwhile."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """What was last heard of one worker."""

    at_s: float
    step: int = 0
    is_stepping: bool = False


class Watch:
    """Judges by what is heard of the others.

    Args:
        names: what the workers are called, by their index.
        own: index of the worker that watches, which may keep the others waiting itself.
        now_s: the time, as all the times here.
    """

    def __init__(self, names: Mapping[int, str], own: int, now_s: float) -> None:
        self._names, self._own = names, own
        self._heard = {index: _Heard(now_s) for index in names}
        self._front = _Heard(now_s)
        self._looked_s = now_s
        self._steps_s: deque[float] = deque(maxlen=_STEPS)

    def heard(self, index: int, step: int, *, is_stepping: bool, now_s: float) -> None:
        """Note a sign of life of a worker.

        Args:
            index: of the worker.
            step: how often it has met the others.
            is_stepping: whether it comes to the next training step from one.
            now_s: the time.
        """
        self._heard[index] = now = _Heard(now_s, step, is_stepping)
        if step > self._front.step:
            if self._front.is_stepping:
                self._steps_s.append((now_s - self._front.at_s) / (step - self._front.step))
            self._front = now

    def leave(self, index: int) -> None:
        """Stop watching a worker that is done."""
        self._heard.pop(index, None)

    def verdict(self, now_s: float) -> str | None:
        """Say which worker keeps the run from going on; None while all is well."""
        if now_s - self._looked_s > _LOOKS_S:
            self._excuse(now_s)
        self._looked_s = now_s
        for index, heard in self._heard.items():
            name, away = self._names[index], not heard.is_stepping
            silent_s, waited_s = now_s - heard.at_s, now_s - self._front.at_s
            if index != self._own and silent_s > self._limit_s(_AWAY_SILENT_S if away else 0):
                return f"{name} does not answer: nothing was heard of it for {silent_s:.0f} s"
            is_behind = heard.step < self._front.step
            if is_behind and waited_s > self._limit_s(_AWAY_BEHIND_S if away else 0):
                return f"{name} has fallen behind: the others have waited {waited_s:.0f} s for it"
        return None

    def _limit_s(self, away_s: float) -> float:
        return max(LIMIT_S, away_s, _STEPS * min(self._steps_s, default=0.0))

    def _excuse(self, now_s: float) -> None:
        """Count everyone's time anew."""
        self._front = replace(self._front, at_s=now_s)
        self._heard = {index: replace(heard, at_s=now_s) for index, heard in self._heard.items()}
