"""The second look at a still: with a border, within bounds, and its faces where they are."""

import numpy as np
import pytest

from edge.contract.align import MESH_POINTS
from edge.records import Face
from edge.stages.mesh.stills import look_twice


@pytest.mark.parametrize(
    ("size_hw", "seen_hw"),
    [
        ((48, 48), (256, 256)),
        ((300, 400), (500, 600)),
        ((3888, 5184), (6480, 7776)),
        ((1500, 23000), (3086, 8192)),
        ((23000, 2), (8192, 2731)),
    ],
)
def test_the_second_look_is_bounded(size_hw: tuple[int, int], seen_hw: tuple[int, int]) -> None:
    """No side of what is looked at exceeds 8192; a face is told in pixels of the picture itself."""
    image = np.zeros((*size_hw, 3), np.uint8)
    seen: list[tuple[int, ...]] = []

    def look(picture: np.ndarray) -> list[Face]:
        seen.append(picture.shape[:2])
        if len(seen) == 1:
            return []
        points = np.zeros((MESH_POINTS, 3), np.float32)
        points[:, :2] = picture.shape[1] / 2, picture.shape[0] / 2  # the middle stays the middle
        return [Face.from_points(points)]

    [face] = look_twice(image, look)
    assert seen[0] == size_hw
    assert np.abs(np.subtract(seen[1], seen_hw)).max() <= 2
    middle = (size_hw[1] / 2, size_hw[0] / 2)
    np.testing.assert_allclose(face.points[0, :2], middle, atol=max(1.0, max(size_hw) / 4000))
