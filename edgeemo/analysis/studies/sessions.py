"""One session of a log as values: who was recorded, what faces showed and did, and the markers."""

import re
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from edge.contract.labels import EMOTIONS
from edge.contract.logrecord import EventName
from edge.errors import ConfigError
from edgeemo.analysis.database import Logs, text_literal

_LIVE: Final = re.compile(r"\d+|auto|picamera|demo:live|/dev/.*|\w+://.*", re.DOTALL)
"""Names of sources whose clock is the machine's own, and began long before."""
_ON_THE_CLOCK: Final = "kind NOT IN ('service_started', 'service_stopped') AND monotonic_s > 0"
"""What a camera's service wrote before the first frame has no time on the frames' clock, but 0."""
_MOST_TOLD: Final = 8


class About(msgspec.Struct, frozen=True):
    """What a session is known by.

    Attributes:
        zero_s: what its clock showed when it began: 0 for a recording.
        began: the time of its first record, UTC.
    """

    device: str
    session: str
    source: str = ""
    study: str | None = None
    participant: str | None = None
    condition: str | None = None
    zero_s: float = 0.0
    began: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Device and session, by which it is known."""
        return self.device, self.session


class Shown(msgspec.Struct, frozen=True):
    """A stretch in which a face's record held; seconds since the session began."""

    track: int
    start_s: float
    end_s: float
    label: str
    confidence: float
    scores: dict[str, float]


class Done(msgspec.Struct, frozen=True):
    """Something that a face did; seconds since the session began."""

    track: int
    start_s: float
    end_s: float
    event: EventName
    intensity: float | None
    degrees: float | None
    complete: bool


class Mark(msgspec.Struct, frozen=True):
    """A marker; seconds since the session began."""

    at_s: float
    text: str
    phase: str


class Segment(msgspec.Struct, frozen=True):
    """A part of a session that markers cut out; seconds since the session began."""

    name: str
    start_s: float
    end_s: float


class Session(msgspec.Struct, frozen=True):
    """All of one session that studies need."""

    about: About
    shown: list[Shown]
    done: list[Done]
    marks: list[Mark]

    @property
    def end_s(self) -> float:
        """When the last thing that it tells of was over."""
        ends = [one.end_s for one in self.shown] + [one.end_s for one in self.done]
        return max((*ends, *(mark.at_s for mark in self.marks)), default=0.0)

    @property
    def tracks(self) -> list[int]:
        """The faces, by number."""
        return sorted({one.track for one in self.shown} | {one.track for one in self.done})

    @property
    def segments(self) -> list[Segment]:
        """What markers cut the session into; the whole of it, without a name, for want of any."""
        return segments(self.marks, self.end_s) or [Segment("", 0.0, self.end_s)]


def segments(marks: list[Mark], end_s: float) -> list[Segment]:
    """Return what markers cut out, in the order of the beginnings.

    A start and the next end of the same text enclose a segment; one that is never ended lasts until
    the session's end, and an end without a start cuts nothing. A marker for a moment begins a
    segment that lasts until the next such marker.
    """
    found: list[Segment] = []
    begun: dict[str, float] = {}
    point: Mark | None = None
    for mark in sorted(marks, key=lambda mark: mark.at_s):
        if mark.phase == "start":
            begun.setdefault(mark.text, mark.at_s)
        elif mark.phase == "end":
            if (start_s := begun.pop(mark.text, None)) is not None:
                found.append(Segment(mark.text, start_s, mark.at_s))
        else:
            if point is not None:
                found.append(Segment(point.text, point.at_s, mark.at_s))
            point = mark
    found += [Segment(text, start_s, end_s) for text, start_s in begun.items()]
    if point is not None:
        found.append(Segment(point.text, point.at_s, end_s))
    return sorted(found, key=lambda one: (one.start_s, one.end_s))


def sessions(logs: Logs) -> list[Session]:
    """Return every session, by device and beginning.

    Raises:
        LogError: the logs cannot be read.
    """
    abouts = _abouts(logs)
    rows = logs.rows(f"""
        SELECT device, session, kind, monotonic_s, track, label, confidence, scores, held_s,
            event, duration_s, intensity, degrees, complete, marker, phase
        FROM ({logs.once("records")}) WHERE kind IN ('emotion', 'event', 'marker')
        ORDER BY device, session, seq
    """)
    shown, done, marks = defaultdict(list), defaultdict(list), defaultdict(list)
    for device, session, kind, t_s, *rest in rows:
        about = abouts.get((device, session))
        if about is None:
            about = abouts[device, session] = About(device, session)
        at_s = t_s - about.zero_s if t_s > 0 else 0.0
        track, label, confidence, scores, held_s, event, duration_s, *others = rest
        intensity, degrees, complete, text, phase = others
        if kind == "emotion":
            shown[about.key].append(
                Shown(track, at_s, at_s + (held_s or 0.0), label, confidence, _scores(scores))
            )
        elif kind == "event":
            whole = complete is not False
            done[about.key].append(
                Done(track, at_s, at_s + duration_s, event, intensity, degrees, whole)
            )
        else:
            marks[about.key].append(Mark(at_s, text, phase))
    return [
        Session(about, shown[key], done[key], marks[key])
        for key, about in sorted(
            abouts.items(), key=lambda one: (one[0][0], str(one[1].began), one[0][1])
        )
    ]


def chosen(found: list[Session], wanted: str | None) -> Session:
    """Return the session that is asked for by the beginning of its id, or the only one.

    Raises:
        ConfigError: there is no such session, or several.
    """
    fitting = [one for one in found if one.about.session.startswith(wanted or "")]
    if len(fitting) == 1:
        return fitting[0]
    told = [
        f"{one.about.session} ({one.about.began:%Y-%m-%d %H:%M:%S}, {one.about.source})"
        if one.about.began else one.about.session
        for one in (fitting or found)[:_MOST_TOLD]
    ]  # fmt: skip
    more = f" and {len(fitting or found) - _MOST_TOLD} more" * (len(fitting or found) > _MOST_TOLD)
    if not fitting:
        raise ConfigError(
            f"--session {wanted}: no such session; the log has {', '.join(told)}{more}"
        )
    raise ConfigError(
        f"the log has {len(fitting)} sessions; name one with --session: {', '.join(told)}{more}"
    )


def _abouts(logs: Logs) -> dict[tuple[str, str], About]:
    rows = logs.rows(f"""
        SELECT device, session, any_value(source), any_value(study), any_value(participant),
            any_value(condition), min(time),
            min(time) FILTER (kind = 'service_started'),
            arg_min(epoch(time), seq) FILTER ({_ON_THE_CLOCK}),
            arg_min(monotonic_s, seq) FILTER ({_ON_THE_CLOCK})
        FROM ({logs.once("records")}) WHERE kind IS NOT NULL GROUP BY device, session
    """)
    abouts = {}
    for device, session, source, study, participant, condition, began, *clocks in rows:
        started, first_time_s, first_s = clocks
        zero_s = 0.0
        if source is not None and _LIVE.fullmatch(source) and None not in (started, first_s):
            since_s = first_time_s - started.replace(tzinfo=UTC).timestamp()
            zero_s = first_s - min(max(since_s, 0.0), first_s)
        abouts[device, session] = About(
            device, session, source or "", study, participant, condition, zero_s, began
        )
    return abouts


def _scores(scores: Any) -> dict[str, float]:
    return {label: scores[label] for label in EMOTIONS if scores and scores.get(label) is not None}


def session_filter(about: About) -> str:
    """Return the condition under which a row is of a session."""
    return f"device = {text_literal(about.device)} AND session = {text_literal(about.session)}"
