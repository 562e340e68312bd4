"""The rules, put together for each track."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from edge.config import EventsConfig
from edge.contract.logrecord import EVENTS, EventName
from edge.contract.mesh_features import BLENDSHAPES
from edge.records import Face, FaceEvent, Frame
from edge.stages.events.level import Level
from edge.stages.events.lids import Eyes
from edge.stages.events.span import SLACK_S, Moment, Span
from edge.stages.events.swings import Swings
from edge.stages.eyes import eye_openness

GAP_S: Final = 0.5
"""A face that was not seen for longer is not taken to have done the same all the while."""

_EYES: Final = (33, 133, 159, 145, 362, 263, 386, 374)
_BROWS: Final = (70, 105, 107, 300, 334, 336)
_MOUTH: Final = (61, 291, 0, 17)
_PLACES: Final = np.array((*_EYES, *_BROWS, *_MOUTH))
"""Mesh points of which each part must lie in the picture to be read: what lies outside is guessed.

The brows are read together with the eyes, and both eyes together.
"""
_UPPER: Final = len(_EYES) + len(_BROWS)

_SHAPES: Final[dict[EventName, tuple[str, ...]]] = {
    "blink": ("eyeBlinkLeft", "eyeBlinkRight"),
    "smile": ("mouthSmileLeft", "mouthSmileRight"),
    "brow_raise": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    "brow_furrow": ("browDownLeft", "browDownRight"),
    "mouth_open": ("jawOpen",),
}
"""The coefficients whose mean a rule reads."""
_NEED_SHAPES: Final = frozenset(_SHAPES) | {"eyes_closed"}

_MOST_YAW_DEG: Final = 45.0
_MOST_PITCH_DEG: Final = 35.0
"""Beyond these angles half of the face is hidden, and the mesh of that half guessed."""
_NEAR_EYE_DEG: Final = 25.0
"""Of a face that is turned by more, the nearer eye alone is read."""


class EventDetector:
    """Follows the faces of all tracks and says what they have done.

    Whatever is going on when a face is lost, hidden or cut off by the picture's edge ends where it
    was last seen, and is marked as incomplete; a blink that was not seen to end is none.
    """

    def __init__(self, config: EventsConfig) -> None:
        self._config = config
        self._names = config.names
        self._tracks: dict[int, _Watch] = {}

    @property
    def needs_blendshapes(self) -> bool:
        """Tell whether an event that is asked for is read from the coefficients."""
        return any(name in _NEED_SHAPES for name in self._names)

    def update(self, track_id: int, face: Face, frame: Frame) -> tuple[FaceEvent, ...]:
        """Look at a track's face and return what is over with this frame, the earliest first."""
        watch = self._tracks.get(track_id)
        if watch is None:
            watch = self._tracks[track_id] = _Watch(track_id, self._names, self._config)
        return watch.see(face, frame)

    def ongoing(self, track_id: int) -> tuple[EventName, ...]:
        """Return what a track's face is doing now."""
        watch = self._tracks.get(track_id)
        return watch.ongoing() if watch is not None else ()

    def forget(self, track_id: int) -> tuple[FaceEvent, ...]:
        """Drop a track that has ended; return what its face was doing when it was last seen."""
        watch = self._tracks.pop(track_id, None)
        return watch.stop() if watch is not None else ()


