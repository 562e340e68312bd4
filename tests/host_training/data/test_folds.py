"""Folds share nothing that would tell a model about the rows that it is measured on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.errors import ConfigError
from host_training.data.folds import alike_in_labels, assign_folds, best_by, leak
from host_training.data.samples import EXCLUDED, Samples, picture_keys
from host_training.errors import DataError

ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 14), st.integers(0, 40)), min_size=30, max_size=80
)


def rows_of(
    class_ids: list[int], pictures: list[int] | None = None, subjects: list[int] | None = None
) -> Samples:
    """Make rows; equal numbers of ``pictures`` are the same picture."""
    answers: NDArray[np.int64] = np.array(class_ids)
    n = len(class_ids)
    images = np.zeros((n, 48, 48), np.uint8)
    images[:, 0, :2] = np.stack(np.divmod(pictures or np.arange(n), 256), axis=1)
    return Samples(
        images=images,
        targets=np.eye(3, dtype=np.float32)[answers],
        labels=("neutral", "happiness", "surprise"),
        class_ids=answers,
        split=np.full(n, "Training"),
        name="made",
        form="made up",
        protocol="labels",
        subjects=None if subjects is None else np.array([f"S{i:03d}" for i in subjects]),
    )


def assert_disjoint(names: NDArray[np.generic], fold: NDArray[np.int64]) -> None:
    for number in np.unique(fold):
        inside, outside = names[fold == number], names[fold != number]
        assert not np.isin(inside, outside).any()


@given(ROWS, st.integers(2, 4), st.integers(0, 3))
@settings(deadline=None)
def test_by_subject(drawn: list[tuple[int, int, int]], folds: int, seed: int) -> None:
    """No subject and no picture is in two folds, every row is in one, and none is empty."""
    class_ids, subjects, pictures = (list(column) for column in zip(*drawn, strict=True))
    rows = rows_of(class_ids, pictures, subjects)
    try:
        fold = assign_folds(rows, folds, "subject", seed)
    except DataError:
        return  # shared pictures have joined the subjects into fewer groups than folds
    assert rows.subjects is not None
    assert_disjoint(rows.subjects, fold)
    assert_disjoint(picture_keys(rows.images), fold)
    assert set(fold.tolist()) == set(range(folds))
    assert leak(rows, fold) is None


@given(st.lists(st.integers(0, 2), min_size=40, max_size=80), st.integers(2, 5))
@settings(deadline=None)
def test_by_picture(class_ids: list[int], folds: int) -> None:
    """Copies of a picture stay together."""
    rows = rows_of(class_ids, [i // 2 for i in range(len(class_ids))])
    fold = assign_folds(rows, folds, "picture")
    assert_disjoint(picture_keys(rows.images), fold)
    assert set(fold.tolist()) == set(range(folds))
    assert leak(rows, fold) is None


def test_subjects_linked_by_a_picture_stay_together() -> None:
    """Two subjects that share one picture are in one fold, and so is a third linked to them."""
    pictures = list(range(60))
    pictures[3], pictures[9] = pictures[8], pictures[14]  # subjects 0 and 1; 1 and 2
    rows = rows_of([i % 3 for i in range(60)], pictures, [i // 6 for i in range(60)])
    for seed in range(5):
        fold = assign_folds(rows, 3, "subject", seed)
        assert len(set(fold[:18].tolist())) == 1


def test_labels_are_alike_in_every_fold() -> None:
    """Each fold gets its share of each label."""
    class_ids = [0] * 60 + [1] * 30 + [2] * 10
    fold = assign_folds(rows_of(class_ids), 5, "picture")
    table = np.array([np.bincount(np.array(class_ids)[fold == i], minlength=3) for i in range(5)])
    np.testing.assert_array_equal(table, [[12, 6, 2]] * 5)


def test_a_rare_emotion_is_no_harm() -> None:
    """An emotion with one row is in one fold, without a warning."""
    fold = assign_folds(rows_of([0] * 20 + [1] * 20 + [2]), 4, "picture")
    assert set(fold.tolist()) == {0, 1, 2, 3}


def test_random_folds_leak_and_it_is_said() -> None:
    """At random, subjects are on both sides, and their number is told."""
    rows = rows_of([i % 3 for i in range(60)], subjects=[i // 10 for i in range(60)])
    assert (
        leak(rows, assign_folds(rows, 5, "random")) == "6 of 6 subjects are in more than one fold"
    )
    by_picture = assign_folds(rows, 5, "picture")
    assert "of 6 subjects" in str(leak(rows, by_picture)), "pictures of one person leak, too"


def test_copies_at_random_leak() -> None:
    """Where no subject is known, a picture on both sides is a leak as well."""
    rows = rows_of([0, 1, 2, 0] * 10, [i % 20 for i in range(40)])
    assert "of 20 pictures are in more than one fold" in str(
        leak(rows, assign_folds(rows, 5, "random"))
    )


def test_the_seed_decides() -> None:
    """The same seed gives the same folds, another one others."""
    rows = rows_of([i % 3 for i in range(60)])
    first, again, other = (assign_folds(rows, 3, "picture", seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_rows_without_an_answer_are_dealt_out_too() -> None:
    """Rows that are only learnt from are in a fold by what they lean to."""
    rows = rows_of([i % 3 for i in range(30)])
    rows.class_ids[::2] = EXCLUDED
    fold = assign_folds(rows, 3, "picture")
    leaning = np.arange(30) % 3
    table = np.array([np.bincount(leaning[fold == i], minlength=3) for i in range(3)])
    assert table.min() == 3
    assert table.max() == 4


def test_the_strictest_way_is_the_default() -> None:
    """Subjects where they are known, else pictures."""
    assert best_by(rows_of([0, 1])) == "picture"
    assert best_by(rows_of([0, 1], subjects=[1, 2])) == "subject"


@pytest.mark.parametrize(
    ("rows", "folds", "by", "error", "message"),
    [
        (rows_of([0, 1] * 10), 1, "picture", ConfigError, "--folds must be 2 or more, got 1"),
        (rows_of([0, 1] * 10), 2, "subject", ConfigError, "does not tell who.*--by picture"),
        (
            rows_of([0, 1] * 10, subjects=[1, 2] * 10), 3, "subject", DataError,
            "2 subject groups.*too few for 3 folds",
        ),
        (rows_of([0, 1] * 2), 3, "picture", DataError, "2 samples of the commonest emotion"),
    ],
)  # fmt: skip
def test_what_can_not_be_divided(
    rows: Samples, folds: int, by: str, error: type[Exception], message: str
) -> None:
    """One fold, unknown subjects, and too few groups are refused by name."""
    with pytest.raises(error, match=message):
        assign_folds(rows, folds, by)


@pytest.mark.parametrize("number", [8, 9, 40, 77, 150])
def test_a_choice_that_is_alike_in_its_labels(number: int) -> None:
    """Any number of rows has of each label its share, to within one, and of the rarest one."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (90, 40, 19, 1)))
    chosen = alike_in_labels(labels, number)
    assert len(np.unique(chosen)) == len(chosen) == number
    assert (np.diff(chosen) > 0).all()
    counts = np.bincount(labels[chosen], minlength=4)
    share = np.bincount(labels) * number / len(labels)
    assert counts.min() >= 1
    assert (np.abs(counts - share) <= 2).all()
    np.testing.assert_array_equal(chosen, alike_in_labels(labels, number))
    assert (number == 150) or (chosen != alike_in_labels(labels, number, seed=1)).any()
