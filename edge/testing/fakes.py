"""Fakes for every seam of ``edge.protocols``: for users' tests as for edgeemo's own.

They need neither a camera nor a mesher nor a TFLite runtime::

    pipeline = make_pipeline(lambda frame: [make_face((100, 80, 220, 240))])
    result = pipeline.process(make_frame(0))
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.config import TrackerConfig
from edge.contract import landmarks
from edge.contract.align import FER48, MESH_POINTS, Template
from edge.contract.labels import EMOTIONS
from edge.contract.logrecord import LogRecord
from edge.protocols import Classifier, FaceMesher
from edge.records import EmotionEstimate, Face, Frame
from edge.runtime.pipeline import Pipeline
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker
from edge.testing.camera import FakeCamera, FakePauser

__all__ = [
    "EPOCH",
    "TWO_LABELS",
    "FakeCamera",
    "FakeClassifier",
    "FakeMesher",
    "FakePauser",
    "FakeSource",
    "MemorySink",
    "make_face",
    "make_facts",
    "make_frame",
    "make_pipeline",
]

TWO_LABELS: Final = ("neutral", "happiness")
"""The labels of ``make_pipeline``."""
EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""When the frames of ``make_frame`` were captured, plus their ``t_s``."""


class FakeSource:
    """Gives the frames it was made with, then ends or fails.

    Attributes:
        closed: whether ``close`` was called.
    """

    dropped = 0
    """None is left out."""

    def __init__(
        self, frames: Sequence[Frame], error: Exception | None = None, fps: float | None = None
    ) -> None:
        self._frames = list(frames)
        self.fps = fps
        self._error = error
        self.closed = False

    def read(self) -> Frame | None:
        """Return the next frame; after the last raise the error, or return None without one."""
        if self.closed:
            return None
        if self._frames:
            return self._frames.pop(0)
        if self._error is not None:
            raise self._error
        return None

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


class FakeMesher:
    """Finds the faces that ``script`` tells for a frame.

    Attributes:
        closed: whether ``close`` was called.
    """

    def __init__(self, script: Callable[[Frame], Sequence[Face]]) -> None:
        self._script = script
        self.closed = False

    @classmethod
    def from_boxes(
        cls, box_of: Callable[[int], NDArray[np.floating] | Sequence[float] | None]
    ) -> "FakeMesher":
        """Find one face in the box that ``box_of(frame.index)`` tells, for instance ground truth.

        ``FakeMesher.from_boxes(demo.ground_truth)`` is a perfect mesher for the demo source.
        """

        def script(frame: Frame) -> Sequence[Face]:
            box = box_of(frame.index)
            return [] if box is None else [make_face(box)]

        return cls(script)

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the scripted faces of ``frame``."""
        return self._script(frame)

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


class FakeClassifier:
    """Answers with scripted scores, one row a call; the last row is repeated for ever.

    Args:
        scores: rows of one score per label.
        labels: their names.
        template: what crops it asks for.

    Attributes:
        crops: every crop it was given.
        closed: whether ``close`` was called.
    """

    def __init__(
        self,
        scores: Sequence[Sequence[float]],
        labels: tuple[str, ...] = EMOTIONS,
        template: Template = FER48,
    ) -> None:
        if not scores or any(len(row) != len(labels) for row in scores):
            raise ValueError(f"scores must be rows of {len(labels)} numbers, one per label")
        self._scores = [np.array(row, np.float32) for row in scores]
        self._labels = labels
        self._template = template
        self.crops: list[NDArray[np.uint8]] = []
        self.closed = False

    @property
    def template(self) -> Template:
        """The alignment it was made with."""
        return self._template

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:  # noqa: ARG002
        """Return the next row of scores; the crop must fit the template."""
        expected = (self._template.size, self._template.size)
        if crop.shape != expected or crop.dtype != np.uint8:
            raise ValueError(f"crop must be uint8 {expected}, got {crop.dtype} {crop.shape}")
        row = min(len(self.crops), len(self._scores) - 1)
        self.crops.append(crop)
        return EmotionEstimate(self._labels, self._scores[row])

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


class MemorySink:
    """Keeps the records it is given.

    Attributes:
        records: in order.
        closed: whether ``close`` was called.
    """

    dropped = 0
    """None is lost."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.closed = False

    def write(self, record: LogRecord) -> None:
        """Keep ``record``."""
        self.records.append(record)

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


def make_frame(
    index: int,
    image: NDArray[np.uint8] | None = None,
    fps: float = 25.0,
    starts_new_clip: bool = False,
) -> Frame:
    """Return frame ``index`` of a clip at ``fps``; without an image a grey one of 640x480."""
    if image is None:
        image = np.full((480, 640, 3), 128, np.uint8)
    t_s = index / fps
    return Frame(image, index, t_s, EPOCH + timedelta(seconds=t_s), starts_new_clip=starts_new_clip)


