"""Another expression for the demo's face: surprise, made by moving the photo's own pixels.

The astronaut smiles. For a face whose expression changes at known times, brows and upper lids are
raised, the jaw is dropped and the lips are rounded (FACS action units 1, 2, 5 and 26, the prototype
of surprise: Ekman and Friesen, "Facial Action Coding System", 1978) by a thin-plate spline
(Bookstein, IEEE PAMI 11(6), 1989); the open mouth is dark.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.sources.demo.choreography import FACE_CENTRE, FACE_OUTLINE

_Points = NDArray[np.float64]

INNER_UPPER: Final = np.array(
    (
        (203.9, 139.7), (206.4, 140.1), (213.1, 141.4), (223.3, 143.2), (233.7, 142.2),
        (240.4, 141.4), (242.9, 141.1),
    )
)  # fmt: skip
INNER_LOWER: Final = np.array(
    (
        (203.9, 139.7), (206.9, 142.9), (213.2, 147.1), (223.0, 149.2), (233.0, 147.7),
        (239.5, 144.0), (242.9, 141.1),
    )
)  # fmt: skip
OUTER_UPPER: Final = np.array(
    (
        (202.3, 139.2), (204.7, 138.9), (211.7, 139.1), (223.4, 140.6), (235.2, 139.9),
        (242.2, 140.2), (244.5, 140.6),
    )
)  # fmt: skip
OUTER_LOWER: Final = np.array(
    (
        (202.3, 139.2), (204.4, 143.4), (211.2, 151.3), (222.7, 154.7), (234.4, 152.0),
        (242.0, 144.6), (244.5, 140.6),
    )
)  # fmt: skip
BROWS: Final = np.array(
    (
        (187.9, 90.7), (191.6, 87.8), (197.5, 86.6), (205.6, 87.8), (215.1, 89.8), (263.7, 94.9),
        (260.2, 91.5), (254.2, 89.6), (245.9, 89.7), (236.0, 90.6),
    )
)  # fmt: skip
UPPER_LIDS: Final = np.array(
    ((206.1, 98.4), (202.6, 97.8), (199.2, 98.2), (244.3, 100.3), (248.1, 100.2), (251.4, 101.0))
)
LOWER_LIDS: Final = np.array(
    ((200.7, 103.7), (204.2, 104.2), (207.6, 104.0), (249.4, 106.4), (245.9, 106.5), (242.3, 106.0))
)
STILL: Final = np.array(
    (
        (223.5, 131.1), (223.7, 127.0), (224.3, 116.3), (224.9, 101.4), (211.3, 129.5),
        (236.4, 130.7), (223.5, 133.4), (225.4, 91.1), (195.3, 100.6), (213.6, 103.6),
        (236.4, 104.9), (255.3, 103.8),
    )
)  # fmt: skip
"""Places in the 512x512 astronaut photo, measured once with the mesher, in pixels."""

_MOUTH: Final = np.array((223.0, 151.0))
"""The centre of the open mouth."""
_INNER_RADII: Final = np.array((9.0, 8.0))
_OUTER_RADII: Final = np.array((12.5, 12.0))
_MOUTH_BGR: Final = np.array((25, 20, 45), np.float32)
_RAISED_BROWS: Final = np.array((0.0, -5.0))
_RAISED_LIDS: Final = np.array((0.0, -2.0))
_LOWERED_LIDS: Final = np.array((0.0, 1.0))
_DROPPED_JAW: Final = 9.0
_JAW_BEGINS: Final = 160.0
"""The outline below this row goes down with the jaw, the chin by all of it."""
REACH: Final = np.array((90.0, 110.0))
"""Beyond this distance from the face's centre the picture stays as it is."""
_FADE: Final = 0.35
"""So much of the reach before it moves less and less."""
_STEP: Final = 4
"""The field is computed at every fourth pixel and interpolated between."""


