"""What an analysis returns: frames and the faces in them. Plain values that can be pickled."""

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.contract.logrecord import Quality
from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import ConfigError, EdgeEmoError, SinkError
from edge.files import replacing
from edge.records import EmotionEstimate, EmotionState, FaceResult, FrameResult, HeadPose
from edge.service.emotion_fields import emotion_fields
from edge.text import utc_text
from edgeemo.optional import need

if TYPE_CHECKING:
    import supervision

_ENDINGS: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


class Moment(msgspec.Struct, frozen=True):
    """When and where a frame was taken.

    Attributes:
        file: the film, picture or folder's picture that it is from, or the camera, as it was named.
        index: counts the source's frames from 0, dropped ones included.
        t_s: seconds on the source's own clock, as of a film from its first frame on.
        captured_at: the same moment in UTC.
        name: the name of a picture's file; None for films and cameras.
        latency_ms: milliseconds that the pipeline took for the frame.
    """

    file: str
    index: int
    t_s: float
    captured_at: datetime
    name: str | None
    latency_ms: float


class Face(msgspec.Struct, frozen=True, eq=False):
    """One face in one frame.

    Boxes and points are in pixels of the frame, from its top-left corner; they may reach beyond it.

    Attributes:
        result: what the pipeline knows about it.
        moment: when and where it was seen.
    """

    result: FaceResult
    moment: Moment

    @property
    def label(self) -> str:
        """The emotion, or ``uncertain``; in a film smoothed over time."""
        return self.result.state.label

    @property
    def confidence(self) -> float:
        """The score of ``label``, in [0, 1]; 0 for ``uncertain``."""
        return self.result.state.confidence

    @property
    def scores(self) -> dict[str, float]:
        """The smoothed score of each emotion; they sum to 1. Empty for a face without a result."""
        state = self.result.state
        return dict(zip(state.labels, state.scores.tolist(), strict=True))

    @property
    def state(self) -> EmotionState:
        """The smoothed scores, the label that they gave, and since when it holds."""
        return self.result.state

    @property
    def estimate(self) -> EmotionEstimate | None:
        """The classifier's latest raw scores; None for a face that was not classified."""
        return self.result.estimate

    @property
    def quality(self) -> Quality:
        """``ok``, or why the face was not classified, as ``too_small`` or ``too_dark``."""
        return self.result.quality

    @property
    def box_xyxy(self) -> NDArray[np.float32]:
        """The mesh's bounding box: float32 ``(4,)``, left, top, right, bottom."""
        return self.result.track.face.box_xyxy

    @property
    def points(self) -> NDArray[np.float32]:
        """The mesh: float32 ``(478, 3)``; x, y, and z in the same unit, smaller is nearer."""
        return self.result.track.face.points

    @property
    def blendshapes(self) -> dict[str, float] | None:
        """MediaPipe's 52 coefficients of facial movement; None unless they were asked for."""
        values = self.result.track.face.blendshapes
        return None if values is None else dict(zip(BLENDSHAPES, values.tolist(), strict=True))

    @property
    def head_pose(self) -> HeadPose | None:
        """Yaw, pitch and roll in degrees; None where the mesh gives none."""
        return self.result.track.face.head_pose

    @property
    def track_id(self) -> int:
        """The same number for the same face over frames; of a still, a number without meaning."""
        return self.result.track.track_id

    def to_dict(self) -> dict[str, Any]:
        """Return what an ``emotion`` record of the log says about this face.

        That is all of it but its sequence number, session and device, which belong to a log.
        """
        moment = self.moment
        fields = emotion_fields(moment, moment.latency_ms, self.result)
        return {
            "kind": "emotion",
            "time": utc_text(moment.captured_at),
            "monotonic_s": round(moment.t_s, 4),
            **msgspec.to_builtins(fields),
            "box": list(fields["box"]),
        }

    def to_supervision(self) -> "supervision.Detections":
        """Return this face as ``supervision.Detections`` of length 1.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        return detections([self])

    def __repr__(self) -> str:
        box = ", ".join(f"{value:.0f}" for value in self.box_xyxy)
        what = f"confidence={self.confidence:.2f}" if self.quality == "ok" else self.quality
        return f"Face({self.label!r}, {what}, track_id={self.track_id}, box_xyxy=[{box}])"


class Frame(msgspec.Struct, frozen=True, eq=False):
    """One picture and the faces in it; iterating gives the faces.

    Attributes:
        result: what the pipeline knows about it.
        file: the film, picture or camera that it is from, as it was named.
    """

    result: FrameResult
    file: str

    @property
    def faces(self) -> tuple[Face, ...]:
        """The faces, by track id; in a film those that were seen often enough to be followed."""
        moment = self.moment
        return tuple(Face(face, moment) for face in self.result.faces)

    @property
    def image(self) -> NDArray[np.uint8]:
        """The picture: uint8 ``(H, W, 3)``, BGR, upright, read-only."""
        return self.result.frame.image

    @property
    def moment(self) -> Moment:
        """When and where it was taken."""
        frame = self.result.frame
        return Moment(
            self.file, frame.index, frame.t_s, frame.captured_at, frame.name,
            self.result.latency_ms,
        )  # fmt: skip

    @property
    def index(self) -> int:
        """Counts the source's frames from 0, dropped ones included."""
        return self.result.frame.index

    @property
    def t_s(self) -> float:
        """Seconds on the source's own clock; of unrelated pictures one a second."""
        return self.result.frame.t_s

    @property
    def captured_at(self) -> datetime:
        """The same moment in UTC: of a file, as its time of modification says."""
        return self.result.frame.captured_at

    @property
    def stage_ms(self) -> Mapping[str, float]:
        """Wall-clock milliseconds by stage of the pipeline."""
        return self.result.stage_ms

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Why, for each face that was found but made no sense."""
        return self.result.passed_over

    def draw(self) -> "Drawing":
        """Return the picture with box, mesh, label and scores of every face."""
        from edge.preview.overlay import draw

        return Drawing(draw(self.result))

    def detections(self) -> "supervision.Detections":
        """Return the faces as ``supervision.Detections``: boxes, confidences, classes, track ids.

        Raises:
            MissingExtraError: supervision is not installed.
        """
        return detections(self.faces)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: where and when, and each face's ``to_dict()``."""
        height, width = self.result.frame.size_hw
        return {
            "file": self.file,
            "frame": self.index,
            "t_s": round(self.t_s, 4),
            "time": utc_text(self.captured_at),
            "size_hw": [height, width],
            "faces": [face.to_dict() for face in self.faces],
        }

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def __len__(self) -> int:
        return len(self.result.faces)

    def __bool__(self) -> bool:
        return True  # a frame without faces is a frame

    def __repr__(self) -> str:
        height, width = self.result.frame.size_hw
        return f"Frame({self.file!r}, index={self.index}, {width}x{height}, faces={len(self)})"


