"""Nods and shakes of the head."""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from edge.stages.events.span import SLACK_S, Moment, Span

_MAX_SWING_S: Final = 0.6
"""The head goes one way, in a nod or a shake, in less."""
_MOST_TRAVEL: Final = 1.8
"""So many heights of the face, at most, travels a face whose head turns by a radian.

A head turns about its neck: 15 cm, three quarters of a face's height. A camera that moves sees a
face turn, too, but by a radian only for a way as long as its distance, which is 2.5 heights at half
a metre.
"""


class Turned(NamedTuple):
    """How a head is turned, and where it is.

    Attributes:
        at: when.
        angle: in degrees, that which is looked at.
        other: the other angle.
        place: where the face is along the way that it would swing, in pixels.
        height: of the face, in pixels.
    """

    at: Moment
    angle: float
    other: float
    place: float
    height: float


class Swings:
    """Tells nods and shakes of the head: an angle that goes one way and back, quickly.

    A turn counts when the angle came to it and left it by at least ``degrees``, each in at most
    ``_MAX_SWING_S``, and moved by more than the other angle did. Slow movements and long looks to a
    side have no such turns. Nor does a turn count with which the face went further to and fro than
    a head on its neck can: then the camera moved, or the whole person did.

    Args:
        degrees: how far the head must swing.
        turns: so many turns make a nod, or a shake.
    """

    _MOVED: Final = 0.85
    """A swing begins where this share of it is still to come, and ends where it is done."""

    def __init__(self, degrees: float, turns: int) -> None:
        self._degrees, self._needed = degrees, turns
        self._past: deque[Turned] = deque()
        self._way = 0
        self._extremes: dict[int, tuple[Moment, float]] = {}
        self._turns: list[tuple[Moment, float]] = []
        self._start: Moment | None = None
        self._peak = 0.0
        self._free_s = -math.inf  # since then, nothing belongs to an event that is over

    def see(self, head: Turned) -> Span | None:
        """Take how the head is turned now; return what is over with it."""
        past, now, angle = self._past, head.at, head.angle
        past.append(head)
        while now.t_s - past[0].at.t_s > 2 * _MAX_SWING_S + SLACK_S:
            past.popleft()
        found = self._finished(now)
        for way in (1, -1):  # the highest, and the lowest, since the last turn
            if way not in self._extremes or way * (angle - self._extremes[way][1]) > 0:
                self._extremes[way] = now, angle
        for way in (1, -1):
            moment, extreme = self._extremes[way]
            if self._way != -way and way * (extreme - angle) >= self._degrees:
                self._way = -way
                self._extremes[-way] = now, angle
                if now.t_s - moment.t_s <= _MAX_SWING_S + SLACK_S:
                    self._turn(way, moment, extreme)
                break
        return found

    def stop(self) -> Span | None:
        """End what is going on."""
        found = self._span()
        self._past.clear()
        self._extremes.clear()
        self._way = 0
        return found

    def _turn(self, way: int, moment: Moment, extreme: float) -> None:
        """Take note of a turn, if the angle had come to it as quickly as it left."""
        since_s = max(moment.t_s - _MAX_SWING_S, self._free_s)
        before = [one for one in self._past if since_s <= one.at.t_s <= moment.t_s]
        reach = max((way * (extreme - one.angle) for one in before), default=0.0)
        near = [one for one in self._past if moment.t_s - one.at.t_s <= _MAX_SWING_S]
        others = [one.other for one in near]
        if reach < self._degrees or max(others) - min(others) > reach:
            return
        if _travel(near) > _MOST_TRAVEL * math.radians(reach):
            return
        if not self._turns:
            self._start = next(
                one.at for one in reversed(before)
                if way * (extreme - one.angle) >= self._MOVED * reach
            )  # fmt: skip
            self._peak = 0.0
        self._peak = max(self._peak, reach)
        self._turns.append((moment, extreme))

    def _finished(self, now: Moment) -> Span | None:
        if not self._turns or now.t_s - self._turns[-1][0].t_s <= _MAX_SWING_S + SLACK_S:
            return None
        return self._span()

    def _span(self) -> Span | None:
        turns, start = self._turns, self._start
        self._turns, self._start = [], None
        if start is None or len(turns) < self._needed:
            return None
        last, extreme = turns[-1]
        after = [(one.at, abs(one.angle - extreme)) for one in self._past if one.at.t_s > last.t_s]
        reach = max((moved for _, moved in after), default=0.0)
        end = next((at for at, moved in after if moved >= self._MOVED * reach), last)
        self._free_s = end.t_s
        return Span(start, end, max(self._peak, reach), complete=True)


def _travel(heads: Sequence[Turned]) -> float:
    """Return how far a face went to and fro, in its heights; going on in one direction is left out.

    Somebody who walks through the picture nods all the same.
    """
    t_s = np.array([one.at.t_s for one in heads])
    places = np.array([one.place for one in heads])
    t_s -= t_s.mean()
    spread = float(t_s @ t_s)
    slope = float(t_s @ places) / spread if spread else 0.0
    return float(np.ptp(places - slope * t_s) / np.median([one.height for one in heads]))
