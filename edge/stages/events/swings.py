"""Nods and shakes of the head."""

import math
from collections import deque
from typing import Final

from edge.stages.events.span import SLACK_S, Moment, Span

_MAX_SWING_S: Final = 0.6
"""The head goes one way, in a nod or a shake, in less."""


class Swings:
    """Tells nods and shakes of the head: an angle that goes one way and back, quickly.

    A turn counts when the angle came to it and left it by at least ``degrees``, each in at most
    ``_MAX_SWING_S``, and moved by more than the other angle did. Slow movements and long looks to a
    side have no such turns.

    Args:
        degrees: how far the head must swing.
        turns: so many turns make a nod, or a shake.
    """

    _MOVED: Final = 0.85
    """A swing begins where this share of it is still to come, and ends where it is done."""

    def __init__(self, degrees: float, turns: int) -> None:
        self._degrees, self._needed = degrees, turns
        self._past: deque[tuple[Moment, float, float]] = deque()
        self._way = 0
        self._extremes: dict[int, tuple[Moment, float]] = {}
        self._turns: list[tuple[Moment, float]] = []
        self._start: Moment | None = None
        self._peak = 0.0
        self._free_s = -math.inf  # since then, nothing belongs to an event that is over

    def see(self, angle: float, other: float, now: Moment) -> Span | None:
        """Take the next angle and the other one, in degrees; return what is over with it."""
        past = self._past
        past.append((now, angle, other))
        while now.t_s - past[0][0].t_s > 2 * _MAX_SWING_S + SLACK_S:
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
        before = [one for one in self._past if since_s <= one[0].t_s <= moment.t_s]
        reach = max((way * (extreme - angle) for _, angle, _ in before), default=0.0)
        others = [other for at, _, other in self._past if moment.t_s - at.t_s <= _MAX_SWING_S]
        if reach < self._degrees or max(others) - min(others) > reach:
            return
        if not self._turns:
            self._start = next(
                at for at, angle, _ in reversed(before)
                if way * (extreme - angle) >= self._MOVED * reach
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
        after = [(at, abs(angle - extreme)) for at, angle, _ in self._past if at.t_s > last.t_s]
        reach = max((moved for _, moved in after), default=0.0)
        end = next((at for at, moved in after if moved >= self._MOVED * reach), last)
        self._free_s = end.t_s
        return Span(start, end, max(self._peak, reach), complete=True)
