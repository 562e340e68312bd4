"""Corruptions: the same everywhere, stronger by severity, and as strong on a large face."""

import ast
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import host_training
from host_training.data import corruptions
from host_training.data.corruptions import HELD_OUT, KINDS, SEVERITIES, corrupted, one_each

RANDOM = ("motion", "noise", "low_light", "occlusion")


def drawing(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw something with edges at every scale, the same picture at any size."""
    generator = np.random.default_rng(seed)
    fine = generator.integers(0, 256, (24, 24), np.uint8)
    return cv2.resize(fine, (side, side), interpolation=cv2.INTER_NEAREST)


def damage(image: NDArray[np.uint8], kind: str, severity: int, **options: object) -> float:
    """Return the root mean square change in grey levels."""
    change = corrupted(image, kind, severity, **options).astype(float) - image
    return float(np.sqrt((change**2).mean()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(48, 48), (61, 37), (1, 1), (48, 48, 3)])
def test_shape_and_dtype_stay(kind: str, shape: tuple[int, ...]) -> None:
    """A corrupted picture has the shape of the picture, and the picture itself is left alone."""
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    before = image.copy()
    image.flags.writeable = False
    for severity in SEVERITIES:
        result = corrupted(image, kind, severity)
        assert (result.dtype, result.shape) == (np.uint8, shape)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kind", KINDS)
def test_stronger_by_severity(kind: str) -> None:
    """Every severity changes a picture more than the one below it."""
    changes = [np.mean([damage(drawing(48, i), kind, s) for i in range(30)]) for s in SEVERITIES]
    assert changes[0] > 0
    assert all(low < high for low, high in itertools.pairwise(changes)), changes


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_each_time(kind: str) -> None:
    """The result follows from picture, kind, severity and seed; another seed gives another one."""
    image = drawing(48)
    again = [corrupted(image, kind, 3, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(again[0], again[1])
    assert (again[0] != again[2]).any() == (kind in RANDOM)


def test_random_parts_do_not_depend_on_severity() -> None:
    """A severer occlusion hides what the milder one hid, and more."""
    image = np.full((48, 48), 200, np.uint8)
    hidden = [corrupted(image, "occlusion", s) != 200 for s in SEVERITIES]
    for mild, severe in itertools.pairwise(hidden):
        assert (severe >= mild).all()
        assert severe.sum() > mild.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [2, 5])
def test_as_strong_on_a_large_face(kind: str, times: int) -> None:
    """A face of several times 48 pixels, shrunk to its crop, has lost about as much."""
    small, large = [], []
    for seed in range(12):
        image = drawing(48, seed)
        big = np.kron(image, np.ones((times, times), np.uint8))
        worse = corrupted(big, kind, 3)
        crop = cv2.resize(worse, (48, 48), interpolation=cv2.INTER_AREA)
        small.append(damage(image, kind, 3))
        large.append(np.sqrt(((crop.astype(float) - image) ** 2).mean()))
    assert np.mean(large) == pytest.approx(np.mean(small), rel=0.35)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_goes_by_the_face_and_not_by_the_picture(kind: str) -> None:
    """Of two pictures of one size, that with the larger face is worked on more coarsely."""
    image = drawing(192)
    near, far = (corrupted(image, kind, 3, face_width=width) for width in (192, 48))
    assert (near != far).any() == (kind != "overexposure")


def test_occlusion_is_where_the_face_is() -> None:
    """The square lies on the face, wherever in the picture that is."""
    image = np.full((300, 400), 90, np.uint8)
    changed = corrupted(image, "occlusion", 1, face_width=60, middle=(330, 70)) != 90
    y, x = np.nonzero(changed)
    assert 300 - 30 < x.mean() < 360 + 30
    assert 40 - 30 < y.mean() < 100 + 30
    assert (np.ptp(x) + 1, np.ptp(y) + 1) == (12, 12)


def test_colour_is_as_its_grey() -> None:
    """A grey picture in three channels gives what the picture in one gives."""
    image = drawing(96)
    for kind in set(KINDS) - {"jpeg", *RANDOM}:  # JPEG is coded otherwise; content feeds the draws
        colour = corrupted(np.dstack([image] * 3), kind, 4)
        np.testing.assert_array_equal(colour[..., 1], corrupted(image, kind, 4), err_msg=kind)


def test_a_face_below_the_resolution_is_left_alone() -> None:
    """What is smaller than the pixels that would be left has nothing to lose."""
    image = drawing(48)
    np.testing.assert_array_equal(corrupted(image, "low_resolution", 5, face_width=17), image)


@pytest.mark.parametrize(
    ("image", "kind", "severity", "width", "said"),
    [
        (drawing(48), "fog", 1, None, "'fog'"),
        (drawing(48), "noise", 0, None, "severity 0"),
        (drawing(48), "noise", 6, None, "severity 6"),
        (drawing(48).astype(float), "noise", 1, None, "float64"),
        (np.zeros((4, 4, 4), np.uint8), "noise", 1, None, r"\(4, 4, 4\)"),
        (np.zeros((0, 4), np.uint8), "noise", 1, None, r"\(0, 4\)"),
        (drawing(48), "noise", 1, 0.0, "0.0"),
        (drawing(48), "noise", 1, float("nan"), "nan"),
    ],
)
def test_refused(
    image: NDArray[np.uint8], kind: str, severity: int, width: float | None, said: str
) -> None:
    """What is no picture, kind, severity or width is refused by name."""
    with pytest.raises(ValueError, match=said):
        corrupted(image, kind, severity, face_width=width)


CORRUPTIONS = corrupted.__module__


def test_training_does_not_know_the_benchmark() -> None:
    """Nothing that makes training pictures imports the corruptions that a model is measured on."""
    assert set(HELD_OUT) < set(KINDS)
    root = Path(host_training.__path__[0])
    files = [root / "config.py", *sorted((root / "training").glob("*.py"))]
    assert len(files) > 10
    for file in files:
        modules = {
            node.module
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom)
        }
        assert CORRUPTIONS not in modules, file.name


def test_each_picture_is_corrupted_once_by_every_kind_alike() -> None:
    """The same pictures for the same seed; each kind but the held-out ones at each severity."""
    images = np.stack([drawing(48, seed) for seed in range(60)])
    worse = one_each(images)
    np.testing.assert_array_equal(worse, one_each(images))
    assert (worse != one_each(images, seed=1)).any()
    dealt = []
    for image, result in zip(images, worse, strict=True):
        assert (result != image).any()
        dealt += [
            (kind, severity)
            for kind, severity in itertools.product(KINDS, SEVERITIES)
            if (corrupted(image, kind, severity) == result).all()
        ]
    expected = set(itertools.product(set(KINDS) - set(HELD_OUT), SEVERITIES))
    assert len(dealt) == 2 * len(expected) == len(images)
    assert set(dealt) == expected


def test_the_levels_are_documented() -> None:
    """docs/evaluation.md gives the levels of severity 1, 3 and 5 that the code has."""
    text = Path("docs/evaluation.md").read_text("utf-8")
    for name in (
        "DEFOCUS",
        "MOTION",
        "NOISE",
        "OVEREXPOSURE",
        "JPEG",
        "LOW_RESOLUTION",
        "OCCLUSION",
    ):
        levels = getattr(corruptions, name)
        assert "| " + " | ".join(f"{levels[i]:g}" for i in (0, 2, 4)) + " |" in text, name
    light = [corruptions.LOW_LIGHT[i] for i in (0, 2, 4)]
    assert "| " + " | ".join(f"{share:.2g}, {noise:g}" for share, noise in light) + " |" in text
