"""Degraded views: random, repeatable, within their limits, and nothing where nothing is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from host_training.config import RECIPES, TrainConfig
from host_training.data.samples import Samples
from host_training.training.augment import Augmentation
from host_training.training.batches import TrainingBatches
from host_training.training.degrade import active_kinds, degraded

STRENGTHS = {
    "blur": 2.8,
    "motion": 9.0,
    "noise": 26.0,
    "gamma": 0.9,
    "darkness": 0.85,
    "overexposure": 2.4,
    "resolution": 16.0,
    "jpeg": 10.0,
    "occlusion": 0.5,
}
STILL = Augmentation(flip=False, rotation_deg=0, zoom=0, shift=0, contrast=0, brightness=0)


def face(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.uniform(0, 255, (48, 48)).astype(np.float32)


@pytest.mark.parametrize("kind", STRENGTHS)
@given(seed=st.integers(0, 1 << 32))
def test_every_kind_alone_gives_another_picture(kind: str, seed: int) -> None:
    """A view that is degraded differs from its picture, stays one, and leaves the picture alone."""
    how = Augmentation(degrade=1.0, **{kind: STRENGTHS[kind]})
    before = face()
    image = before.copy()
    seen = degraded(image, np.random.default_rng(seed), how)
    assert (seen.dtype, seen.shape) == (np.float32, (48, 48))
    assert seen.min() >= 0
    assert seen.max() <= 255
    np.testing.assert_array_equal(image, before)
    again = degraded(image, np.random.default_rng(seed), how)
    np.testing.assert_array_equal(seen, again)


@pytest.mark.parametrize("kind", STRENGTHS)
def test_a_larger_limit_degrades_more(kind: str) -> None:
    """Over many views, the mean distance to the picture grows with the limit."""

    def distance(limit: float) -> float:
        how = Augmentation(degrade=1.0, **{kind: limit})
        views = (degraded(face(i), np.random.default_rng(i), how) - face(i) for i in range(60))
        return float(np.mean([np.abs(view).mean() for view in views]))

    strong = STRENGTHS[kind]
    # Of these two the limit is what is left at least.
    weak = 40.0 if kind == "resolution" else 80.0 if kind == "jpeg" else strong / 3
    assert distance(weak) < distance(strong)


def test_the_share_of_degraded_views_is_the_one_asked_for() -> None:
    """About that share differs; with a share or all limits at 0 none does."""
    how = Augmentation(degrade=0.6, noise=20.0, darkness=0.5)
    changed = [
        not np.array_equal(degraded(face(), np.random.default_rng(i), how), face())
        for i in range(600)
    ]
    assert 0.53 < np.mean(changed) < 0.67
    for none in (replace(how, degrade=0.0), Augmentation(degrade=1.0)):
        assert active_kinds(none) == ()
        np.testing.assert_array_equal(degraded(face(), np.random.default_rng(0), none), face())


def test_the_recipe_leaves_two_kinds_for_the_measurement() -> None:
    """Occlusion and JPEG are never trained on by `--recipe robust`; the other kinds are."""
    kinds = active_kinds(RECIPES["robust"].augmentation)
    assert set(STRENGTHS) - set(kinds) == {"occlusion", "jpeg"}


def test_batches_degrade_by_seed_epoch_and_row(striped: Samples) -> None:
    """The same epoch gives the same views, another one others, and none without degradation."""
    how = replace(STILL, degrade=1.0, noise=20.0)
    config = TrainConfig(batch_size=16, seed=5, augmentation=how)
    batches = TrainingBatches(striped, config)
    first, again = ([b.inputs["pixels"] for b in batches.epoch(2)] for _ in range(2))
    np.testing.assert_array_equal(np.stack(first), np.stack(again))
    other = np.stack([b.inputs["pixels"] for b in batches.epoch(3)])
    assert not np.array_equal(np.stack(first), other)
    still = TrainingBatches(striped, TrainConfig(batch_size=16, seed=5, augmentation=STILL))
    rows = {image.tobytes() for image in striped.images.astype(np.float32)}
    plain = [view[..., 0].tobytes() for b in still.epoch(2) for view in b.inputs["pixels"]]
    assert rows.issuperset(plain)
    assert rows.isdisjoint(view[..., 0].tobytes() for pixels in first for view in pixels)


class _Listening:
    """A teacher that notes what it is shown."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def answers(self, *asked: np.ndarray) -> np.ndarray:
        _table, chosen, pixels, _mirrored = asked
        self.seen.append(pixels.copy())
        return np.full((len(chosen), 4), 0.25, np.float32)

    def keep(self, table: int) -> None:
        """Nothing is kept."""


def test_teachers_see_views_before_they_are_degraded(striped: Samples) -> None:
    """What a teacher is asked about is the plain view; what the student learns from is not."""
    how = replace(STILL, degrade=1.0, noise=20.0)
    teacher = _Listening()
    config = TrainConfig(batch_size=16, augmentation=how)
    batches = list(TrainingBatches(striped, config, teachers=teacher).epoch(0))
    rows = {image.tobytes() for image in striped.images.astype(np.float32)}
    assert rows.issuperset(view[..., 0].tobytes() for seen in teacher.seen for view in seen)
    assert rows.isdisjoint(view[..., 0].tobytes() for b in batches for view in b.inputs["pixels"])
