"""One frame in, one result out. No stage calls back, and none does I/O."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.config import QualityConfig
from edge.contract.align import Template, aligned_crop
from edge.contract.logrecord import EventName
from edge.errors import ImplausibleError
from edge.protocols import Classifier, FaceMesher, ThreadedMesher
from edge.records import (
    EndedTrack,
    Face,
    FaceEvent,
    FaceResult,
    FaceTrack,
    Frame,
    FrameResult,
    bounding_box,
)
from edge.stages.quality import FaceQualityFilter
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker

if TYPE_CHECKING:
    from edge.stages.events import EventDetector

_ANYTHING: Final = QualityConfig(
    min_width_px=0.0,
    max_yaw_deg=180.0,
    max_pitch_deg=180.0,
    min_brightness=0.0,
    min_contrast_to_noise=0.0,
    min_sharpness=0.0,
)

_SLACK_S: Final = 1e-6
"""Sums of frame times and intervals are not exact."""

_FARTHEST_PX: Final = 1e5
"""No point of a face lies so far away: the largest frame has 16,384 pixels."""
_SHAPES_SLACK: Final = 0.01
_MOST_SCORE: Final = 1 + 1e-5
_NO_FACE: Final = "the mesher gave points, coefficients or angles that no face can have"


class Pipeline:
    """mesh -> track -> align -> classify -> smooth; a face that cannot be read skips the last two.

    Faces are found and followed in every frame, but read (aligned, judged, classified, smoothed) no
    more often than every ``interval_s`` of frame time: an expression does not change in 40 ms, and
    smoothed scores would show none of it. In between a face keeps what it was read as.

    Every time that decides anything comes with the frames; clocks are read for the latencies
    only, so the same frames give the same results.

    Attributes:
        mesher: finds faces.
        plan: what the mesher was made from, by whoever made it; None where nobody says.
        keeps_mesher: closes it at the end; not when another pipeline has taken it over.
    """

    def __init__(
        self,
        mesher: FaceMesher,
        tracker: FaceTracker,
        classifier: Classifier,
        smoother: EmotionSmoother,
        gate: FaceQualityFilter | None = None,
        interval_s: float = 0.0,
        events: "EventDetector | None" = None,
    ) -> None:
        """Compose the stages.

        Args:
            mesher: finds faces.
            tracker: follows them.
            classifier: reads them.
            smoother: steadies what it says.
            gate: says which faces are read; without one all are.
            interval_s: seconds between two readings of a face; 0 reads it in every frame.
            events: says what faces do, in every frame; without it nobody asks.
        """
        self.mesher = mesher
        self.plan: object = None
        self.keeps_mesher = True
        self._tracker = tracker
        self._classifier = classifier
        self._smoother = smoother
        self._gate = gate or FaceQualityFilter(_ANYTHING)
        self._interval_s = interval_s
        self._events = events
        self._readings: dict[int, _Reading] = {}

    def process(self, frame: Frame) -> FrameResult:
        """Find, follow and read the faces of the next frame.

        A face whose mesh or scores make no sense is skipped; the others, and the run, go on.

        Raises:
            InferenceError: a model or its runtime failed.
        """
        watch = _Stopwatch()
        with watch("mesh"):
            found = self.mesher.detect(frame)
            faces = [face for face in map(_plausible, found) if face is not None]
        passed_over = [_NO_FACE] * (len(found) - len(faces))
        with watch("track"):
            tracks, ended = self._tracker.update(
                faces, frame.t_s, starts_new_clip=frame.starts_new_clip
            )
        ended = self._forget(ended)
        results = []
        for track in tracks:
            try:
                results.append(self._face(frame, track, watch))
            except ImplausibleError as error:
                passed_over.append(str(error))
        result = FrameResult(frame, tuple(results), tuple(ended), watch.ms, tuple(passed_over))
        return self._with_events(result, watch) if self._events is not None else result

    def finish(self) -> tuple[EndedTrack, ...]:
        """End every open track, after the last frame."""
        return tuple(self._forget(self._tracker.close()))

    def use_threads(self, count: int) -> None:
        """Let the mesher run on so many threads, if it can.

        Raises:
            InferenceError: its models cannot be loaded again.
        """
        if isinstance(self.mesher, ThreadedMesher):
            self.mesher.use_threads(count)

    def close(self) -> None:
        """Release the models."""
        if self.keeps_mesher:
            self.mesher.close()
        self._classifier.close()

    def _face(self, frame: Frame, track: FaceTrack, watch: "_Stopwatch") -> FaceResult:
        """Read a face when it is due, or say again what it was read as.

        One that has changed since its mesh was made is read with its next mesh.
        """
        reading = self._readings.get(track.track_id)
        is_early = reading is not None and frame.t_s < reading.next_s - _SLACK_S
        if reading is not None and (is_early or track.face.is_stale):
            return msgspec.structs.replace(reading.result, track=track)
        result = self._read(frame, track, watch)
        if self._interval_s > 0:
            # From when it was due, not from now: the mean rate does not suffer from the frames'.
            due_s = frame.t_s if reading is None else reading.next_s
            next_s = max(due_s + self._interval_s, frame.t_s)
            self._readings[track.track_id] = _Reading(_settled(result), next_s)
        return result

    def _read(self, frame: Frame, track: FaceTrack, watch: "_Stopwatch") -> FaceResult:
        face, track_id = track.face, track.track_id
        with watch("align"):
            quality, crop = self._gate.check(
                track_id,
                face,
                lambda: _crop(frame, face, self._classifier.template),
            )
        if crop is None:
            with watch("smooth"):
                state = self._smoother.withhold(track_id, frame.t_s)
            return FaceResult(track, None, state, quality)
        with watch("classify"):
            estimate = self._classifier.classify(crop, face)
            if not (estimate.scores.min() >= 0 and estimate.scores.max() <= _MOST_SCORE):
                raise ImplausibleError("the model gave scores that are not numbers from 0 to 1")
        with watch("smooth"):
            state = self._smoother.update(track_id, estimate, frame.t_s)
        return FaceResult(track, estimate, state)

    def _with_events(self, result: FrameResult, watch: "_Stopwatch") -> FrameResult:
        detector = self._events
        if detector is None:
            return result
        found: list[FaceEvent] = []
        ongoing: dict[int, tuple[EventName, ...]] = {}
        with watch("events"):
            for face in result.faces:
                track = face.track
                found += detector.update(track.track_id, track.face, result.frame)
                if doing := detector.ongoing(track.track_id):
                    ongoing[track.track_id] = doing
        return msgspec.structs.replace(result, events=tuple(found), ongoing=ongoing)

    def _forget(self, ended: list[EndedTrack]) -> list[EndedTrack]:
        """Drop what is known of tracks that have ended; return them with what that was."""
        for track in ended:
            self._smoother.forget(track.track_id)
            self._gate.forget(track.track_id)
            self._readings.pop(track.track_id, None)
        if self._events is None:
            return ended
        return [
            msgspec.structs.replace(track, events=self._events.forget(track.track_id))
            for track in ended
        ]


def _plausible(face: Face) -> Face | None:
    """Return a face, or None where its numbers cannot be those of one.

    Of a mesh without extent the box says nothing: it is too small, whatever its box is.
    """
    box = bounding_box(face.points)
    if box[:2] == box[2:]:
        face = msgspec.structs.replace(face, box_xyxy=np.array(box, np.float32))
    shapes, pose = face.blendshapes, face.head_pose
    # Each comparison is False for what is not a number.
    is_one = (
        np.abs(face.points).max() < _FARTHEST_PX
        and np.abs(face.box_xyxy).max() < _FARTHEST_PX
        and (shapes is None or (shapes.min() > -_SHAPES_SLACK and shapes.max() < 1 + _SHAPES_SLACK))
        and (pose is None or math.isfinite(pose.yaw_deg + pose.pitch_deg + pose.roll_deg))
    )
    return face if is_one else None


def _crop(frame: Frame, face: Face, template: Template) -> NDArray[np.uint8]:
    try:
        return aligned_crop(frame.image, face.points, template)
    except ValueError as error:
        raise ImplausibleError(f"a face cannot be aligned: {error}") from error


class _Reading(msgspec.Struct, frozen=True, eq=False):
    """What a face was last read as, and when it is due again."""

    result: FaceResult
    next_s: float


def _settled(result: FaceResult) -> FaceResult:
    """Return a result for the frames to come, in which nothing changes."""
    state = msgspec.structs.replace(result.state, changed=False)
    return msgspec.structs.replace(result, state=state)


class _Stopwatch:
    """Adds up wall-clock milliseconds by stage."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        elapsed_ms = (time.perf_counter() - started) * 1e3
        self.ms[stage] = self.ms.get(stage, 0.0) + elapsed_ms
