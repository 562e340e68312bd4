"""Demo clips with several faces that cross, pass and leave: for ``DemoSource(ways=WAYS[2])``."""

from collections.abc import Sequence
from typing import Final

from edge.sources.demo.choreography import SOLO, Keyframe

DUET: Final = (
    (
        Keyframe(0.0, 0.75, 0.45, 0.80, 0.0),
        Keyframe(1.0, 0.75, 0.45, 0.80, 0.0),
        Keyframe(3.0, 0.25, 0.45, 0.80, 0.0),  # behind the other one, who comes towards it
        Keyframe(4.2, 0.50, 0.45, 0.80, -8.0),
        Keyframe(6.5, 0.50, 0.45, 0.80, -8.0),  # still, while the other one passes in front
        Keyframe(7.2, 0.54, 0.45, 0.80, 0.0),  # they meet, and both turn back
        Keyframe(8.0, 0.62, 0.45, 0.80, 0.0),
        Keyframe(8.9, 1.12, 0.45, 0.80, 0.0),  # out at the right for half a second
        Keyframe(9.6, 0.70, 0.45, 0.80, 0.0),
        Keyframe(12.0, 0.75, 0.45, 0.80, 0.0),
    ),
    (
        Keyframe(0.0, 0.25, 0.50, 0.95, 0.0),
        Keyframe(1.0, 0.25, 0.50, 0.95, 0.0),
        Keyframe(3.0, 0.75, 0.50, 0.95, 0.0),
        Keyframe(4.2, 0.80, 0.50, 0.95, 8.0),
        Keyframe(6.2, 0.20, 0.52, 0.95, 0.0),
        Keyframe(7.2, 0.34, 0.50, 0.95, 0.0),
        Keyframe(8.0, 0.20, 0.50, 0.95, 0.0),
        Keyframe(12.0, 0.25, 0.50, 0.95, 0.0),
    ),
)
"""Two faces, the second one nearer: they cross, one passes the other, meet, one is briefly out."""

QUARTET: Final = (
    (
        Keyframe(0.0, 0.18, 0.25, 0.92, 0.0),
        Keyframe(1.0, 0.18, 0.25, 0.92, 0.0),
        Keyframe(3.5, 0.82, 0.25, 0.92, 0.0),  # crosses the second one
        Keyframe(6.0, 0.82, 0.25, 0.92, 5.0),
        Keyframe(8.0, 0.18, 0.74, 0.92, 0.0),  # crosses the fourth one, askew
        Keyframe(10.0, 0.18, 0.74, 0.92, 0.0),
        Keyframe(12.0, 0.18, 0.25, 0.92, 0.0),
    ),
    (
        Keyframe(0.0, 0.82, 0.27, 0.94, 0.0),
        Keyframe(1.0, 0.82, 0.27, 0.94, 0.0),
        Keyframe(3.5, 0.18, 0.27, 0.94, 0.0),
        Keyframe(8.2, 0.18, 0.27, 0.94, -5.0),
        Keyframe(9.0, -0.12, 0.27, 0.94, 0.0),  # out at the left for half a second
        Keyframe(9.8, 0.18, 0.27, 0.94, 0.0),
        Keyframe(10.0, 0.18, 0.27, 0.94, 0.0),
        Keyframe(12.0, 0.82, 0.27, 0.94, 0.0),
    ),
    (
        Keyframe(0.0, 0.18, 0.76, 0.92, 0.0),
        Keyframe(3.0, 0.18, 0.76, 0.92, 0.0),
        Keyframe(5.5, 0.82, 0.76, 0.92, 10.0),  # crosses the fourth one
        Keyframe(10.0, 0.82, 0.76, 0.92, 0.0),
        Keyframe(12.0, 0.18, 0.76, 0.92, 0.0),
    ),
    (
        Keyframe(0.0, 0.82, 0.74, 0.98, 0.0),
        Keyframe(3.0, 0.82, 0.74, 0.98, 0.0),
        Keyframe(5.5, 0.18, 0.74, 0.98, 0.0),
        Keyframe(6.0, 0.18, 0.74, 0.98, 0.0),
        Keyframe(8.0, 0.82, 0.25, 0.98, 0.0),
        Keyframe(10.0, 0.82, 0.25, 0.98, 0.0),
        Keyframe(12.0, 0.82, 0.74, 0.98, 0.0),
    ),
)
"""Four faces, each nearer than those before it: three crossings, one briefly out."""

WAYS: Final[dict[int, Sequence[Sequence[Keyframe]]]] = {1: (SOLO,), 2: DUET, 4: QUARTET}
"""The ways of all faces, the farthest first, by how many there are."""
