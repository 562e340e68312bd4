"""The values that flow through the pipeline: frozen, checked, documented with shape and unit.

Pictures are BGR uint8, points and boxes are continuous pixels of the frame (origin: its top-left
corner), times ending in ``_s`` are seconds on the source's monotonic clock.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import MESH_POINTS
from edge.contract.labels import UNCERTAIN
from edge.contract.logrecord import EventName, Quality

Box = Sequence[float]
"""x1, y1, x2, y2."""


def bounding_box(points: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Return the box of points, ``(n, 2)`` or ``(n, 3)``."""
    x, y = points[:, 0], points[:, 1]  # by column: a quarter of the time of min(axis=0)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def intersection_over_union(one: Box, other: Box) -> float:
    """Return how much two boxes overlap, in [0, 1]; one without area overlaps nothing."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both
    return both / union if union > 0 else 0.0


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One picture with the moment it was taken.

    Attributes:
        image: uint8 ``(H, W, 3)``, BGR; held as a read-only view, never copied.
        index: counts the source's frames from 0, dropped ones included.
        t_s: monotonic seconds, strictly rising within a source. A file's own timestamps for a
            recording.
        captured_at: the same moment in UTC.
        starts_new_clip: the frame does not continue the one before it (an unrelated still): mesher,
            tracker and smoother start afresh.
        name: the file it came from, for stills.
    """

    image: NDArray[np.uint8]
    index: int
    t_s: float
    captured_at: datetime
    starts_new_clip: bool = False
    name: str | None = None

    def __post_init__(self) -> None:
        image = self.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(
                f"image must be uint8 (H, W, 3) and not empty, got {image.dtype} {image.shape}"
            )
        if not math.isfinite(self.t_s):
            raise ValueError(f"t_s must be finite, got {self.t_s}")
        if self.captured_at.tzinfo is None:
            raise ValueError("captured_at must carry a time zone")
        view = image.view()
        view.flags.writeable = False
        msgspec.structs.force_setattr(self, "image", view)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]


