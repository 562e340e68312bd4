"""How far the eyes are open."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

_RIGHT: Final = ((33, 133), ((160, 144), (158, 153)))
"""Corners of the subject's right eye, and two pairs of points on its upper and lower lid."""
_LEFT: Final = ((362, 263), ((385, 380), (387, 373)))


def eye_openness(points: NDArray[np.floating]) -> tuple[float, float]:
    """Return the eye aspect ratio of the subject's right and left eye.

    The mean gap between the lids over the distance of the corners: about 0.3 open, below 0.15
    closed. Soukupova and Cech, "Real-time eye blink detection using facial landmarks", 2016; here
    in three dimensions, so that a head that is turned does not seem to open its eyes.

    Args:
        points: the mesh, ``(478, 3)``, x, y and z in one unit.
    """
    return _ratio(points, _RIGHT), _ratio(points, _LEFT)


def _ratio(
    points: NDArray[np.floating], eye: tuple[tuple[int, int], tuple[tuple[int, int], ...]]
) -> float:
    corners, lids = eye
    width = _distance(points, corners)
    gap = sum(_distance(points, pair) for pair in lids) / len(lids)
    return gap / width if width > 0 else 0.0


def _distance(points: NDArray[np.floating], pair: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[pair[0]].astype(float) - points[pair[1]].astype(float)))
