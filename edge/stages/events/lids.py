"""Blinks, and eyes that stay closed."""

from collections import deque
from datetime import datetime
from typing import Final, NamedTuple

from edge.contract.logrecord import EventName
from edge.stages.events.span import SLACK_S, Moment, Span

_MAX_BLINK_S: Final = 0.5
"""Eyes that stay shut for longer are closed: no blink of a person who is awake lasts so long."""
_LOOK_BACK_S: Final = 0.3


class Eyes:
    """Tells blinks, and eyes that stay closed, by the lids' gap as a share of the open eyes' one.

    How far an open eye is open differs between people, glasses and cameras, so the gap (the eye
    aspect ratio) is measured against the same eyes a moment before: an envelope that rises quickly
    and falls slowly. The coefficients must agree, or eyes that look down would blink.

    Args:
        aspect: the eyes are shut below this share of the open eyes' aspect.
        shape: and if the mean of both coefficients comes to this.
    """

    _RISE_S: Final = 0.25
    _FALL_S: Final = 5.0
    """Half-lives of the envelope."""
    _LEAST_OPEN: Final = 0.22
    """What open eyes are taken for at first: a face that comes with closed eyes has no past."""
    _REOPENED: Final = 0.15
    """So much above ``aspect`` the eyes are open again."""
    _STILL_OPEN: Final = 0.9
    """The lids begin to move when they are below this share of what they were just before."""
    _BOTH: Final = 0.85
    """Each eye comes below this share; one that does not has seen a wink."""
    _BRIEF: Final = 0.6
    """Half a blink moves the coefficients less; what is so brief needs this share of ``shape``."""
    _DOUBT_S: Final = 1.0
    """After so long without the coefficients' consent, the open eyes have become narrow."""

    def __init__(self, aspect: float, shape: float) -> None:
        self._aspect, self._shape = aspect, shape
        self._open = 0.0
        self._past: deque[tuple[Moment, float]] = deque()
        self._seen: Moment | None = None
        self._start: Moment | None = None
        self._is_whole = False  # the lids were seen to close
        self._shut = _Shut()

    @property
    def are_closed(self) -> bool:
        """Tell whether they have been shut for longer than a blink."""
        return self._start is not None and self._shut.is_long

    def see(
        self, right: float, left: float, blink: float, now: Moment
    ) -> tuple[EventName, Span] | None:
        """Take the aspects of both eyes and the mean coefficient; return what is over."""
        mean = (right + left) / 2
        self._open = self._open or max(mean, self._LEAST_OPEN)
        if self._start is None:
            self._adapt(mean, now)
        self._seen = now
        share = mean / self._open
        if self._start is not None:
            return self._see_shut(share, max(right, left) / self._open, blink, now)
        if share < self._aspect:
            self._is_whole = bool(self._past)
            self._start = self._onset(now)
            self._shut = _Shut(now, now, share, max(right, left) / self._open, blink, now)
        self._past.append((now, share))
        while now.t_s - self._past[0][0].t_s > _LOOK_BACK_S + SLACK_S:
            self._past.popleft()
        return None

    def stop(self, last: Moment) -> tuple[EventName, Span] | None:
        """End what is going on; a blink must be seen to its end."""
        start, self._start, self._seen = self._start, None, None
        self._past.clear()
        shut = self._shut
        if start is None or not (shut.is_long and self._agrees(shut)):
            return None
        return "eyes_closed", Span(start, last, 1 - shut.least, complete=False)

    def _see_shut(
        self, share: float, wider: float, blink: float, now: Moment
    ) -> tuple[EventName, Span] | None:
        shut = self._shut
        if share < self._aspect:
            shut = self._shut = _Shut(
                shut.first, now, min(shut.least, share), min(shut.wider, wider),
                max(shut.blink, blink), now if blink >= self._shape else shut.agreed,
            )  # fmt: skip
        is_doubtful = now.t_s - shut.agreed.t_s > self._DOUBT_S
        if share < self._aspect + self._REOPENED and not is_doubtful:
            return None
        start, self._start = self._start, None
        self._past.clear()
        self._past.append((now, 1.0))
        end = now
        if is_doubtful:
            self._open *= share
            end = shut.last
        if start is None or not self._agrees(shut) or not (shut.is_long or self._is_whole):
            return None
        name: EventName = "eyes_closed" if shut.is_long else "blink"
        return name, Span(start, end, 1 - shut.least, complete=True)

    def _agrees(self, shut: "_Shut") -> bool:
        needed = self._shape if shut.is_long else self._BRIEF * self._shape
        return shut.blink >= needed and shut.wider < self._BOTH

    def _adapt(self, mean: float, now: Moment) -> None:
        elapsed_s = now.t_s - self._seen.t_s if self._seen is not None else 0.0
        half_life_s = self._RISE_S if mean > self._open else self._FALL_S
        if mean >= self._aspect * self._open:
            self._open += (1 - 0.5 ** (elapsed_s / half_life_s)) * (mean - self._open)

    def _onset(self, now: Moment) -> Moment:
        """Return the last frame in which the lids had not begun to move."""
        still = self._STILL_OPEN * max((share for _, share in self._past), default=0.0)
        return next((moment for moment, share in reversed(self._past) if share >= still), now)


class _Shut(NamedTuple):
    """Of shut eyes: the first and the last frame, the least shares, and the coefficients' most."""

    first: Moment = Moment(0.0, datetime.min, 0)
    last: Moment = Moment(0.0, datetime.min, 0)
    least: float = 1.0
    wider: float = 1.0
    blink: float = 0.0
    agreed: Moment = Moment(0.0, datetime.min, 0)

    @property
    def is_long(self) -> bool:
        """Tell whether it was longer than a blink: by what was surely shut, from frame to frame."""
        return self.last.t_s - self.first.t_s > _MAX_BLINK_S
