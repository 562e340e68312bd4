"""What the pipeline saw, drawn onto a copy of the frame."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.contract.landmarks import CONTOURS, LINES
from edge.preview.canvas import Canvas, Color
from edge.preview.palette import DARK, color_of
from edge.records import EmotionState, FaceResult, FrameResult


def _bgr(color: str) -> Color:
    red, green, blue = bytes.fromhex(color.removeprefix("#"))
    return blue, green, red


PALETTE: Final[dict[str, Color]] = {label: _bgr(DARK[label]) for label in EMOTIONS}
"""A colour (BGR) for each emotion."""

_OTHER: Final[Color] = (170, 170, 170)
_PANEL: Final[Color] = (28, 24, 22)
_TRACK: Final[Color] = (88, 82, 78)
_TEXT: Final[Color] = (240, 240, 240)
_MESH: Final[Color] = (255, 250, 235)

_SMALL_PX: Final = 360
"""Pictures whose shorter side is below this are enlarged, or no text could be read."""
_LARGEST_PX: Final = 4096


def _color(label: str) -> Color:
    """Return a label's colour; grey for ``uncertain``, which is none of them."""
    return _OTHER if label == UNCERTAIN else _bgr(color_of(label, dark=True))


def draw(result: FrameResult) -> NDArray[np.uint8]:
    """Return an annotated copy of the frame: box, mesh, label and scores of every face, timings.

    Returns:
        BGR uint8, of the frame's size, or a whole multiple of it for small frames. Line widths and
        text follow the size; the frame itself is not touched.
    """
    image = result.frame.image
    factor = _enlargement(image.shape[0], image.shape[1])
    if factor > 1:
        picture = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    else:
        picture = image.copy()
    canvas = Canvas(np.asarray(picture, np.uint8))
    for face in result.faces:
        _draw_mesh(canvas, _scaled(face.track.face.points[:, :2], factor))
    for face in result.faces:
        doing = result.ongoing.get(face.track.track_id, ())
        _draw_face(canvas, face, factor, [name.replace("_", " ") for name in doing])
    _draw_timings(canvas, result)
    return canvas.picture


def _enlargement(height: int, width: int) -> int:
    """Return the whole factor that makes a small picture legible without making it huge."""
    wanted = -(-_SMALL_PX // min(height, width))
    return max(1, min(wanted, _LARGEST_PX // max(height, width)))


def _scaled(values: NDArray[np.float32], factor: int) -> NDArray[np.float64]:
    """Return coordinates that are finite and near enough for OpenCV's integers."""
    return np.clip(np.nan_to_num(values.astype(np.float64) * factor), -1e5, 1e5)


def _draw_mesh(canvas: Canvas, points: NDArray[np.float64]) -> None:
    extent = float(np.ptp(points, axis=0).max())
    if extent < 24 * canvas.unit:  # a mesh of a few pixels would only be a blot
        return
    canvas.dots(points, _MESH, opacity=0.35)
    rings = [points[list(ring)] for ring in CONTOURS]
    lines = [points[list(line)] for line in LINES]
    for color, opacity, stroke in ((_PANEL, 0.25, 2.0), (_MESH, 0.65, 1.0)):
        canvas.lines(rings, color, opacity, closed=True, stroke=stroke)
        canvas.lines(lines, color, opacity, closed=False, stroke=stroke)


def _draw_face(canvas: Canvas, face: FaceResult, factor: int, doing: Sequence[str]) -> None:
    state = face.state
    color = _color(state.label)
    x1, y1, x2, y2 = _scaled(face.track.face.box_xyxy, factor)
    margin = 0.06 * (x2 - x1)
    box = (x1 - margin, y1 - margin, x2 + margin, y2 + margin)
    canvas.brackets(box, color)
    if state.labels:  # none were given to a face that could not be read
        _draw_scores(canvas, box, state)
    canvas.tag(  # last, for in a corner of the picture it has to share the panel's place
        ", ".join((f"#{face.track.track_id} {face.display_text}", *doing)),
        (box[0], box[1]),
        _PANEL,
        color,
    )


def _draw_scores(canvas: Canvas, box: Sequence[float], state: EmotionState) -> None:
    """Draw a bar per emotion in a panel beside the box: to its right, or left, where it fits."""
    unit, line = canvas.unit, canvas.line_height
    names = max(canvas.text_width(label) for label in state.labels)
    bar = 64 * unit
    width, height = names + bar + 24 * unit, line * len(state.labels) + 10 * unit
    corner = canvas.beside(box, (width, height))
    if corner is None:
        return
    x, y = corner
    canvas.panel((x, y, x + width, y + height), _PANEL, opacity=0.72)
    for row, (label, score) in enumerate(zip(state.labels, state.scores, strict=True)):
        middle = y + 5 * unit + line * (row + 0.5)
        color = _color(label)
        canvas.text(label, (x + 8 * unit, middle), color if label == state.label else _TEXT)
        start = x + names + 16 * unit
        canvas.bar((start, middle, bar), float(score), color, _TRACK)


def _draw_timings(canvas: Canvas, result: FrameResult) -> None:
    """Draw what the frame cost at the bottom left, leaving out what does not fit."""
    latency_ms = result.latency_ms
    parts = [f"frame {result.frame.index}"]
    if latency_ms > 0:
        parts.append(f"{1000 / latency_ms:.0f} fps")
        parts.append(f"{latency_ms:.1f} ms")
        parts += [f"{stage} {ms:.1f}" for stage, ms in result.stage_ms.items()]
    canvas.footer(parts, _TEXT, _PANEL)