class Surprise:
    """Makes the photo's face surprised, more or less.

    Args:
        photo: the astronaut photo, BGR uint8 ``(512, 512, 3)``.
    """

    def __init__(self, photo: NDArray[np.uint8]) -> None:
        self._photo = photo
        size = photo.shape[1], photo.shape[0]
        self._field = displacement(*_control_points(), size)
        self._identity = np.stack(np.meshgrid(*map(np.arange, size)), axis=-1).astype(np.float32)

    def photo(self, strength: float) -> NDArray[np.uint8]:
        """Return the photo with this much surprise, from 0 (as it was) to 1; BGR uint8."""
        if strength <= 0:
            return self._photo
        moved = cv2.remap(
            self._photo,
            self._identity + np.float32(strength) * self._field,
            None,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        dark = self._opening(strength)[:, :, np.newaxis]
        return np.asarray(np.rint(moved * (1 - dark) + _MOUTH_BGR * dark), np.uint8)

    def _opening(self, strength: float) -> NDArray[np.float32]:
        """Return how much of each pixel is the open mouth, float32 ``(H, W)``."""
        source = np.concatenate((INNER_UPPER, INNER_LOWER[-2:0:-1]))
        target = _opened(_INNER_RADII)
        lips = source + strength * (np.concatenate((target[0], target[1][-2:0:-1])) - source)
        mask = np.zeros(self._photo.shape[:2], np.float32)
        cv2.fillPoly(mask, [np.rint(lips * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5) * (0.95 * strength), np.float32)


def displacement(source: _Points, target: _Points, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return where the pixels of a changed face come from, relative to where they are.

    Args:
        source: places of the face in the photo, ``(n, 2)``.
        target: where they shall be.
        size: width and height of the photo.

    Returns:
        float32 ``(H, W, 2)``.
    """
    at = np.stack(np.meshgrid(*(np.arange(0, n, _STEP) + _STEP / 2 for n in size)), axis=-1)
    distance = np.hypot(*np.moveaxis((at - FACE_CENTRE) / REACH, 2, 0))
    inside = distance < 1
    fade = np.minimum((1 - distance[inside]) / _FADE, 1)[:, np.newaxis]
    field = np.zeros_like(at)
    field[inside] = _thin_plate(target, source - target, at[inside]) * fade
    moved = cv2.resize(field.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def _opened(radii: _Points) -> tuple[_Points, _Points]:
    """Return the upper and the lower lip of an open mouth, ``(7, 2)`` each, from the left."""
    angles = np.linspace(np.pi, 0, len(INNER_UPPER))
    across, down = np.cos(angles) * radii[0], np.sin(angles) * radii[1]
    return (
        _MOUTH + np.stack((across, -down), axis=1),
        _MOUTH + np.stack((across, down), axis=1),
    )


def _control_points() -> tuple[_Points, _Points]:
    """Return where places of the face are in the photo, and where surprise takes them."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    frame = FACE_CENTRE + REACH * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    drop = np.clip(
        (FACE_OUTLINE[:, 1] - _JAW_BEGINS) / (FACE_OUTLINE[:, 1].max() - _JAW_BEGINS), 0, 1
    )
    jaw = FACE_OUTLINE + np.stack((np.zeros_like(drop), _DROPPED_JAW * drop), axis=1)
    inner, outer = _opened(_INNER_RADII), _opened(_OUTER_RADII)
    pairs = (
        (frame, frame),
        (STILL, STILL),
        (FACE_OUTLINE, jaw),
        (BROWS, BROWS + _RAISED_BROWS),
        (UPPER_LIDS, UPPER_LIDS + _RAISED_LIDS),
        (LOWER_LIDS, LOWER_LIDS + _LOWERED_LIDS),
        (INNER_UPPER, inner[0]),
        (INNER_LOWER[1:-1], inner[1][1:-1]),
        (OUTER_UPPER, outer[0]),
        (OUTER_LOWER[1:-1], outer[1][1:-1]),
    )
    source, target = (np.concatenate(points) for points in zip(*pairs, strict=True))
    return source, target


def _thin_plate(knots: _Points, values: _Points, at: _Points) -> _Points:
    """Interpolate ``values`` ``(n, 2)`` at ``knots`` ``(n, 2)`` smoothly; return ``(m, 2)``."""
    count = len(knots)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _kernel(knots, knots)
    system[:count, count:] = np.column_stack((np.ones(count), knots))
    system[count:, :count] = system[:count, count:].T
    weights = np.linalg.solve(system, np.concatenate((values, np.zeros((3, 2)))))
    return np.asarray(
        _kernel(at, knots) @ weights[:count]
        + np.column_stack((np.ones(len(at)), at)) @ weights[count:]
    )


def _kernel(one: _Points, other: _Points) -> _Points:
    squared = np.square(one[:, np.newaxis] - other).sum(axis=2)
    return np.asarray(squared * np.log(np.maximum(squared, 1e-12)))
