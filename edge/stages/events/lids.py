"""Blinks, and eyes that stay closed."""

from collections import deque
from typing import Final, NamedTuple

from edge.contract.logrecord import EventName
from edge.stages.events.span import SLACK_S, Moment, Span

_MAX_BLINK_S: Final = 0.5
"""Eyes that stay shut for longer are closed: no blink of a person who is awake lasts so long."""
_LOOK_BACK_S: Final = 0.3
"""A blink is measured against the same eyes so long before: lids close in less."""
_ONSET_S: Final = 0.15
"""A blink begins so long before the eyes are shut, at most, or a frame before."""
_REOPENED_S: Final = 0.1
"""Eyes that were closed for long are open when they have been open for so long."""
_NO_GAP: Final = 1e-3
"""What makes no sense is divided by this."""


class Lids(NamedTuple):
    """What a frame shows of the eyes: the aspect ratio of each, and the mean blink coefficient."""

    right: float
    left: float
    blink: float

    @property
    def gap(self) -> float:
        """The mean aspect ratio."""
        return (self.right + self.left) / 2


class Eyes:
    """Tells blinks, and eyes that stay closed, from the lids' gap and the coefficients.

    How far an open eye is open differs between people, glasses and cameras, and changes with smiles
    and glances. So a blink is a quick change against the same eyes a moment before: of the gap, and
    of the coefficients with it. Eyes are closed when their gap is a small share of the open eyes'
    one: an envelope that rises quickly and falls slowly. Both are over when half of the change is
    undone (half amplitude: Kleifges and others, "BLINKER", Frontiers in Neuroscience 11, 2017).

    Args:
        aspect: a blink brings the gap below this share of what it was.
        shape: the mean coefficient of closed eyes comes to this; a blink raises it, by 0.4 of this
            at least.
    """

    _RISE_S: Final = 0.25
    _FALL_S: Final = 5.0
    """Half-lives of the envelope."""
    _LEAST_OPEN: Final = 0.22
    """What open eyes are taken for at first: a face that comes with closed eyes has no past."""
    _CLOSED: Final = 0.5
    """The gap of closed eyes is below this share of the open ones'."""
    _STILL_OPEN: Final = 0.9
    """The lids begin to move when they are below this share of what they were just before."""
    _BOTH: Final = 0.12
    """Each eye closes by this share; one that does not has seen a wink."""
    _RISE: Final = 0.4
    _TOGETHER: Final = 0.7
    """Shares of ``shape``: by so much at least the coefficients rise, and by so much above the
    least change of the gap, if they and the gap's share are added up."""
    _DOUBT_S: Final = 1.0
    """Eyes that are shut for so long, and not closed, have become narrow."""

    def __init__(self, aspect: float, shape: float) -> None:
        self._aspect, self._shape = aspect, shape
        self._open = 0.0
        self._were_open = False
        self._past: deque[tuple[Moment, Lids]] = deque()
        self._seen: Moment | None = None
        self._shut: _Shut | None = None

    @property
    def are_closed(self) -> bool:
        """Tell whether they have been closed for longer than a blink."""
        shut = self._shut
        return self._were_open and shut is not None and shut.is_long and shut.closed is not None

    def see(self, lids: Lids, now: Moment, *, is_bowed: bool) -> tuple[EventName, Span] | None:
        """Take the lids in the next frame; return what is over.

        Args:
            lids: what the frame shows of them.
            now: the frame.
            is_bowed: the head is, so that lowered lids look like closed ones.
        """
        self._open = self._open or max(lids.gap, self._LEAST_OPEN)
        is_closed = (
            lids.gap < self._CLOSED * self._open and lids.blink >= self._shape and not is_bowed
        )
        if self._shut is not None:
            return self._see_shut(self._shut, lids, now, is_closed=is_closed, is_bowed=is_bowed)
        before = self._before()
        if before is not None and lids.gap < self._aspect * before.gap:
            self._shut = _Shut(self._onset(now), now, before, lids, is_whole=True)
        elif is_closed:  # slowly, or before it was seen
            before = Lids(self._open, self._open, lids.blink)
            self._shut = _Shut(self._onset(now), now, before, lids, is_whole=False)
        else:
            self._were_open = True
            self._adapt(lids.gap, now)
        if self._shut is not None and is_closed:
            self._shut.closed = now
        self._seen = now
        self._past.append((now, lids))
        while now.t_s - self._past[0][0].t_s > _LOOK_BACK_S + SLACK_S:
            self._past.popleft()
        return None

    def stop(self, last: Moment) -> tuple[EventName, Span] | None:
        """End what is going on; a blink must be seen to its end, and closed eyes to have opened."""
        shut, self._shut, self._seen = self._shut, None, None
        self._past.clear()
        if shut is None or not (shut.is_long and shut.closed is not None and self._were_open):
            return None
        return self._told("eyes_closed", shut, shut.opened or last, complete=False)

    def _see_shut(
        self, shut: "_Shut", lids: Lids, now: Moment, *, is_closed: bool, is_bowed: bool
    ) -> tuple[EventName, Span] | None:
        shut.take(lids, now)
        if is_closed:
            shut.closed = now
        is_doubtful = now.t_s - (shut.closed or shut.first).t_s > self._DOUBT_S
        self._seen = now
        if not (is_doubtful or shut.is_over(now)):
            return None
        self._shut = None
        self._past.clear()
        self._past.append((now, lids))
        self._were_open = True
        if is_doubtful:
            self._open = lids.gap
        if not shut.is_long:
            return self._told("blink", shut, now) if self._is_blink(shut) else None
        if shut.closed is None:
            return None
        end = shut.closed if is_doubtful else shut.opened or now
        return self._told("eyes_closed", shut, end, complete=not (is_doubtful and is_bowed))

    def _is_blink(self, shut: "_Shut") -> bool:
        change = shut.change
        return (
            shut.is_whole
            and min(change.right, change.left) >= self._BOTH
            and change.blink >= self._RISE * self._shape
            and shut.peak >= 1 - self._aspect + self._TOGETHER * self._shape
        )

    def _told(
        self, name: EventName, shut: "_Shut", end: Moment, *, complete: bool = True
    ) -> tuple[EventName, Span]:
        depth = 1 - shut.least / max(shut.before.gap, self._open, _NO_GAP)
        return name, Span(shut.start, end, depth, complete)

    def _adapt(self, gap: float, now: Moment) -> None:
        elapsed_s = now.t_s - self._seen.t_s if self._seen is not None else 0.0
        half_life_s = self._RISE_S if gap > self._open else self._FALL_S
        self._open += (1 - 0.5 ** (elapsed_s / half_life_s)) * (gap - self._open)

    def _before(self) -> Lids | None:
        """Return how far each eye was open a moment before, and how low the coefficients were."""
        if not self._past:
            return None
        right, left, blink = zip(*(lids for _, lids in self._past), strict=True)
        return Lids(max(right), max(left), min(blink))

    def _onset(self, now: Moment) -> Moment:
        """Return the last frame in which the lids had not begun to move."""
        near = [one for one in self._past if now.t_s - one[0].t_s <= _ONSET_S + SLACK_S]
        near = near or list(self._past)[-1:]
        still = self._STILL_OPEN * max((lids.gap for _, lids in near), default=0.0)
        return next((moment for moment, lids in reversed(near) if lids.gap >= still), now)


