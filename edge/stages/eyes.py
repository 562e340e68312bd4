"""How far the eyes are open."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_ENDS: Final = np.array((((33, 133), (160, 144), (158, 153)), ((362, 263), (385, 380), (387, 373))))
"""Of the subject's right and left eye: the corners, and two pairs of points on the lids."""


def eye_openness(points: NDArray[np.floating]) -> tuple[float, float]:
    """Return the eye aspect ratio of the subject's right and left eye.

    The mean gap between the lids over the distance of the corners: about 0.3 open, below 0.15
    closed. Soukupova and Cech, "Real-time eye blink detection using facial landmarks", 2016; here
    in three dimensions, so that a head that is turned does not seem to open its eyes.

    Args:
        points: the mesh, ``(478, 3)``, x, y and z in one unit.
    """
    ends = points[_ENDS].astype(np.float64)
    apart = ends[:, :, 0] - ends[:, :, 1]
    right, left = np.sqrt((apart * apart).sum(axis=2)).tolist()
    return _ratio(*right), _ratio(*left)


def _ratio(width: float, one: float, other: float) -> float:
    return (one + other) / 2 / width if width > 0 else 0.0