class _Watch:
    """The rules of one track."""

    def __init__(self, track_id: int, names: Sequence[EventName], config: EventsConfig) -> None:
        self._track_id = track_id
        self._last: Moment | None = None
        self._wants_eyes = {"blink", "eyes_closed"} & set(names)
        self._eyes = Eyes(config.blink_aspect, config.blink_shape)
        self._shapes = {
            name: tuple(BLENDSHAPES.index(shape) for shape in shapes)
            for name, shapes in _SHAPES.items()
            if name in names or (name == "blink" and self._wants_eyes)
        }
        self._levels: dict[EventName, Level] = {
            name: Level(on, on * (1 - config.hysteresis), config.hold_s)
            for name, on in _thresholds(config).items()
            if name in names
        }
        self._away = (
            Level(1.0, 1 - config.hysteresis, config.hold_s) if "look_away" in names else None
        )
        self._away_deg = config.away_yaw_deg, config.away_pitch_deg
        swings: dict[EventName, Swings] = {
            "nod": Swings(config.nod_deg, 1),
            "shake": Swings(config.shake_deg, 2),
        }
        self._swings = {name: one for name, one in swings.items() if name in names}
        self._names = names

    def see(self, face: Face, frame: Frame) -> tuple[FaceEvent, ...]:
        now = Moment(frame.t_s, frame.captured_at, frame.index)
        found: list[FaceEvent] = []
        if self._last is not None and now.t_s - self._last.t_s > GAP_S + SLACK_S:
            found += self.stop()
        upper, lower = _visible(face, frame)
        found += self._see_shapes(face, now, upper=upper, lower=lower)
        found += self._see_head(face, now)
        self._last = now
        return tuple(sorted(found, key=_start)) if len(found) > 1 else tuple(found)

    def stop(self) -> tuple[FaceEvent, ...]:
        """End everything where the face was last seen."""
        last, self._last = self._last, None
        if last is None:
            return ()
        found = list(self._stop_eyes(last))
        for name in self._levels:
            found += self._stop_level(name, last)
        for name, swings in self._swings.items():
            found += self._events(name, swings.stop())
        if self._away is not None:
            found += self._events("look_away", self._away.stop(last))
        return tuple(sorted(found, key=_start))

    def ongoing(self) -> tuple[EventName, ...]:
        doing = [name for name, level in self._levels.items() if level.is_on]
        if self._away is not None and self._away.is_on:
            doing.append("look_away")
        if "eyes_closed" in self._wants_eyes and self._eyes.are_closed:
            doing.append("eyes_closed")
        return tuple(name for name in EVENTS if name in doing)

    def _see_shapes(
        self, face: Face, now: Moment, *, upper: bool, lower: bool
    ) -> Iterator[FaceEvent]:
        shapes = face.blendshapes.tolist() if face.blendshapes is not None else None
        if self._wants_eyes:
            if upper and shapes is not None:
                right, left = _aspects(face)
                blink = _mean(shapes, self._shapes["blink"])
                yield from self._eye_events(self._eyes.see(right, left, blink, now))
            elif self._last is not None:
                yield from self._stop_eyes(self._last)
        for name, level in self._levels.items():
            if shapes is not None and (upper if name.startswith("brow") else lower):
                span = level.see(_mean(shapes, self._shapes[name]), now)
                yield from self._events(name, span)
            elif self._last is not None:
                yield from self._stop_level(name, self._last)

    def _see_head(self, face: Face, now: Moment) -> Iterator[FaceEvent]:
        pose = face.head_pose
        if pose is None:
            return
        angles: dict[EventName, tuple[float, float]] = {
            "nod": (pose.pitch_deg, pose.yaw_deg),
            "shake": (pose.yaw_deg, pose.pitch_deg),
        }
        for name, swings in self._swings.items():
            yield from self._events(name, swings.see(*angles[name], now))
        if self._away is not None:
            yaw_deg, pitch_deg = self._away_deg
            share = max(abs(pose.yaw_deg) / yaw_deg, abs(pose.pitch_deg) / pitch_deg)
            yield from self._events("look_away", self._away.see(share, now))

    def _stop_eyes(self, last: Moment) -> Iterator[FaceEvent]:
        yield from self._eye_events(self._eyes.stop(last))

    def _stop_level(self, name: EventName, last: Moment) -> Iterator[FaceEvent]:
        yield from self._events(name, self._levels[name].stop(last))

    def _eye_events(self, found: "tuple[EventName, Span] | None") -> Iterator[FaceEvent]:
        if found is not None and found[0] in self._names:
            yield from self._events(*found)

    def _events(self, name: EventName, span: Span | None) -> Iterator[FaceEvent]:
        if span is None:
            return
        start, end, peak, complete = span
        is_turn = name in {"nod", "shake"}
        yield FaceEvent(
            track_id=self._track_id,
            name=name,
            start_s=start.t_s,
            end_s=end.t_s,
            started_at=start.at,
            frame=start.frame,
            intensity=None if is_turn or name == "look_away" else min(max(peak, 0.0), 1.0),
            degrees=peak if is_turn else None,
            complete=complete,
        )


def _thresholds(config: EventsConfig) -> dict[EventName, float]:
    return {
        "smile": config.smile,
        "brow_raise": config.brow_raise,
        "brow_furrow": config.brow_furrow,
        "mouth_open": config.mouth_open,
    }


def _mean(values: list[float], places: tuple[int, ...]) -> float:
    return sum([values[place] for place in places]) / len(places)


def _start(event: FaceEvent) -> float:
    return event.start_s


def _aspects(face: Face) -> tuple[float, float]:
    """Return the eye aspect of the right and left eye, or twice that of the one that is nearer."""
    right, left = eye_openness(face.points)
    yaw_deg = face.head_pose.yaw_deg if face.head_pose is not None else 0.0
    if abs(yaw_deg) <= _NEAR_EYE_DEG:
        return right, left
    return (right, right) if yaw_deg > 0 else (left, left)


def _visible(face: Face, frame: Frame) -> tuple[bool, bool]:
    """Tell whether eyes and brows, and whether the mouth, are in the picture and not hidden."""
    pose = face.head_pose
    if pose is not None and (
        abs(pose.yaw_deg) > _MOST_YAW_DEG or abs(pose.pitch_deg) > _MOST_PITCH_DEG
    ):
        return False, False
    height, width = frame.size_hw
    x1, y1, x2, y2 = face.box_xyxy.tolist()
    if x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height:
        return True, True
    inside = [0 <= x <= width and 0 <= y <= height for x, y in face.points[_PLACES, :2].tolist()]
    return all(inside[:_UPPER]), all(inside[_UPPER:])