class HeadPose(msgspec.Struct, frozen=True):
    """Head rotation in degrees, zero when facing the camera.

    Positive yaw turns the face towards the picture's right, positive pitch looks up, positive roll
    tilts it clockwise in the picture.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.floating]) -> Self:
        """Return the rotation in the face geometry module's ``(4, 4)`` pose matrix.

        The matrix maps the canonical face (x to the picture's right, y up, z to the viewer) into
        the camera's space. It is read as ``R = Ry(yaw) Rx(-pitch) Rz(-roll)``.
        """
        rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, 0])
        return cls(
            yaw_deg=math.degrees(math.atan2(rotation[0, 2], rotation[2, 2])),
            pitch_deg=math.degrees(math.asin(float(np.clip(rotation[1, 2], -1, 1)))),
            roll_deg=-math.degrees(math.atan2(rotation[1, 0], rotation[1, 1])),
        )


class Face(msgspec.Struct, frozen=True, eq=False):
    """A face in one frame.

    Attributes:
        points: float32 ``(478, 3)``: x, y in frame pixels, z in the same unit (smaller is nearer).
        box_xyxy: float32 ``(4,)``: the mesh's bounding box, not clipped to the frame.
        blendshapes: float32 ``(52,)`` in [0, 1] in MediaPipe's order, or None when not asked for.
        head_pose: None when the mesher does not give one.
        is_stale: it has changed since its mesh was made, a frame or two ago.
    """

    points: NDArray[np.float32]
    box_xyxy: NDArray[np.float32]
    blendshapes: NDArray[np.float32] | None = None
    head_pose: HeadPose | None = None
    is_stale: bool = False

    def __post_init__(self) -> None:
        if self.points.shape != (MESH_POINTS, 3):
            raise ValueError(f"points must have shape (478, 3), got {self.points.shape}")
        if self.box_xyxy.shape != (4,):
            raise ValueError(f"box_xyxy must have shape (4,), got {self.box_xyxy.shape}")
        if self.blendshapes is not None and self.blendshapes.shape != (52,):
            raise ValueError(f"blendshapes must have shape (52,), got {self.blendshapes.shape}")

    @classmethod
    def from_points(
        cls,
        points: NDArray[np.float32],
        blendshapes: NDArray[np.float32] | None = None,
        head_pose: HeadPose | None = None,
    ) -> "Face":
        """Make a face whose box is the bounding box of its mesh."""
        return cls(points, np.array(bounding_box(points), np.float32), blendshapes, head_pose)


class FaceTrack(msgspec.Struct, frozen=True, eq=False):
    """A face that was recognised as the same one over time.

    Attributes:
        track_id: rises from 1 within a tracker and is never reused.
        face: the face in the current frame.
        started_s: when the track's first face was seen.
        is_new: this is the first frame in which the track is reported.
    """

    track_id: int
    face: Face
    started_s: float
    is_new: bool


class FaceEvent(msgspec.Struct, frozen=True):
    """Something that a face has done, from its beginning to its end.

    Attributes:
        start_s, end_s: on the source's monotonic clock.
        started_at: the beginning in UTC.
        frame: the frame that it began in.
        intensity: its most, in [0, 1]; None for what the head does.
        degrees: how far a nod or a shake swung.
        complete: its end was seen; else the face was lost, hidden or cut off meanwhile.
    """

    track_id: int
    name: EventName
    start_s: float
    end_s: float
    started_at: datetime
    frame: int
    intensity: float | None = None
    degrees: float | None = None
    complete: bool = True


class EndedTrack(msgspec.Struct, frozen=True):
    """A track that is over: not seen for longer than the tracker bridges, or cut off.

    Attributes:
        events: what its face was doing when it was last seen.
    """

    track_id: int
    started_s: float
    last_seen_s: float
    events: tuple[FaceEvent, ...] = ()


class EmotionEstimate(msgspec.Struct, frozen=True, eq=False):
    """What the classifier says about one crop: ``scores`` float32 ``(n,)`` that sum to 1."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.labels),):
            raise ValueError(f"{len(self.labels)} labels, scores of shape {self.scores.shape}")


class EmotionState(msgspec.Struct, frozen=True, eq=False):
    """The steady emotion of a track: smoothed scores, and a label that does not flicker.

    Attributes:
        labels: in the order of the scores; empty, like them, while the face cannot be classified.
        label: one of the labels, or ``uncertain``.
        confidence: the smoothed score of ``label``, in [0, 1]; 0 for ``uncertain``, which has none.
        changed: the label is another one than in the track's previous frame.
        since_s: when the label was taken on.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    label: str
    confidence: float
    changed: bool
    since_s: float


class FaceResult(msgspec.Struct, frozen=True, eq=False):
    """One tracked face of a frame with its raw estimate and its steady state.

    Attributes:
        estimate: the latest one; None when the face was not classified.
        quality: ``ok``, or why it was not.
    """

    track: FaceTrack
    estimate: EmotionEstimate | None
    state: EmotionState
    quality: Quality = "ok"

    @property
    def display_text(self) -> str:
        """The label with its confidence, where it has one, or what is wrong with the face."""
        if self.quality != "ok":
            return self.quality.replace("_", " ")
        if self.state.label == UNCERTAIN:
            return UNCERTAIN
        return f"{self.state.label} {self.state.confidence:.0%}"


class FrameResult(msgspec.Struct, frozen=True, eq=False):
    """All that the pipeline knows about one frame.

    Attributes:
        faces: confirmed tracks seen in this frame, by track id.
        ended: tracks that ended with this frame.
        stage_ms: wall-clock milliseconds by stage name, in order.
        passed_over: why, for each face that was found but made no sense.
        events: what faces have done that is over with this frame, where events are asked for.
        ongoing: what they are doing, by track id.
    """

    frame: Frame
    faces: tuple[FaceResult, ...]
    ended: tuple[EndedTrack, ...] = ()
    stage_ms: Mapping[str, float] = msgspec.field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    events: tuple[FaceEvent, ...] = ()
    ongoing: Mapping[int, tuple[EventName, ...]] = msgspec.field(default_factory=dict)

    @property
    def latency_ms(self) -> float:
        """The sum of the stages."""
        return sum(self.stage_ms.values())