class _Shut:
    """Eyes that are shut.

    Attributes:
        start: the last frame in which they were open.
        first, last: the frames in which they were seen to be shut.
        before: how they were when they were open.
        is_whole: they were seen to close.
        closed: the last frame in which they were closed for sure.
        opened: the first of the last frames, in which half of the change is undone.
        least: of the gap.
    """

    def __init__(
        self, start: Moment, first: Moment, before: Lids, lids: Lids, *, is_whole: bool
    ) -> None:
        self.start, self.first, self.last = start, first, first
        self.before, self.is_whole = before, is_whole
        self.closed: Moment | None = None
        self.opened: Moment | None = None
        self.least = lids.gap
        self._most = lids
        self.peak = self._moved(lids)

    @property
    def is_long(self) -> bool:
        """Tell whether it was longer than a blink: by what was surely shut, from frame to frame."""
        return self.last.t_s - self.first.t_s > _MAX_BLINK_S

    @property
    def change(self) -> Lids:
        """By which share each eye closed at its most, and by how much the coefficients rose."""
        before, most = self.before, self._most
        return Lids(
            1 - most.right / max(before.right, _NO_GAP),
            1 - most.left / max(before.left, _NO_GAP),
            most.blink - before.blink,
        )

    def is_over(self, now: Moment) -> bool:
        """Tell whether they are open again; after long they must be so for a moment."""
        if self.opened is None:
            return False
        return not self.is_long or now.t_s - self.opened.t_s > _REOPENED_S - SLACK_S

    def take(self, lids: Lids, now: Moment) -> None:
        """Take the lids in the next frame."""
        moved, risen = self._moved(lids), lids.blink - self.before.blink
        if moved < self.peak / 2 or risen < self.change.blink / 2:
            self.opened = self.opened or now
            return
        self.opened = None
        self.last, self.peak = now, max(self.peak, moved)
        self.least = min(self.least, lids.gap)
        self._most = Lids(
            min(self._most.right, lids.right),
            min(self._most.left, lids.left),
            max(self._most.blink, lids.blink),
        )

    def _moved(self, lids: Lids) -> float:
        """Return how far they are shut: the gap's share and the coefficients have equal parts."""
        share = lids.gap / max(self.before.gap, _NO_GAP)
        return 1 - share + lids.blink - self.before.blink
