"""One frame in, one result out. No stage calls back, and none does I/O."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from edge.config import QualityConfig
from edge.contract.align import aligned_crop
from edge.protocols import Classifier, FaceMesher
from edge.records import EndedTrack, FaceResult, FaceTrack, Frame, FrameResult
from edge.stages.fitness import FaceGate
from edge.stages.smooth import EmotionSmoother
from edge.stages.track import FaceTracker

_ANYTHING: Final = QualityConfig(
    min_width_px=0.0, max_yaw_deg=180.0, max_pitch_deg=180.0, min_brightness=0.0
)


class Pipeline:
    """mesh -> track -> align -> classify -> smooth; a face that can not be read skips the last two.

    Every time that decides anything comes with the frames; clocks are read for the latencies
    only, so the same frames give the same results.
    """

    def __init__(
        self,
        mesher: FaceMesher,
        tracker: FaceTracker,
        classifier: Classifier,
        smoother: EmotionSmoother,
        gate: FaceGate | None = None,
    ) -> None:
        """Compose the stages; without a gate every face is classified."""
        self._mesher = mesher
        self._tracker = tracker
        self._classifier = classifier
        self._smoother = smoother
        self._gate = gate or FaceGate(_ANYTHING)

    def process(self, frame: Frame) -> FrameResult:
        """Find, follow and read the faces of the next frame.

        Raises:
            InferenceError: a model or its runtime failed.
        """
        watch = _Stopwatch()
        with watch("mesh"):
            faces = self._mesher.detect(frame)
        with watch("track"):
            tracks, ended = self._tracker.update(faces, frame.t_s, cut=frame.cut)
        self._forget(ended)
        results = tuple(self._read(frame, track, watch) for track in tracks)
        return FrameResult(frame, results, tuple(ended), watch.ms)

    def finish(self) -> tuple[EndedTrack, ...]:
        """End every open track, after the last frame."""
        ended = self._tracker.close()
        self._forget(ended)
        return tuple(ended)

    def close(self) -> None:
        """Release the models."""
        self._mesher.close()
        self._classifier.close()

    def _read(self, frame: Frame, track: FaceTrack, watch: "_Stopwatch") -> FaceResult:
        face, track_id = track.face, track.track_id
        with watch("align"):
            quality, crop = self._gate.judge(
                track_id,
                face,
                lambda: aligned_crop(frame.image, face.points, self._classifier.template),
            )
        if crop is None:
            with watch("smooth"):
                state = self._smoother.withhold(track_id, frame.t_s)
            return FaceResult(track, None, state, quality)
        with watch("classify"):
            estimate = self._classifier.classify(crop, face)
        with watch("smooth"):
            state = self._smoother.update(track_id, estimate, frame.t_s)
        return FaceResult(track, estimate, state)

    def _forget(self, ended: list[EndedTrack]) -> None:
        for track in ended:
            self._smoother.forget(track.track_id)
            self._gate.forget(track.track_id)


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
