"""From when to when something was done."""

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
