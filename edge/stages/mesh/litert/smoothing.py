"""Steady points: the One Euro filter (Casiez, Roussel, Vogel, CHI 2012).

A low-pass filter whose cut-off rises with speed: a still face does not tremble, a moving one does
not lag. The constants are MediaPipe's (face_landmarks_detector_graph.cc), which smooths only where
it looks for a single face.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.records import bounding_box

_MIN_CUTOFF_HZ: Final = 0.05
_BETA: Final = 80.0
"""Hz of cut-off for a speed of one face size a second."""
_SPEED_CUTOFF_HZ: Final = 1.0
_MIN_SIZE_PX: Final = 1e-6


class OneEuroFilter:
    """Smooths one face's mesh, each coordinate by itself; another face takes another filter."""

    def __init__(self) -> None:
        self._t_s = 0.0
        self._raw: NDArray[np.float32] | None = None
        self._smooth = np.empty(0)
        self._speed = np.empty(0)

    def apply(self, points: NDArray[np.float32], t_s: float) -> NDArray[np.float32]:
        """Return the smoothed mesh.

        Args:
            points: float32 ``(478, 3)``, in pixels.
            t_s: when it was seen; a mesh that is not later than the last one is returned as it is.
        """
        if self._raw is None:
            self._start(points, t_s)
            return points
        elapsed_s = t_s - self._t_s
        x1, y1, x2, y2 = bounding_box(points)
        size = (x2 - x1 + y2 - y1) / 2
        if elapsed_s <= 0 or size < _MIN_SIZE_PX:
            return points
        speed = (points - self._raw) / (size * elapsed_s)
        self._speed += _alpha(np.float64(_SPEED_CUTOFF_HZ), elapsed_s) * (speed - self._speed)
        alpha = _alpha(_MIN_CUTOFF_HZ + _BETA * np.abs(self._speed), elapsed_s)
        self._smooth += alpha * (points - self._smooth)
        self._raw, self._t_s = points, t_s
        return self._smooth.astype(np.float32)

    def _start(self, points: NDArray[np.float32], t_s: float) -> None:
        self._raw, self._t_s = points, t_s
        self._smooth = points.astype(np.float64)
        self._speed = np.zeros_like(self._smooth)


def _alpha(cutoff_hz: NDArray[np.float64] | np.float64, elapsed_s: float) -> NDArray[np.float64]:
    """Return the weight of a new value in an exponential average, in (0, 1)."""
    ratio = 2 * np.pi * cutoff_hz * elapsed_s
    return np.asarray(ratio / (1 + ratio))
