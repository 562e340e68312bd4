"""Looking again at what was detected: what MediaPipe leaves open, turned faces and small ones.

BlazeFace was trained on upright faces. It also finds faces that are turned by 60 degrees and more,
but then gives their eyes in about upright places, and the landmark model, shown such a region,
draws a mesh of the wrong orientation with a high presence. Shown a region that is turned about as
the face is, though, the detector is surer, and right about the eyes: so a new face is shown to it
again, turned eight ways. On the astronaut photo (every 15 degrees, scales 0.7 to 1.4) the best of
the eight scores 0.90 to 0.98, nearly always within 4 degrees of the truth; looks that are off by
more than 30 degrees score at most 0.82.

BlazeFace sees faces from about a tenth of what it is shown on. Shown one of overlapping tiles, it
sees smaller ones, and more that is none: a look at a tile only proposes. What is a face is said by
a closer look at each proposal, which must be sure of it, by the mesh's presence, and by both
agreeing on where eyes, nose and mouth are. The figures are ``benchmarks/reach.py``'s.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.stages.mesh.litert.detector import FaceDetector, Sighting
from edge.stages.mesh.litert.roi import Roi, overlap

_GROWTH: Final = 1.3
"""A region is 1.5 times the face; the detector likes to see more around it."""
_WAYS: Final = 8
_SURE: Final = 0.85
"""A first look that scores so much needs no further ones."""
_CLEARLY: Final = 0.05
"""Another orientation is believed when it scores more by this than the first one."""
_ALIKE: Final = math.radians(30)
"""The first idea of a face's rotation may be off by so much: the mesh makes up for it."""
_EYES_NOSE_MOUTH: Final = ((468,), (473,), (1,), (13, 14))
"""The mesh points for the detector's first four; a place is the mean of its points."""
_APART: Final = 1 / 3
"""A mesh is wrong when a point lies so much of its size from where the detector sees it."""


def verify(
    detector: FaceDetector, image: NDArray[np.uint8], roi: Roi, least: float = 0.0
) -> Sighting | None:
    """Return the detected face with its orientation verified, or None where it stays in doubt.

    A face whose first region was right keeps it to the bit. With ``least``, the region is only a
    proposal: it gives way to that of the closer look, which is more exact.

    Args:
        detector: gives the second looks: one for most upright faces, else eight.
        image: BGR uint8 ``(H, W, 3)``.
        roi: a region from ``detector.detect``.
        least: if not 0, a first look that scores less ends it: one look then, not eight.

    Raises:
        InferenceError: the runtime failed.
    """
    square = roi.square(_GROWTH)
    first = detector.look(image, square)
    if least and (first is None or first.score < least):
        return None
    if first is not None and first.score >= _SURE and _is_alike(first, roi):
        return first if least else msgspec.structs.replace(first, roi=roi)
    turns = (2 * math.pi * way / _WAYS for way in range(1, _WAYS))
    looks = (first, *(detector.look(image, square.turned(turn)) for turn in turns))
    seen = [sighting for sighting in looks if sighting is not None]
    same = _surest(sighting for sighting in seen if _is_alike(sighting, roi))
    other = _surest(sighting for sighting in seen if not _is_alike(sighting, roi))
    if same is not None and (other is None or other.score <= same.score):
        return same if least else msgspec.structs.replace(same, roi=roi)
    if other is not None and (same is None or other.score > same.score + _CLEARLY):
        return other
    return None


def _surest(sightings: Iterable[Sighting]) -> Sighting | None:
    return max(sightings, key=lambda sighting: sighting.score, default=None)


def _is_alike(sighting: Sighting, roi: Roi) -> bool:
    """Tell whether a face is turned about as much as a region."""
    return abs(math.remainder(sighting.roi.rotation - roi.rotation, 2 * math.pi)) < _ALIKE


def agree(points: NDArray[np.float32], sighting: Sighting) -> bool:
    """Tell whether a mesh has eyes, nose and mouth about where the detector sees them.

    Args:
        points: the mesh, float32 ``(478, 3)``, in pixels of the picture.
        sighting: the face as the detector sees it.
    """
    places = np.array([points[list(at), :2].mean(axis=0) for at in _EYES_NOSE_MOUTH])
    apart = np.linalg.norm(places - sighting.points[: len(places)], axis=1)
    return bool(apart.max() < _APART * np.ptp(points[:, :2], axis=0).max())


_SIDE: Final = 5 / 12
"""A tile's side, as a share of the picture's shorter one: twelve tiles of 640x480."""
_SHARED: Final = 1 / 4
"""Neighbours share at least so much of their side: more than the faces that only tiles show."""
_LEAST_SIDE: Final = 1 / 8
"""And of its longer one: a ribbon does not get hundreds."""
_LEAST_SIDE_PX: Final = 128.0
"""What the detector is shown; enlarging shows it nothing."""
PROPOSAL_SCORE: Final = 0.25
"""What a proposal must score, where ``min_detection`` is not less."""
PROPOSALS: Final = 12
"""The most that are looked at in one search: a picture full of patterns has dozens."""
FIRST_SCORE: Final = 0.55
"""What the first closer look must score for others to follow."""
SURE_SCORE: Final = 0.8
"""What the closest look must score. Heads of 32 pixels do, patterns reach 0.77."""
SURE_PRESENCE: Final = 0.9
"""What the mesh must score. So do heads of 32 pixels, and one pattern in hundreds that are sure."""


def tiles(size_hw: tuple[int, int]) -> list[Roi]:
    """Return squares that cover a picture, row by row."""
    height, width = size_hw
    side = _side(size_hw)
    return [Roi(x, y, side, side) for y in _middles(height, side) for x in _middles(width, side)]


def tile_around(roi: Roi, size_hw: tuple[int, int]) -> Roi:
    """Return the tile of a picture in whose middle a region is."""
    side = _side(size_hw)
    return Roi(roi.x, roi.y, side, side)


def _side(size_hw: tuple[int, int]) -> float:
    return max(min(size_hw) * _SIDE, max(size_hw) * _LEAST_SIDE, _LEAST_SIDE_PX)


def _middles(length: float, side: float) -> list[float]:
    """Return the middles of the fewest intervals that cover a length and overlap enough."""
    count = math.ceil((length - _SHARED * side) / (side - _SHARED * side))
    if count <= 1:
        return [length / 2]
    step = (length - side) / (count - 1)
    return [side / 2 + i * step for i in range(count)]


def is_known(roi: Roi, known: Iterable[Roi], threshold: float) -> bool:
    """Tell whether a region is about one of the faces that are known.

    Either the regions overlap by more than ``threshold``, or one's middle lies on the other's face:
    a tile that shows a part of a large face may propose a small one in it.
    """
    for other in known:
        off = max(abs(roi.x - other.x), abs(roi.y - other.y))
        if overlap(roi, other) > threshold or off < max(_half(roi), _half(other)):
            return True
    return False


def _half(roi: Roi) -> float:
    """Return half the width of the face in a region, which is 1.5 times as wide."""
    return max(roi.width, roi.height) / 3
