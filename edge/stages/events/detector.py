"""The rules, put together for each track."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from edge.config import EventsConfig
from edge.contract.logrecord import EventName
from edge.contract.mesh_features import BLENDSHAPES
from edge.records import Face, FaceEvent, Frame, HeadPose
from edge.stages.events.lids import Eyes, Lids
from edge.stages.events.span import SLACK_S, Level, Moment, Span
from edge.stages.events.swings import Swings, Turned
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
_PLACES_OF: Final = {
    name: tuple(BLENDSHAPES.index(shape) for shape in shapes) for name, shapes in _SHAPES.items()
}
_BLINK: Final = _PLACES_OF["blink"]
_OF_BROWS: Final = frozenset({"brow_raise", "brow_furrow"})
_NEED_SHAPES: Final = frozenset(_SHAPES) | {"eyes_closed"}

_MOST_YAW_DEG: Final = 45.0
_MOST_PITCH_DEG: Final = 35.0
"""Beyond these angles half of the face is hidden, and the mesh of that half guessed."""
_NEAR_EYE_DEG: Final = 25.0
"""Of a face that is turned by more, the nearer eye alone is read."""
_LEAST_HEIGHT: Final = 40
"""In a face of fewer pixels an eye is half a dozen wide, and its lids are guessed."""
_BOWED_DEG: Final = 18.0
"""Of a head that is bowed by more, nobody can tell lowered lids from closed ones."""


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
        return tuple(watch.see(face, frame))

    def ongoing(self, track_id: int) -> tuple[EventName, ...]:
        """Return what a track's face is doing now."""
        watch = self._tracks.get(track_id)
        return watch.ongoing() if watch is not None else ()

    def forget(self, track_id: int) -> tuple[FaceEvent, ...]:
        """Drop a track that has ended; return what its face was doing when it was last seen."""
        watch = self._tracks.pop(track_id, None)
        return tuple(watch.stop()) if watch is not None else ()


class _Rule(NamedTuple):
    """A coefficient's rule: what it finds, when, from which values, and of which part of a face."""

    name: EventName
    level: Level
    shapes: tuple[int, ...]
    is_upper: bool


class _Watch:
    """The rules of one track."""

    def __init__(self, track_id: int, names: Sequence[EventName], config: EventsConfig) -> None:
        self._track_id, self._names = track_id, names
        self._last: Moment | None = None
        wants_eyes = "blink" in names or "eyes_closed" in names
        self._eyes = Eyes(config.blink_aspect, config.blink_shape) if wants_eyes else None
        off = 1 - config.hysteresis
        self._rules = [
            _Rule(name, Level(on, on * off, config.hold_s), _PLACES_OF[name], name in _OF_BROWS)
            for name, on in _thresholds(config).items()
            if name in names
        ]
        self._away = Level(1.0, off, config.hold_s) if "look_away" in names else None
        self._away_deg = config.away_yaw_deg, config.away_pitch_deg
        self._nod = Swings(config.nod_deg, 1) if "nod" in names else None
        self._shake = Swings(config.shake_deg, 2) if "shake" in names else None

    def see(self, face: Face, frame: Frame) -> list[FaceEvent]:
        now = Moment(frame.t_s, frame.captured_at, frame.index)
        found: list[FaceEvent] = []
        if self._last is not None and now.t_s - self._last.t_s > GAP_S + SLACK_S:
            found += self.stop()
        if face.blendshapes is not None:
            self._see_shapes(face, face.blendshapes.tolist(), _visible(face, frame), now, found)
        if face.head_pose is not None:
            self._see_head(face, face.head_pose, now, found)
        self._last = now
        if len(found) > 1:
            found.sort(key=_start)
        return found

    def stop(self) -> list[FaceEvent]:
        """End everything where the face was last seen."""
        last, self._last = self._last, None
        found: list[FaceEvent] = []
        if last is None:
            return found
        if self._eyes is not None:
            self._note_eyes(self._eyes.stop(last), found)
        for rule in self._rules:
            self._note(rule.name, rule.level.stop(last), found)
        if self._nod is not None:
            self._note("nod", self._nod.stop(), found)
        if self._shake is not None:
            self._note("shake", self._shake.stop(), found)
        if self._away is not None:
            self._note("look_away", self._away.stop(last), found)
        return sorted(found, key=_start)

    def ongoing(self) -> tuple[EventName, ...]:
        doing = [rule.name for rule in self._rules if rule.level.is_on]
        if self._away is not None and self._away.is_on:
            doing.append("look_away")
        if self._eyes is not None and self._eyes.are_closed and "eyes_closed" in self._names:
            doing.append("eyes_closed")
        return tuple(doing)

    def _see_shapes(
        self, face: Face, shapes: list[float], visible: tuple[bool, bool], now: Moment,
        found: list[FaceEvent],
    ) -> None:  # fmt: skip
        upper, lower = visible
        last = self._last or now
        if self._eyes is not None:
            if upper and face.box_xyxy[3] - face.box_xyxy[1] >= _LEAST_HEIGHT:
                right, left = _aspects(face)
                blink = (shapes[_BLINK[0]] + shapes[_BLINK[1]]) / 2
                pose = face.head_pose
                is_bowed = pose is not None and pose.pitch_deg < -_BOWED_DEG
                lids = Lids(right, left, blink)
                self._note_eyes(self._eyes.see(lids, now, is_bowed=is_bowed), found)
            else:
                self._note_eyes(self._eyes.stop(last), found)
        for name, level, places, is_upper in self._rules:
            if upper if is_upper else lower:
                value = 0.0
                for place in places:
                    value += shapes[place]
                span = level.see(value / len(places), now)
            else:
                span = level.stop(last)
            if span is not None:
                self._note(name, span, found)

    def _see_head(self, face: Face, pose: HeadPose, now: Moment, found: list[FaceEvent]) -> None:
        yaw_deg, pitch_deg = pose.yaw_deg, pose.pitch_deg
        if self._nod is not None or self._shake is not None:
            x1, y1, x2, y2 = face.box_xyxy.tolist()
            x, y, height = (x1 + x2) / 2, (y1 + y2) / 2, max(y2 - y1, 1.0)
            if self._nod is not None:
                nodded = self._nod.see(Turned(now, pitch_deg, yaw_deg, y, height))
                self._note("nod", nodded, found)
            if self._shake is not None:
                shaken = self._shake.see(Turned(now, yaw_deg, pitch_deg, x, height))
                self._note("shake", shaken, found)
        if self._away is not None:
            most_yaw_deg, most_pitch_deg = self._away_deg
            share = max(abs(yaw_deg) / most_yaw_deg, abs(pitch_deg) / most_pitch_deg)
            self._note("look_away", self._away.see(share, now), found)

    def _note_eyes(self, seen: "tuple[EventName, Span] | None", found: list[FaceEvent]) -> None:
        if seen is not None and seen[0] in self._names:
            self._note(*seen, found)

    def _note(self, name: EventName, span: Span | None, found: list[FaceEvent]) -> None:
        """Add an event to those that were found, if there is one."""
        if span is None:
            return
        start, end, peak, complete = span
        is_turn = name in {"nod", "shake"}
        event = FaceEvent(
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
        found.append(event)


def _thresholds(config: EventsConfig) -> dict[EventName, float]:
    return {
        "smile": config.smile,
        "brow_raise": config.brow_raise,
        "brow_furrow": config.brow_furrow,
        "mouth_open": config.mouth_open,
    }


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
