"""The second look: overlapping tiles, in which a face is large enough for the detector.

BlazeFace sees faces from about a tenth of what it is shown on. Shown a tile, it sees smaller ones,
and more that is none: a look at a tile only proposes. What is a face is said by a closer look at
each proposal, which must be sure of it, by the mesh's presence, and by both agreeing on where eyes,
nose and mouth are. The figures are ``benchmarks/reach.py``'s.
"""

import math
from collections.abc import Iterable
from typing import Final

from edge.stages.mesh.litert.roi import Roi, overlap

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
