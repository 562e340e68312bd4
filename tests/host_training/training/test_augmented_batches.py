"""Batches are random, yet a pure function of seed and epoch."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from edge.contract.mesh_features import (
    FEATURE_COUNT,
    feature_norm,
    mirrored_features,
    standardized,
)
from host_training.config import TrainConfig
from host_training.data.load import one_hot
from host_training.data.samples import Samples
from host_training.distributed.workers import Alone
from host_training.metrics.inputs import MeshRows
from host_training.training.augment import DRAWS, Augmentation, views
from host_training.training.batches import Batch, Mix, TrainingBatches, balanced_class_weights

STILL = Augmentation(
    flip=False, rotation_deg=0, zoom=0, shift=0, contrast=0, brightness=0, cutout=0
)


def settings(size: int, seed: int = 0, how: Augmentation = STILL) -> TrainConfig:
    return TrainConfig(batch_size=size, seed=seed, augmentation=how)


def samples(n: int) -> Samples:
    class_ids = np.arange(n) % 2
    images = np.random.default_rng(0).integers(0, 256, (n, 48, 48), np.uint8)
    return Samples(
        images=images,
        targets=one_hot(class_ids, 2),
        labels=("neutral", "happiness"),
        class_ids=class_ids,
        split=np.array(["Training"] * n),
        name="made",
        form="made up",
        protocol="labels",
    )


def view(image: np.ndarray, draws: np.ndarray, how: Augmentation) -> np.ndarray:
    return views(image[None], draws[None], how)[0]


def mixed(batch: Batch, alpha: float, generator: np.random.Generator) -> Batch:
    every = np.arange(len(batch.targets))
    return Mix.drawn(len(every), alpha, generator).applied(batch, every, every)


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
    used = TrainingBatches(samples(20), settings(8, 1, Augmentation()))
    for epoch in range(3):
        list(used.epoch(epoch))
    fresh = TrainingBatches(samples(20), settings(8, 1, Augmentation()))
    for a, b in zip(used.epoch(3), fresh.epoch(3), strict=True):
        np.testing.assert_array_equal(a.inputs["pixels"], b.inputs["pixels"])
        np.testing.assert_array_equal(a.targets, b.targets)


def test_epochs_and_seeds_differ() -> None:
    """Another epoch or another seed gives other views."""
    first = next(TrainingBatches(samples(8), settings(8, 1, Augmentation())).epoch(0))
    later = next(TrainingBatches(samples(8), settings(8, 1, Augmentation())).epoch(1))
    other = next(TrainingBatches(samples(8), settings(8, 2, Augmentation())).epoch(0))
    assert not np.array_equal(first.inputs["pixels"], later.inputs["pixels"])
    assert not np.array_equal(first.inputs["pixels"], other.inputs["pixels"])


@pytest.mark.parametrize(("rows", "size", "sizes"), [(20, 8, [8, 8]), (5, 8, [5]), (8, 8, [8])])
def test_batches_are_full(rows: int, size: int, sizes: list[int]) -> None:
    """Batches that are not full are left out, unless there is no other; no row comes twice."""
    batches = TrainingBatches(samples(rows), settings(size))
    drawn = list(batches.epoch(0))
    assert [len(batch.targets) for batch in drawn] == sizes
    assert len(batches) == len(sizes)
    seen = np.concatenate([batch.inputs["pixels"] for batch in drawn]).reshape(sum(sizes), -1)
    assert len(np.unique(seen, axis=0)) == sum(sizes)


def test_class_weights_balance() -> None:
    """Weighted, every label has the same mass, and the rows weigh 1 on average."""
    data = samples(8)
    lopsided = replace(data, targets=one_hot(np.array([0, 0, 0, 0, 0, 0, 1, 1]), 2))
    weights = balanced_class_weights(lopsided.targets)
    mass = lopsided.targets.sum(axis=0) * weights
    np.testing.assert_allclose(mass, [4, 4])
    batch = next(TrainingBatches(lopsided, settings(8), weights=weights).epoch(0))
    assert batch.weights is not None
    np.testing.assert_allclose(batch.weights, weights[batch.targets.argmax(axis=1)])


@given(st.integers(0, 10_000), st.floats(0.1, 2))
def test_mixing_keeps_what_a_batch_is(seed: int, alpha: float) -> None:
    """Mixed rows are convex: pixels stay in range, targets sum to 1, and both are mixed alike."""
    batch = next(TrainingBatches(samples(8), settings(8)).epoch(0))
    marked = Batch({"pixels": batch.targets}, batch.targets, None)
    seen = mixed(marked, alpha, np.random.default_rng(seed))
    np.testing.assert_allclose(seen.targets.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(seen.inputs["pixels"], seen.targets)
    whole = mixed(batch, alpha, np.random.default_rng(seed))
    assert whole.inputs["pixels"].min() >= 0
    assert whole.inputs["pixels"].max() <= 255.001


class Worker(Alone):
    """One of several who never talk to each other."""

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_the_parts_of_all_workers_are_the_batch(count: int, mixup: float) -> None:
    """Whatever the number of workers, together they get the batches that one process gets."""
    config = replace_struct(
        settings(8, how=Augmentation(degrade=0.5, noise=9.0)), mixup=mixup, class_weights=True
    )
    data, weights = samples(20), np.array((0.3, 1.7), np.float32)
    for epoch in (0, 1):
        whole = TrainingBatches(data, config, weights=weights).epoch(epoch)
        parts = [
            TrainingBatches(data, config, weights=weights, workers=Worker(index, count)).epoch(
                epoch
            )
            for index in range(count)
        ]
        for batch, *own in zip(whole, *parts, strict=True):
            for name in ("targets", "weights"):
                joined = np.concatenate([getattr(part, name) for part in own])
                np.testing.assert_array_equal(joined, getattr(batch, name))
            pixels = np.concatenate([part.inputs["pixels"] for part in own])
            np.testing.assert_array_equal(pixels, batch.inputs["pixels"])


def test_the_mesh_is_mirrored_with_its_view() -> None:
    """Where a view is mirrored its mesh features are, too, and where it is not, they are not."""
    generator = np.random.default_rng(0)
    mesh = generator.normal(0, 1, (64, FEATURE_COUNT)).astype(np.float32)
    data = replace(samples(64), mesh=mesh)
    norm = feature_norm(mesh)
    how = replace_struct(STILL, flip=True)
    batches = TrainingBatches(data, settings(64, how=how), mesh=MeshRows(data, norm))
    batch = next(batches.epoch(0))
    flipped = 0
    for pixels, own in zip(batch.inputs["pixels"][..., 0], batch.inputs["mesh"], strict=True):
        (i,) = [
            i
            for i, image in enumerate(data.images)
            if np.array_equal(pixels, image) or np.array_equal(pixels, image[:, ::-1])
        ]
        mirrored = not np.array_equal(pixels, data.images[i])
        flipped += mirrored
        expected = mirrored_features(mesh[i]) if mirrored else mesh[i]
        np.testing.assert_allclose(own, standardized(expected, norm), atol=1e-6)
    assert 0 < flipped < 64


def test_rows_with_an_aligned_crop_are_shown_as_one_or_the_other() -> None:
    """With ``crops = both`` about half of an epoch is aligned, and each epoch another half."""
    rows = samples(400)
    rows = replace(rows, images=np.zeros_like(rows.images), crops="both")
    both = replace(rows, aligned=np.full_like(rows.images, 255))
    batches = TrainingBatches(both, settings(40))

    def shown(epoch: int) -> np.ndarray:
        pixels = np.concatenate([batch.inputs["pixels"] for batch in batches.epoch(epoch)])
        assert set(np.unique(pixels)) == {0, 255}
        return pixels[:, 0, 0, 0] == 255

    first, second = shown(0), shown(1)
    assert 0.4 < first.mean() < 0.6
    assert (first != second).mean() > 0.3
    np.testing.assert_array_equal(first, shown(0))
    np.testing.assert_array_equal(both.images, rows.images)
