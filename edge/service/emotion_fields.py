"""What an emotion record says about a face: one definition for the log and for Python's users."""

from typing import Any, Protocol

import numpy as np

from edge.config import Detail
from edge.contract import logrecord
from edge.contract.mesh_features import BLENDSHAPES
from edge.records import Face, FaceResult, HeadPose
from edge.text import escaped


class Numbered(Protocol):
    """A frame, as far as its number and its file's name go."""

    @property
    def index(self) -> int:
        """Counts the source's frames from 0."""

    @property
    def name(self) -> str | None:
        """The file it came from, for stills."""


def emotion_fields(
    frame: Numbered, latency_ms: float, face: FaceResult, details: tuple[Detail, ...] = ()
) -> dict[str, Any]:
    """Return the fields of an ``emotion`` record but those of its header."""
    state, pose = face.state, face.track.face.head_pose
    return {
        "track": face.track.track_id,
        "label": state.label,
        "confidence": round(state.confidence, 4),
        "scores": {
            label: round(float(score), 4)
            for label, score in zip(state.labels, state.scores, strict=True)
        },
        "box": box_of(face),
        "head_pose": _pose(pose) if pose else None,
        "frame": frame.index,
        "latency_ms": round(latency_ms, 2),
        "file": escaped(frame.name) if frame.name is not None else None,
        "quality": face.quality,
        **_details(face.track.face, details),
    }


def box_of(face: FaceResult) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of the mesh in frame pixels, to a tenth."""
    x1, y1, x2, y2 = (round(float(value), 1) for value in face.track.face.box_xyxy)
    return x1, y1, x2, y2


def _pose(pose: HeadPose) -> logrecord.HeadPose:
    return logrecord.HeadPose(
        yaw=round(pose.yaw_deg, 1), pitch=round(pose.pitch_deg, 1), roll=round(pose.roll_deg, 1)
    )


def _details(face: Face, details: tuple[Detail, ...]) -> dict[str, Any]:
    """Return the fields of an emotion that only some ask for."""
    told: dict[str, Any] = {}
    if "eyes" in details:
        from edge.stages.eyes import eye_openness

        right, left = eye_openness(face.points)
        told["eyes"] = logrecord.EyeOpenness(right=round(right, 3), left=round(left, 3))
    if "blendshapes" in details and face.blendshapes is not None:
        values = np.round(np.clip(face.blendshapes.astype(float), 0, 1), 4).tolist()
        told["blendshapes"] = dict(zip(BLENDSHAPES, values, strict=True))
    if "mesh" in details:
        points = np.round(face.points.astype(float), 2).tolist()
        told["mesh"] = tuple(map(tuple, points))
    return told
