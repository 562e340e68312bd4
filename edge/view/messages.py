"""What the page is told: server-sent events with JSON, which escapes every line break.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.landmarks import CONTOURS, LINES
from edge.errors import InferenceError
from edge.records import Face, FaceResult, FrameResult
from edge.text import readable

KEEP_ALIVE: Final = b": still here\n\n"
"""A comment: it shows both ends that the other is there."""

_RETRY_MS: Final = 1000
"""How long a browser waits before it connects again."""
_STEPS: Final = 4
"""Mesh points travel as whole quarters of a pixel."""
_LONGEST_PX: Final = 960
_QUALITY: Final = 75

Moment = tuple[float, tuple[tuple[int, str, float], ...]]
"""A point of the timeline: ``t_s``, and track, label and confidence of each face."""
Note = tuple[int, float, float, str, str]
"""On the timeline: its number, from and to when, ``event`` or ``marker``, and its text."""


class HealthMessage(msgspec.Struct, frozen=True):
    """How the service is doing, as the page shows it.

    Attributes:
        fps: frames processed per second of wall-clock time.
        fps_limit: the most that the heat allows now; None without a limit.
        dropped_frames: frames that the camera gave and nobody had time for.
        lost_records: records that the log could not keep; None without a log.
        rss_mb: resident memory, in MB of 10**6 bytes.
        temperature_c: SoC temperature, where the machine tells.
        throttling: what slows the machine down, or did; empty: nothing; None where it is not told.
        viewers: open pages.
        failed_readings: how often one of these could not be measured and kept its last value.
    """

    fps: float
    fps_limit: float | None
    dropped_frames: int
    lost_records: int | None
    rss_mb: float
    temperature_c: float | None
    throttling: tuple[str, ...] | None
    viewers: int
    failed_readings: int = 0


class Outage(msgspec.Struct, frozen=True):
    """The camera is lost: why, and since when (``time.monotonic``)."""

    reason: str
    since_s: float


def hello(
    about: Mapping[str, Any],
    *,
    frames: bool,
    history: Sequence[Moment],
    notes: Sequence[Note] = (),
) -> bytes:
    """Return the first event of a connection: who speaks, how a mesh is drawn, what was before."""
    told = {"about": about, "frames": frames, "history": history, "notes": notes}
    return event("hello", {**told, **mesh()}, retry=True)


def mesh() -> dict[str, Any]:
    """Return how a mesh is drawn: contours, lines, and the steps in a pixel."""
    return {"contours": CONTOURS, "lines": LINES, "steps": _STEPS}


def seen(
    result: FrameResult, health: HealthMessage, *, frames: bool, notes: Sequence[Note] = ()
) -> bytes:
    """Return the event of a frame: its faces, and its picture only if ``frames``.

    Args:
        result: of the pipeline.
        health: of the service.
        frames: send the picture.
        notes: the newest ones; a viewer may have missed some, and knows others by their numbers.
    """
    height, width = result.frame.size_hw
    content = {
        "index": result.frame.index,
        "t_s": round(result.frame.t_s, 3),
        "size": (width, height),
        "faces": [
            _face(face, result.ongoing.get(face.track.track_id, ())) for face in result.faces
        ],
        "notes": notes,
        "latency_ms": round(result.latency_ms, 1),
        "stage_ms": {stage: round(ms, 1) for stage, ms in result.stage_ms.items()},
        "health": health,
    }
    if frames:
        content["jpeg"] = picture(result.frame.image)
    return event("seen", content)


def waiting(outage: Outage, now_s: float, health: HealthMessage) -> bytes:
    """Return the event of a camera that is lost; ``now_s`` is ``time.monotonic()``."""
    lost_for_s = round(now_s - outage.since_s, 1)
    return event("waiting", {"reason": outage.reason, "lost_for_s": lost_for_s, "health": health})


def ended(reason: str) -> bytes:
    """Return the last event of a run."""
    return event("ended", {"reason": readable(reason)})


def moment(result: FrameResult) -> Moment:
    """Return what the timeline keeps of a frame."""
    faces = tuple(
        (face.track.track_id, face.state.label, round(face.state.confidence, 3))
        for face in result.faces
    )
    return round(result.frame.t_s, 3), faces


def picture(image: NDArray[np.uint8]) -> str:
    """Return a picture as JSON can hold it, see ``jpeg``."""
    return base64.b64encode(jpeg(image)).decode("ascii")


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return a picture, BGR uint8, as a JPEG whose longer side has at most 960 pixels.

    Raises:
        InferenceError: OpenCV cannot encode it.
    """
    scale = _LONGEST_PX / max(image.shape[:2])
    small = (
        cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if scale < 1
        else image
    )
    done, encoded = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not done:
        raise InferenceError(f"OpenCV cannot encode a picture of shape {image.shape} as JPEG")
    return encoded.tobytes()


def _face(face: FaceResult, doing: Sequence[str]) -> dict[str, Any]:
    state = face.state
    return {
        "id": face.track.track_id,
        "label": state.label,
        "quality": face.quality,
        "doing": [name.replace("_", " ") for name in doing],
        "confidence": round(state.confidence, 3),
        "scores": [
            (label, round(float(score), 3))
            for label, score in zip(state.labels, state.scores, strict=True)
        ],
        **outline(face.track.face),
    }


def outline(face: Face) -> dict[str, list[int]]:
    """Return a face's box and points, in steps of the hello."""
    return {"box": _whole(face.box_xyxy), "points": _whole(face.points[:, :2])}


def _whole(values: NDArray[np.float32]) -> list[int]:
    """Return coordinates as whole steps, in one list, all of them finite and near."""
    near = np.clip(np.nan_to_num(values.astype(np.float64)), -1e5, 1e5)
    steps: list[int] = np.rint(near * _STEPS).astype(np.int64).ravel().tolist()
    return steps


def event(kind: str, content: Mapping[str, Any], *, retry: bool = False) -> bytes:
    """Return an event of any kind."""
    first = b"retry: %d\n" % _RETRY_MS if retry else b""
    return b"%sevent: %s\ndata: %s\n\n" % (first, kind.encode(), msgspec.json.encode(content))
