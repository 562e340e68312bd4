"""Batches are random, yet a pure function of seed and epoch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_training.augment import DRAWS, Augmentation, view
from host_training.batches import TrainingBatches, balanced_class_weights
from host_training.data.load import one_hot
from host_training.data.samples import Samples

STILL = Augmentation(
    flip=False, rotation_deg=0, zoom=0, shift=0, contrast=0, brightness=0, cutout=0
)


def samples(n: int) -> Samples:
    hard = np.arange(n) % 2
    images = np.random.default_rng(0).integers(0, 256, (n, 48, 48), np.uint8)
    return Samples(
        images=images,
        targets=one_hot(hard, 2),
        labels=("neutral", "happiness"),
        hard=hard,
        split=np.array(["Training"] * n),
        name="made",
        form="made up",
        protocol="labels",
    )


uniform = st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS)


@given(uniform)
def test_no_augmentation_is_the_picture_itself(draws: list[float]) -> None:
    """With every limit at zero a view equals its picture to the pixel."""
    image = samples(1).images[0]
    np.testing.assert_array_equal(view(image, np.array(draws), STILL), image)


@given(uniform)
def test_a_flip_is_exact(draws: list[float]) -> None:
    """Mirroring alone moves whole pixels, half of the time."""
    image = samples(1).images[0]
    how = Augmentation(flip=True, rotation_deg=0, zoom=0, shift=0, contrast=0, brightness=0)
    expected = image[:, ::-1] if draws[0] < 0.5 else image
    np.testing.assert_array_equal(view(image, np.array(draws), how), expected)


@given(uniform)
def test_views_stay_pictures(draws: list[float]) -> None:
    """A view is float32 in 0..255 and does not touch its picture, whatever the draws."""
    image = samples(1).images[0]
    before = image.copy()
    seen = view(image, np.array(draws), Augmentation(cutout=0.3))
    assert (seen.dtype, seen.shape) == (np.float32, (48, 48))
    assert seen.min() >= 0
    assert seen.max() <= 255
    np.testing.assert_array_equal(image, before)


def test_an_epoch_needs_no_memory_of_the_one_before() -> None:
    """Batches of epoch 3 are the same whether or not epochs 0 to 2 were drawn before."""
    used = TrainingBatches(samples(20), 8, seed=1, how=Augmentation())
    for epoch in range(3):
        list(used.epoch(epoch))
    fresh = TrainingBatches(samples(20), 8, seed=1, how=Augmentation())
    for (a, b, _), (c, d, _) in zip(used.epoch(3), fresh.epoch(3), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


def test_epochs_and_seeds_differ() -> None:
    """Another epoch or another seed gives other views."""
    first = next(TrainingBatches(samples(8), 8, seed=1, how=Augmentation()).epoch(0))[0]
    later = next(TrainingBatches(samples(8), 8, seed=1, how=Augmentation()).epoch(1))[0]
    other = next(TrainingBatches(samples(8), 8, seed=2, how=Augmentation()).epoch(0))[0]
    assert not np.array_equal(first, later)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("rows", "size", "sizes"), [(20, 8, [8, 8]), (5, 8, [5]), (8, 8, [8])])
def test_batches_are_full(rows: int, size: int, sizes: list[int]) -> None:
    """Batches that are not full are left out, unless there is no other; no row comes twice."""
    batches = TrainingBatches(samples(rows), size, seed=0, how=STILL)
    drawn = list(batches.epoch(0))
    assert [len(images) for images, _, _ in drawn] == sizes
    assert len(batches) == len(sizes)
    seen = np.concatenate([images for images, _, _ in drawn]).reshape(sum(sizes), -1)
    assert len(np.unique(seen, axis=0)) == sum(sizes)


def test_class_weights_balance() -> None:
    """Weighted, every label has the same mass, and the rows weigh 1 on average."""
    data = samples(8)
    lopsided = replace(data, targets=one_hot(np.array([0, 0, 0, 0, 0, 0, 1, 1]), 2))
    weights = balanced_class_weights(lopsided)
    mass = lopsided.targets.sum(axis=0) * weights
    np.testing.assert_allclose(mass, [4, 4])
    batches = TrainingBatches(lopsided, 8, 0, STILL, weights)
    _, targets, row_weights = next(batches.epoch(0))
    assert row_weights is not None
    np.testing.assert_allclose(row_weights, weights[targets.argmax(axis=1)])
