from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.bundle.golden import probes
from converters.convert.calibrate import balanced_choice, choose_calibration
from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from edge.contract.align import FER48
from edge.contract.labels import EMOTIONS
from edge.contract.metadata import Dataset
from edge.inference.golden import MIN_PROBES


def grey_rows(counts: tuple[int, ...]) -> LabelledImages:
    """Rows whose pictures tell their own index, never black or white."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.full((len(labels), 48, 48), 100, np.uint8)
    images[:, 5, 5] = np.arange(len(labels)) % 200 + 20
    dataset = Dataset(name="grey", split="Training", rows=len(labels), fingerprint="f")
    return LabelledImages(images, labels, EMOTIONS[: len(counts)], dataset, "majority")


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6).filter(any),
    st.integers(1, 100),
    st.integers(0, 5),
)
def test_every_class_gets_its_share(counts, count, seed):
    """A class has as many rows as every other, or all that it has; no row twice."""
    labels = np.repeat(np.arange(len(counts)), counts)
    chosen = balanced_choice(labels, count, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(labels))
    taken = np.bincount(labels[chosen], minlength=len(counts))
    short = taken < counts
    if short.any():
        assert taken.max() - taken[short].min() <= 1


def test_the_choice_follows_the_seed():
    """The same seed chooses the same rows, another one others."""
    labels = np.arange(1000) % 8
    first = balanced_choice(labels, 80, 0)
    assert np.array_equal(first, balanced_choice(labels, 80, 0))
    assert not np.array_equal(first, balanced_choice(labels, 80, 1))


def test_the_input_range_is_that_of_a_pixel():
    """Two pixels of one picture reach 0 and 255; all else, and the source, is as it was."""
    rows = grey_rows((30, 5, 1))
    before = rows.images.copy()
    chosen = choose_calibration(rows, 20)
    assert (chosen.images.min(), chosen.images.max()) == (0, 255)
    assert ((chosen.images == 0) | (chosen.images == 255)).sum() == 2
    assert np.array_equal(rows.images, before)
    assert np.bincount(chosen.labels).tolist() == [14, 5, 1]


def test_the_choice_has_a_fingerprint_of_its_own():
    """The metadata can tell which rows calibrated a model, not only where they came from."""
    rows = grey_rows((30, 30))
    chosen = [choose_calibration(rows, 20, seed).dataset for seed in (0, 0, 1)]
    assert (chosen[0].name, chosen[0].split, chosen[0].rows) == ("grey", "Training", 20)
    assert chosen[0] == chosen[1]
    assert len({rows.dataset.fingerprint, chosen[0].fingerprint, chosen[2].fingerprint}) == 3


@pytest.mark.parametrize(("n", "count"), [(0, 10), (10, 0), (10, -1)])
def test_calibrating_on_nothing_is_refused(n, count):
    """No rows, or a number that is none, is an error that tells both."""
    rows = grey_rows((10,))[:n]
    with pytest.raises(ConversionError, match=f"got {n} and was asked for {count}"):
        choose_calibration(rows, count)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((10, 48, 48), np.float32)}, "images must be uint8"),
        ({"images": np.zeros((10, 48, 48, 1), np.uint8)}, "images must be uint8"),
        ({"labels": np.zeros(9, int)}, "labels must be integers"),
        ({"labels": np.zeros(10)}, "labels must be integers"),
        ({"labels": np.full(10, -1)}, r"labels must lie in 0\.\.0, got -1\.\.-1"),
        ({"labels": np.full(10, 3)}, r"labels must lie in 0\.\.0, got 3\.\.3"),
    ],
)
def test_rows_that_contradict_themselves_can_not_be_built(changes, message):
    """Dtypes, shapes and label numbers are checked where rows are made."""
    with pytest.raises(ValueError, match=message):
        replace(grey_rows((10,)), **changes)


def test_answers_are_matched_by_name():
    """A data set and a model may order their emotions differently."""
    rows = grey_rows((1, 1, 1))  # neutral, happiness, surprise
    assert rows.labels_for(("surprise", "neutral", "happiness")).tolist() == [1, 2, 0]
    with pytest.raises(ConversionError, match="grey has samples of surprise, the model knows"):
        rows.labels_for(("neutral", "happiness"))


def test_probes_are_many_different_and_always_the_same():
    """The drawn probes reach from black to white and repeat to the pixel."""
    pictures = probes(FER48)
    assert len(pictures) >= MIN_PROBES
    assert pictures.dtype == np.uint8
    assert pictures.shape[1:] == (48, 48)
    assert len(np.unique(pictures.reshape(len(pictures), -1), axis=0)) == len(pictures)
    assert (pictures.min(), pictures.max()) == (0, 255)
    assert np.array_equal(pictures, probes(FER48))
