"""From when to when something was done; of a number: for how long it was high."""

from datetime import datetime
from typing import Final, NamedTuple

SLACK_S: Final = 1e-6
"""Sums of frame times are not exact."""


class Moment(NamedTuple):
    """A frame, as far as an event needs it."""

    t_s: float
    at: datetime
    frame: int


class Span(NamedTuple):
    """From when to when something was done, and how much of it there was at its most."""

    start: Moment
    end: Moment
    peak: float
    complete: bool


class Level:
    """A number that is high for a while: a Schmitt trigger that must hold.

    Args:
        on: it begins at this value, and holds while the value is not below ``off``.
        off: below it, it is over.
        hold_s: for so long must it last to have begun, and be over to have ended.
    """

    def __init__(self, on: float, off: float, hold_s: float) -> None:
        self._on, self._off, self._hold_s = on, off, hold_s - SLACK_S
        self._start: Moment | None = None
        self._quiet: Moment | None = None
        self._peak = 0.0
        self.is_on = False

    def see(self, value: float, now: Moment) -> Span | None:
        """Take the next value; return what is over with it."""
        if self._start is None:
            if value >= self._on:
                self._start, self._peak, self._quiet = now, value, None
                self.is_on = self._hold_s <= 0
            return None
        if value >= self._off:
            self._peak, self._quiet = max(self._peak, value), None
            self.is_on = self.is_on or now.t_s - self._start.t_s >= self._hold_s
            return None
        if not self.is_on:
            self._start = None
            return None
        self._quiet = self._quiet or now
        return self._end(self._quiet) if now.t_s - self._quiet.t_s >= self._hold_s else None

    def stop(self, last: Moment) -> Span | None:
        """End what is going on, for no value is to be had any more; ``last`` had the last one."""
        if self.is_on:
            return self._end(self._quiet or last)
        self._start = None
        return None

    def _end(self, end: Moment) -> Span | None:
        start, self._start, self.is_on = self._start, None, False
        return Span(start, end, self._peak, self._quiet is not None) if start is not None else None
