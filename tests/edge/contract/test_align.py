"""The one alignment code of host and device."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.align import (
    FER48,
    LEFT_EYE,
    MESH_POINTS,
    MOUTH,
    RIGHT_EYE,
    aligned_crop,
    crop_matrix,
    face_anchors,
    similarity,
    warp,
)
from edge.testing.fakes import make_face

IDENTITY = np.array(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
RNG = np.random.default_rng(20240101)


def _similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array(((cos, -sin, shift[0]), (sin, cos, shift[1])))


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(
    scale=st.floats(0.01, 100),
    degrees=st.floats(-180, 180),
    shift=st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)),
    seed=st.integers(0, 1000),
    count=st.integers(2, 6),
)
def test_similarity_is_recovered(
    scale: float, degrees: float, shift: tuple[float, float], seed: int, count: int
) -> None:
    """Any similarity is recovered from any two or more points."""
    source = np.random.default_rng(seed).uniform(-100, 100, (count, 2))
    expected = _similarity(scale, degrees, shift)
    fitted = similarity(source, _moved(source, expected))
    np.testing.assert_allclose(fitted, expected, rtol=1e-6, atol=1e-5 * max(1, scale))


@given(seed=st.integers(0, 10_000))
def test_similarity_is_the_least_squares_one(seed: int) -> None:
    """No small change of angle, scale or shift fits noisy points better."""
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 100, (3, 2))
    target = _moved(source, _similarity(0.5, 30, (3, -2))) + rng.normal(0, 3, (3, 2))

    def error(matrix: np.ndarray) -> float:
        return float(((_moved(source, matrix) - target) ** 2).sum())

    best = similarity(source, target)
    for turn in (_similarity(1, 0.5, (0, 0)), _similarity(1.01, 0, (0, 0))):
        changed = np.column_stack((turn[:, :2] @ best[:, :2], best[:, 2]))
        assert error(best) <= error(changed) + 1e-9
    moved = best + np.array(((0, 0, 0.1), (0, 0, -0.1)))
    assert error(best) <= error(moved) + 1e-9


def test_similarity_never_mirrors() -> None:
    """Mirrored targets are fitted by a rotation, not by a reflection."""
    source = np.array(((0.0, 0.0), (10.0, 0.0), (5.0, 8.0)))
    fitted = similarity(source, source * (-1, 1))
    assert np.linalg.det(fitted[:, :2]) > 0


@pytest.mark.parametrize(
    "source",
    [np.ones((3, 2)), np.array(((0, 0), (np.nan, 1), (2, 2))), np.array(((0, 0), (np.inf, 1)))],
    ids=["coinciding", "nan", "infinite"],
)
def test_similarity_refuses_what_nothing_fits(source: np.ndarray) -> None:
    """Coinciding or non-finite points raise instead of giving a wild matrix."""
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="no similarity"):
        similarity(source, np.zeros_like(source))


@pytest.mark.parametrize("shape", [(468, 2), (478,), (478, 1), (2, 478), (478, 2, 1)])
def test_anchors_refuse_other_shapes(shape: tuple[int, ...]) -> None:
    """Anything but 478 points of two or three coordinates is refused, with its shape."""
    with pytest.raises(ValueError, match="478"):
        face_anchors(np.zeros(shape))


_COLOURS = cv2.GaussianBlur(RNG.integers(0, 256, (240, 320, 3), dtype=np.uint8), (0, 0), 2)


def test_anchors_are_the_means_of_their_groups() -> None:
    """Anchors are the means of eye rings and mouth corners, whatever z holds."""
    points = RNG.uniform(0, 500, (MESH_POINTS, 3))
    expected = [points[list(group), :2].mean(axis=0) for group in (RIGHT_EYE, LEFT_EYE, MOUTH)]
    np.testing.assert_allclose(face_anchors(points), expected)
    points[:, 2] = np.nan
    np.testing.assert_allclose(face_anchors(points), expected)


def test_identity_warp_is_exact() -> None:
    """A 48x48 grey picture through the identity is itself, to the pixel."""
    image = RNG.integers(0, 256, (48, 48), dtype=np.uint8)
    assert np.array_equal(warp(image, IDENTITY, 48), image)


@pytest.mark.parametrize("shift", [(3, 0), (0, -5), (7, 11)])
def test_whole_shifts_are_exact(shift: tuple[int, int]) -> None:
    """A shift by whole pixels moves pixels without mixing them."""
    image = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    matrix = _similarity(1, 0, (-shift[0] - 8, -shift[1] - 12))
    y, x = shift[1] + 12, shift[0] + 8
    assert np.array_equal(warp(image, matrix, 32), image[y : y + 32, x : x + 32])


@pytest.mark.parametrize("factor", [2, 4, 5])
def test_whole_reductions_are_block_means(factor: int) -> None:
    """Reduced by a whole factor, each pixel is the mean of its block: the half-pixel is right."""
    image = RNG.integers(0, 256, (48 * factor, 48 * factor), dtype=np.uint8)
    blocks = image.reshape(48, factor, 48, factor).mean(axis=(1, 3))
    crop = warp(image, _similarity(1 / factor, 0, (0, 0)), 48)
    assert np.abs(crop - blocks).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("scale", "residue"), [(1 / 2, 26), (1 / 3.7, 12), (1 / 6, 7), (1 / 10.3, 4)]
)
@pytest.mark.parametrize("degrees", [0, 17, 45])
def test_fine_checkerboard_averages_to_grey(scale: float, residue: float, degrees: float) -> None:
    """A one-pixel checkerboard, the worst picture there is, turns grey with little moiré left.

    Sampled without care it keeps a standard deviation of about 42 at every scale; 45 degrees is
    the worst angle, where its finest detail is finer than the samples of the first stage.
    """
    image = ((np.indices((800, 800)).sum(axis=0) % 2) * 255).astype(np.uint8)
    matrix = _similarity(scale, degrees, (0, 0))
    matrix[:, 2] = 24 - matrix[:, :2] @ (400, 400)
    crop = warp(image, matrix, 48)
    assert crop.mean() == pytest.approx(127.5, abs=1)
    assert crop.std() < residue


def test_outside_repeats_the_border() -> None:
    """What lies outside the picture repeats its edge instead of turning black."""
    image = np.full((20, 20), 90, np.uint8)
    image[:, -1] = 200
    crop = warp(image, _similarity(1, 0, (10, 10)), 48)
    assert (crop[:, :29] == 90).all()
    assert (crop[:, 29:] == 200).all()


def test_bgr_becomes_grey_as_opencv_has_it() -> None:
    """A colour picture gives the luma of BT.601 with blue first."""
    image = RNG.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    expected = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    assert np.array_equal(warp(image, IDENTITY, 48), expected)


@given(
    scale=st.floats(0.04, 4),
    degrees=st.floats(-180, 180),
    centre=st.tuples(st.floats(-400, 700), st.floats(-400, 700)),
)
def test_only_pixels_that_are_not_read_are_left_out(
    scale: float, degrees: float, centre: tuple[float, float]
) -> None:
    """A crop is that of the whole grey picture, to the pixel, beyond its edges, too."""
    matrix = _similarity(scale, degrees, (0, 0))
    matrix[:, 2] = 24 - matrix[:, :2] @ centre
    whole = cv2.cvtColor(_COLOURS, cv2.COLOR_BGR2GRAY)
    times = int(np.clip(np.ceil(1 / scale - 0.25), 1, 32))
    shifted = matrix * times
    shifted[:, 2] += shifted[:, :2] @ (0.5, 0.5) - 0.5
    expected = cv2.warpAffine(
        whole, shifted, (48 * times, 48 * times),
        flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    if times > 1:
        expected = cv2.resize(expected, (48, 48), interpolation=cv2.INTER_AREA)
    # One grey level: the last bit of a coordinate's rounding.
    assert np.abs(warp(_COLOURS, matrix, 48).astype(int) - expected).max() <= 1


@given(
    scale=st.floats(0.3, 8),
    degrees=st.floats(-180, 180),
    shift=st.tuples(st.floats(-300, 300), st.floats(-300, 300)),
)
def test_crop_matrix_puts_the_face_upright(
    scale: float, degrees: float, shift: tuple[float, float]
) -> None:
    """However a face is turned, scaled and moved, its anchors land where the unmoved one's do."""
    points = make_face((100, 100, 200, 225)).points[:, :2].astype(float)
    expected = _moved(face_anchors(points), crop_matrix(points))
    turned = _moved(points, _similarity(scale, degrees, shift))
    found = _moved(face_anchors(turned), crop_matrix(turned))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    right_eye, left_eye, mouth = found
    assert right_eye[1] == pytest.approx(left_eye[1], abs=1e-6)
    assert right_eye[0] < mouth[0] < left_eye[0]
    np.testing.assert_allclose(found, FER48.anchors(), atol=3)


@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 3), (1, 1, 3)])
def test_aligned_crop_has_the_template_size(shape: tuple[int, ...]) -> None:
    """Grey or colour, large or a single pixel: a crop is uint8 48x48."""
    image = RNG.integers(0, 256, shape, dtype=np.uint8)
    crop = aligned_crop(image, make_face((100, 50, 180, 150)).points)
    assert crop.shape == (48, 48)
    assert crop.dtype == np.uint8


def test_extreme_scale_stays_bounded() -> None:
    """A face of a hundred thousand pixels costs no more than a bounded crop."""
    image = np.full((50, 50, 3), 7, np.uint8)
    crop = aligned_crop(image, make_face((-50_000, -50_000, 50_000, 50_000)).points)
    assert (crop == 7).all()
