"""Sharpness and contrast to noise: what the gate sees in a crop, on the demo's real face."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge.assets.store import ASTRONAUT, asset_path
from edge.config import QualityConfig
from edge.contract.align import FER48, aligned_crop
from edge.stages.quality import FaceQualityFilter, contrast_to_noise, sharpness
from edge.testing.fakes import make_face

POINTS = "astronaut_mesh.npz"
FACE = make_face((40, 20, 100, 100))
# Stricter than the packaged model needs: what is told apart here is the measure, not the model.
LIMITS = QualityConfig(min_contrast_to_noise=2.7, min_sharpness=0.095)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.imread(str(asset_path(ASTRONAUT)))


@pytest.fixture(scope="module")
def points(request: pytest.FixtureRequest) -> np.ndarray:
    return np.load(request.path.parents[1] / "data" / POINTS)["points"]


def cropped(photo: np.ndarray, points: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """The crop that the classifier gets when the photo is shown at this scale."""
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=kind)
    return aligned_crop(shown, points * np.float32(scale), FER48)


def dimmed(photo: np.ndarray, light: float, noise: float) -> np.ndarray:
    grains = np.random.default_rng(3).normal(0, noise, photo.shape)
    return np.clip(np.rint(photo * light + grains), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scale", [0.35, 0.5, 0.75, 1.0, 1.5, 3.0])
def test_a_face_is_sharp_at_any_size_whose_details_reach_the_crop(photo, points, scale) -> None:
    """From 31 pixels across to 270 the same face passes: it is the crop that is measured."""
    assert sharpness(cropped(photo, points, scale)) > 1.3 * LIMITS.min_sharpness


@pytest.mark.parametrize("scale", [0.7, 1.0, 2.0])
def test_a_defocused_face_is_blurred_at_any_size(photo, points, scale) -> None:
    """Blur of an eighteenth of the face's width is too much, however many pixels that is."""
    sigma = np.ptp(points[:, 0]) * scale / 18
    shown = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    crop = aligned_crop(cv2.GaussianBlur(shown, (0, 0), sigma), points * np.float32(scale), FER48)
    assert sharpness(crop) < LIMITS.min_sharpness
    assert judged(crop) == "too_blurred"


def test_more_blur_is_never_sharper(photo, points) -> None:
    """Sharpness falls as the lens goes out of focus."""
    crops = [cropped(cv2.GaussianBlur(photo, (0, 0), s), points) for s in (0.5, 1, 2, 3, 4, 6)]
    values = [sharpness(crop) for crop in crops]
    assert values == sorted(values, reverse=True)


@given(st.floats(0.3, 1.0), st.integers(0, 60))
def test_light_and_contrast_do_not_blur(photo, points, gain: float, lift: int) -> None:
    """A greyer picture of the same face is about as sharp."""
    crop = cropped(photo, points)
    faded = np.clip(np.rint(crop * gain) + lift, 0, 255).astype(np.uint8)
    expected = sharpness(np.clip(crop.astype(int), 0, 255).astype(np.uint8))
    assert sharpness(faded) == pytest.approx(expected, rel=0.1)


def judged(crop: np.ndarray) -> str:
    return FaceQualityFilter(LIMITS).check(1, FACE, lambda: crop)[0]


@pytest.mark.parametrize(
    ("light", "noise", "quality"),
    [(1.0, 2, "ok"), (0.6, 3, "ok"), (0.4, 1, "ok"), (0.25, 14, "too_dark"), (1.0, 90, "too_dark")],
)
def test_the_dark_is_what_the_noise_drowns(points, photo, light, noise, quality) -> None:
    """Less light alone is no reason, nor a little noise in good light; both together are."""
    size = np.ptp(points[:, 0])
    shown = cv2.resize(photo, None, fx=48 / size, fy=48 / size, interpolation=cv2.INTER_AREA)
    crop = aligned_crop(dimmed(shown, light, noise), points * np.float32(48 / size), FER48)
    assert judged(crop) == quality


def test_more_noise_is_never_clearer(photo, points) -> None:
    """Contrast to noise falls with the noise."""
    crop = cropped(photo, points)
    values = [contrast_to_noise(dimmed(crop, 1, noise)) for noise in (2, 4, 8, 16, 32)]
    assert values == sorted(values, reverse=True)


@given(arrays.arrays(np.uint8, st.integers(1, 64).map(lambda size: (size, size))))
def test_any_crop_has_a_measure(crop: np.ndarray) -> None:
    """Whatever the pixels: sharpness within 0 and 1, contrast to noise from 0 on, never NaN."""
    assert 0 <= sharpness(crop) <= 1
    assert contrast_to_noise(crop) >= 0


@pytest.mark.parametrize("size", [1, 2, 3, 48, 96])
def test_where_nothing_is_nothing_is_blurred(size) -> None:
    """A crop of one grey level is neither blurred nor noisy."""
    crop = np.full((size, size), 128, np.uint8)
    assert (sharpness(crop), contrast_to_noise(crop)) == (1.0, math.inf)
    assert judged(crop) == "ok"


def test_a_face_at_the_threshold_of_sharpness_does_not_flicker(photo, points) -> None:
    """Once too blurred, a face must be sharper by a tenth to be classified again."""
    crop = cropped(photo, points)
    value = sharpness(crop)
    gate = FaceQualityFilter(QualityConfig(min_sharpness=value * 0.95))
    blurred = cv2.GaussianBlur(crop, (0, 0), 3)
    said = [gate.check(1, FACE, lambda c=c: c)[0] for c in (crop, blurred, crop)]
    assert said == ["ok", "too_blurred", "too_blurred"]
    gate.forget(1)
    assert gate.check(1, FACE, lambda: crop)[0] == "ok"
