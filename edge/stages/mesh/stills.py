"""How a single picture is looked at: twice, when the first look finds no face."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import Face

_BORDER = 0.25
"""A still that its face fills gets this share of its size added on every side."""
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


def _with_border(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, float]:
    """Return the picture with a replicated border and enlarged, the border in px and the scale."""
    border = round(max(image.shape[:2]) * _BORDER)
    padded = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    scale = max(1.0, _MIN_STILL_PX / min(padded.shape[:2]))
    if scale > 1:
        padded = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(padded, np.uint8), border, scale


def _shifted(points: NDArray[np.float32], scale: float, border: int) -> NDArray[np.float32]:
    moved = points / np.float32(scale)
    moved[:, :2] -= border
    return moved
