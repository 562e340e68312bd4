"""From values to places on a picture, and where its axis has marks."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

_STEPS_S: Final = (
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200,
    86_400, 172_800, 604_800, 2_592_000, 7_776_000, 31_536_000,
)  # fmt: skip


class Scale(msgspec.Struct, frozen=True):
    """A line from ``low``..``high`` to pixels ``start``..``end``; an empty range is widened."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the place of ``value``, within the picture."""
        width = self.high - self.low or 1.0
        share = min(1.0, max(0.0, (value - self.low) / width))
        return self.start + share * (self.end - self.start)


def marks(high: float, about: int = 4) -> list[float]:
    """Return round values from 0 up to ``high``."""
    if not high > 0:
        return [0.0]
    rough = high / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [count * step for count in range(int(high / step * 1.001) + 1)]


def time_marks(low_s: float, high_s: float, about: int = 6) -> Iterator[tuple[float, str]]:
    """Yield round moments in UTC with their names."""
    wanted = (high_s - low_s) / about
    step = next((step for step in _STEPS_S if step >= wanted), _STEPS_S[-1])
    form = "%Y-%m-%d" if step >= 86_400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    mark = math.ceil(low_s / step) * step
    while mark <= high_s:
        yield mark, f"{datetime.fromtimestamp(mark, UTC):{form}}"
        mark += step