class Failure(msgspec.Struct, frozen=True, eq=False):
    """A picture among many that could not be analyzed; false, and iterating gives no face.

    Attributes:
        file: the picture, as it was named.
        index: its place among the pictures.
        error: why.
    """

    file: str
    index: int
    error: EdgeEmoError

    @property
    def faces(self) -> tuple[Face, ...]:
        """None."""
        return ()

    def __iter__(self) -> Iterator[Face]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Drawing(msgspec.Struct, frozen=True, eq=False):
    """An annotated picture.

    Attributes:
        image: uint8 ``(H, W, 3)``, BGR; a whole multiple of the frame's size for small frames.
    """

    image: NDArray[np.uint8]

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The same in RGB, as matplotlib and Pillow take it."""
        return np.ascontiguousarray(self.image[:, :, ::-1])

    def save(self, path: str | os.PathLike[str]) -> Self:
        """Write the picture; the name's ending says how. It appears whole or not at all.

        Raises:
            ConfigError: the ending is none of a picture.
            SinkError: it cannot be written.
        """
        target = Path(os.fsdecode(path))
        if target.suffix.lower() not in _ENDINGS:
            raise ConfigError(f"{target}: expected a name that ends in {', '.join(_ENDINGS)}")
        try:
            with replacing(target, durable=False) as file:
                file.write(self._encoded(target.suffix))
        except OSError as error:
            raise SinkError(f"{target}: cannot be written ({error.strerror})") from error
        return self

    def _encoded(self, suffix: str) -> bytes:
        import cv2

        _, encoded = cv2.imencode(suffix, self.image)
        return encoded.tobytes()

    def _repr_png_(self) -> bytes:
        """Show it in a notebook."""
        return self._encoded(".png")

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        return f"Drawing({width}x{height})"


def detections(faces: Sequence[Face]) -> "supervision.Detections":
    """Return faces as ``supervision.Detections``.

    ``class_id`` is the label's place among the canonical emotions, ``uncertain`` the one after; a
    label of an own classifier comes behind, by the alphabet.
    """
    sv = need("supervision", "pip install supervision", "Detections")
    names = [face.label for face in faces]
    known = [*EMOTIONS, UNCERTAIN]
    known += sorted(set(names).difference(known))
    boxes = [face.box_xyxy for face in faces]
    found: supervision.Detections = sv.Detections(
        xyxy=np.asarray(boxes, np.float32).reshape(-1, 4),
        confidence=np.asarray([face.confidence for face in faces], np.float32),
        class_id=np.asarray([known.index(name) for name in names], int),
        tracker_id=np.asarray([face.track_id for face in faces], int),
        data={"class_name": np.asarray(names, dtype=str)},
    )
    return found
