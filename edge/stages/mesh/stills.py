"""How a single picture is looked at: twice, when the first look finds no face."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Face

_BORDER = 0.25
"""A still that its face fills gets this share of its size added on every side."""
_MAX_STILL_PX = 8192
"""With its border a still is reduced to this, which is 200 MB: a face that fills it stays large."""
_MIN_STILL_PX = 256
"""A smaller still is enlarged to this: BlazeFace saw no 48-pixel pictures in training."""

Look = Callable[[NDArray[np.uint8]], Sequence[Face]]
"""Finds the faces of a BGR picture ``(H, W, 3)``, in its own pixels."""


def look_twice(image: NDArray[np.uint8], look: Look) -> Sequence[Face]:
    """Return the faces of a still; a second look with a border finds those that fill theirs.

    Args:
        image: BGR uint8 ``(H, W, 3)``.
        look: the detection to apply, once or twice.

    Returns:
        The faces in pixels of ``image``.
    """
    if faces := look(image):
        return faces
    padded, border, scale = _with_border(image)
    return [
        Face.from_points(_shifted(face.points, scale, border), face.blendshapes, face.head_pose)
        for face in look(padded)
    ]


def _with_border(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float, float]:
    """Return the picture with a replicated border and resized, the border in px and the scale."""
    reduced = min(1.0, _MAX_STILL_PX / (max(image.shape[:2]) * (1 + 2 * _BORDER)))
    if reduced < 1:  # before the border, which makes a square even of a strip
        height, width = (max(1, round(side * reduced)) for side in image.shape[:2])
        image = np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
    border = round(max(image.shape[:2]) * _BORDER)
    padded = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    enlarged = max(1.0, _MIN_STILL_PX / min(padded.shape[:2]))
    if enlarged > 1:
        padded = cv2.resize(padded, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    return np.asarray(padded, np.uint8), border / reduced, reduced * enlarged


def _shifted(points: NDArray[np.float32], scale: float, border: float) -> NDArray[np.float32]:
    moved = points / np.float32(scale)
    moved[:, :2] -= border
    return moved
