"""Where the demo's faces are at any moment: smooth keyframes, and the boxes that follow from them.

Pure geometry (numpy only), so tests and benchmarks can use it as ground truth without rendering.
Coordinates are continuous pixels, as in ``edge.contract.align``.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.records import bounding_box

FACE_OUTLINE: Final = np.array(
    (
        (226.0, 72.2), (238.8, 73.1), (249.5, 75.0), (258.9, 78.6), (264.7, 83.7), (268.0, 90.2),
        (269.7, 97.1), (270.2, 105.9), (269.8, 114.4), (269.0, 123.5), (267.7, 133.3),
        (265.0, 143.9), (260.9, 152.7), (256.1, 159.4), (249.7, 165.5), (244.1, 170.1),
        (238.0, 174.1), (230.7, 176.9), (221.4, 177.4), (212.2, 175.9), (205.3, 172.3),
        (199.7, 167.7), (194.6, 162.7), (189.1, 156.1), (185.3, 149.0), (182.6, 139.8),
        (181.3, 128.8), (180.9, 118.9), (180.9, 109.9), (180.9, 101.3), (181.9, 92.5),
        (183.9, 85.6), (187.6, 79.6), (193.6, 75.1), (203.0, 72.6), (213.5, 71.8),
    )
)  # fmt: skip
"""The face's outline in the 512x512 astronaut photo, measured once with MediaPipe's landmarker."""

FACE_CENTRE: Final = (FACE_OUTLINE.min(axis=0) + FACE_OUTLINE.max(axis=0)) / 2


class Keyframe(msgspec.Struct, frozen=True):
    """A pose to be in at a time.

    Attributes:
        t_s: seconds from the start.
        x: the face's centre as a fraction of the picture's width; outside [0, 1] is off-screen.
        y: the same of its height.
        scale: picture pixels per photo pixel, in a picture of 640x480.
        roll_deg: clockwise in the picture.
    """

    t_s: float
    x: float
    y: float
    scale: float
    roll_deg: float


SOLO: Final = (
    Keyframe(0.0, 0.50, 0.48, 1.20, 0.0),
    Keyframe(2.0, 0.50, 0.48, 1.20, 0.0),  # still so far
    Keyframe(3.0, 0.30, 0.48, 1.20, 0.0),  # to the left
    Keyframe(4.0, 0.62, 0.50, 1.50, 12.0),  # to the right and nearer
    Keyframe(5.0, 0.45, 0.42, 0.70, -5.0),  # far away
    Keyframe(5.7, 0.48, 0.46, 0.95, -25.0),  # tilted
    Keyframe(6.5, 0.55, 0.48, 1.00, 25.0),  # tilted the other way
    Keyframe(7.3, 1.40, 0.48, 1.10, 0.0),  # out at the right
    Keyframe(8.9, 1.40, 0.48, 1.10, 0.0),
    Keyframe(10.1, 0.50, 0.48, 1.20, 0.0),  # back
    Keyframe(12.0, 0.50, 0.48, 1.20, 0.0),  # still to the end
)
"""One face: still, sideways, nearer, farther, tilted, gone for 2.4 s, back, still. Loops."""

SURPRISES: Final = ((1.0, 3.0), (4.5, 6.5), (10.5, 12.0))
"""When a face with moods is surprised, in seconds of its 12: still, on the way, still again."""

_ONSET_S: Final = 0.2
"""How long an expression takes to come, and to go; it is half there at the times above."""


def surprise_at(t_s: float) -> float:
    """Return how surprised a face with moods is: from 0, when it smiles, to 1."""
    t_s %= SOLO[-1].t_s
    inside = max(min(t_s - start, end - t_s) for start, end in SURPRISES)
    return min(max(inside / _ONSET_S + 0.5, 0.0), 1.0)


class Choreography:
    """One face's way through the picture. It repeats after its last keyframe.

    Args:
        keyframes: in rising time, the first at 0.
        size_hw: the picture's height and width in pixels.
    """

    def __init__(self, keyframes: Sequence[Keyframe], size_hw: tuple[int, int]) -> None:
        times = [keyframe.t_s for keyframe in keyframes]
        if len(times) < 2 or times[0] != 0 or (np.diff(times) <= 0).any():
            raise ValueError(f"keyframe times must start at 0 and rise, got {times}")
        self._times = np.array(times)
        self._poses = np.array([(k.x, k.y, k.scale, k.roll_deg) for k in keyframes])
        self._size_hw = size_hw

    def motion(self, t_s: float) -> NDArray[np.float64]:
        """Return the ``(2, 3)`` similarity from photo to picture coordinates at ``t_s``."""
        x, y, scale, roll_deg = self._pose(t_s)
        height, width = self._size_hw
        scale *= min(height / 480, width / 640)
        cos, sin = scale * np.cos(np.radians(roll_deg)), scale * np.sin(np.radians(roll_deg))
        linear = np.array(((cos, -sin), (sin, cos)))
        return np.column_stack((linear, (x * width, y * height) - linear @ FACE_CENTRE))

    def box(self, t_s: float) -> NDArray[np.float32]:
        """Return the face's ``box_xyxy``, float32 ``(4,)``, wherever it is, unclipped."""
        matrix = self.motion(t_s)
        outline = FACE_OUTLINE @ matrix[:, :2].T + matrix[:, 2]
        return np.array(bounding_box(outline), np.float32)

    def visible_fraction(self, t_s: float) -> float:
        """Return the share of the face's box that lies in the picture, in [0, 1]."""
        x1, y1, x2, y2 = self.box(t_s).astype(float)
        height, width = self._size_hw
        seen_w = max(0.0, min(x2, width) - max(x1, 0.0))
        seen_h = max(0.0, min(y2, height) - max(y1, 0.0))
        return float(seen_w * seen_h / ((x2 - x1) * (y2 - y1)))

    def _pose(self, t_s: float) -> NDArray[np.float64]:
        """Ease from keyframe to keyframe, starting and ending each leg at rest (smoothstep)."""
        t_s %= self._times[-1]
        after = int(np.searchsorted(self._times, t_s, side="right"))
        start, end = self._times[after - 1], self._times[after]
        u = (t_s - start) / (end - start)
        eased = u * u * (3 - 2 * u)
        before = self._poses[after - 1]
        return np.asarray(before + eased * (self._poses[after] - before), np.float64)