def make_face(box_xyxy: NDArray[np.floating] | Sequence[float]) -> Face:
    """Return an upright face whose 478-point mesh fills a box, always the same for the same box.

    Outline, eyes, brows, nose and lips lie where a face has them, so alignment and drawing work;
    the rest is spread evenly.

    Args:
        box_xyxy: x1, y1, x2, y2 in frame pixels, x1 < x2 and y1 < y2.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    if not (x1 < x2 and y1 < y2):
        raise ValueError(f"box_xyxy must be x1, y1, x2, y2 with x1 < x2, y1 < y2: {box_xyxy}")
    size = np.array((x2 - x1, y2 - y1, x2 - x1))
    points = _unit_mesh() * size + (x1, y1, 0.0)
    return Face.from_points(points.astype(np.float32))


def make_pipeline(
    mesher: FaceMesher | Callable[[Frame], Sequence[Face]] = lambda _: [],
    classifier: Classifier | Sequence[Sequence[float]] = ((0.1, 0.9),),
    *,
    tracker: FaceTracker | None = None,
    smoother: EmotionSmoother | None = None,
    **more: Any,
) -> Pipeline:
    """Return a pipeline in which every face is reported in its first frame.

    Args:
        mesher: finds the faces; or a script for ``FakeMesher``.
        classifier: classifies them; or rows of scores of ``TWO_LABELS`` for ``FakeClassifier``.
        tracker: follows them; without one, a real one that confirms at once.
        smoother: smooths their scores; without one, a real one.
        more: what ``Pipeline`` takes besides.
    """
    if callable(mesher):
        mesher = FakeMesher(mesher)
    if isinstance(classifier, Sequence):
        classifier = FakeClassifier(classifier, TWO_LABELS)
    return Pipeline(
        mesher,
        tracker or FaceTracker(TrackerConfig(max_gap_s=1.0, confirm_hits=1)),
        classifier,
        smoother or EmotionSmoother(),
        **more,
    )


def make_facts(**changes: Any) -> dict[str, Any]:
    """Return what ``Service.run`` writes about a run, as of ``make_pipeline``, with changes."""
    facts = {"version": "0", "source": "fake", "mesher": "fake", "runtime": "none"}
    return facts | {"model": "fake", "model_sha256": "0", "labels": TWO_LABELS} | changes


def _unit_mesh() -> NDArray[np.float64]:
    """Return the mesh ``(478, 3)`` of a face whose box is the unit square."""
    mesh = np.zeros((MESH_POINTS, 3))
    # Vogel's sunflower fills the face evenly.
    order = np.arange(MESH_POINTS)
    radius, angle = 0.48 * np.sqrt(order / MESH_POINTS), order * np.pi * (3 - np.sqrt(5))
    mesh[:, 0], mesh[:, 1] = 0.5 + radius * np.cos(angle), 0.5 + radius * np.sin(angle)
    for ring, centre, radii, start_deg, step in _FEATURES:
        angles = np.radians(start_deg + step * 360 * np.arange(len(ring)) / len(ring))
        mesh[list(ring), 0] = centre[0] + radii[0] * np.cos(angles)
        mesh[list(ring), 1] = centre[1] + radii[1] * np.sin(angles)
    mesh[list(landmarks.NOSE_BRIDGE), :2] = np.linspace((0.5, 0.38), (0.5, 0.58), 6)
    mesh[list(landmarks.NOSE_BASE), :2] = np.linspace((0.4, 0.62), (0.6, 0.62), 5)
    mesh[468, :2], mesh[473, :2] = _RIGHT_EYE_AT, _LEFT_EYE_AT
    off_centre = np.hypot(mesh[:, 0] - 0.5, mesh[:, 1] - 0.5)
    mesh[:, 2] = -0.4 * np.sqrt(np.maximum(0.25 - off_centre**2, 0))  # nearer in the middle
    return mesh


_RIGHT_EYE_AT: Final = (0.30, 0.38)
_LEFT_EYE_AT: Final = (0.70, 0.38)
_FEATURES: Final = (
    # ring, centre, radii, angle of its first point (0: picture right, 90: down), direction
    (landmarks.FACE_OVAL, (0.5, 0.5), (0.5, 0.5), -90, 1),
    (landmarks.RIGHT_EYE, _RIGHT_EYE_AT, (0.105, 0.036), 180, -1),
    (landmarks.LEFT_EYE, _LEFT_EYE_AT, (0.105, 0.036), 0, 1),
    (landmarks.RIGHT_IRIS, _RIGHT_EYE_AT, (0.034, 0.03), 0, -1),
    (landmarks.LEFT_IRIS, _LEFT_EYE_AT, (0.034, 0.03), 0, -1),
    (landmarks.RIGHT_BROW, (0.29, 0.28), (0.15, 0.025), 180, 1),
    (landmarks.LEFT_BROW, (0.71, 0.28), (0.15, 0.025), 0, -1),
    (landmarks.LIPS_OUTER, (0.5, 0.78), (0.19, 0.07), 180, -1),
    (landmarks.LIPS_INNER, (0.5, 0.78), (0.15, 0.025), 180, -1),
)
