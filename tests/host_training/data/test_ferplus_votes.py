"""FER+ protocols are those of the published code."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS
from host_training.data.ferplus import hard_labels, training_targets
from host_training.data.samples import EXCLUDED

#        neutral happy surprise sad anger disgust fear contempt unknown NF
CASES = [
    ("unanimous", [10, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, 0),
    ("single votes do not count", [6, 1, 1, 1, 1, 0, 0, 0, 0, 0], 0, 0),
    ("six of ten", [0, 6, 4, 0, 0, 0, 0, 0, 0, 0], 1, 1),
    ("exactly half is no majority", [0, 4, 2, 2, 0, 0, 0, 0, 0, 0], None, 1),
    ("half of ten, 5 of the 8 that are left", [0, 0, 5, 3, 1, 1, 0, 0, 0, 0], 2, 2),
    ("a tie", [5, 5, 0, 0, 0, 0, 0, 0, 0, 0], None, None),
    ("unknown is on top", [4, 0, 0, 0, 0, 0, 0, 0, 6, 0], None, None),
    ("not a face", [0, 0, 0, 0, 0, 0, 0, 0, 0, 10], None, None),
    ("unknown votes weigh against a majority", [4, 0, 0, 0, 0, 2, 0, 0, 4, 0], None, None),
    ("unknown is second", [5, 0, 0, 0, 0, 2, 0, 0, 3, 0], None, 0),
    ("ten answers", [1] * 10, None, None),
    ("nothing", [0] * 10, None, None),
]

votes_rows = st.lists(st.integers(0, 10), min_size=10, max_size=10)


@pytest.mark.parametrize(("votes", "majority", "plurality"), [case[1:] for case in CASES])
def test_protocols(votes: list[int], majority: int | None, plurality: int | None) -> None:
    """Each protocol gives the answer that its definition says, or leaves the row out."""
    row = np.array([votes])
    expected = [EXCLUDED if x is None else x for x in (majority, plurality)]
    found = [int(hard_labels(row, protocol)[0]) for protocol in ("majority", "plurality")]
    assert found == expected


def published_majority(votes: list[int]) -> int:
    """Follow ferplus.py of the FER+ authors, its mode "majority"."""
    kept = [0 if number < 1 + 1e-9 else number for number in votes]
    top = max(kept)
    if top > 0.5 * sum(kept):
        answer = kept.index(top)
        return answer if answer < len(EMOTIONS) else EXCLUDED
    return EXCLUDED


@given(votes_rows)
def test_majority_is_the_published_one(votes: list[int]) -> None:
    """For any votes the majority label equals that of the authors' own procedure."""
    assert hard_labels(np.array([votes]), "majority")[0] == published_majority(votes)


@given(st.lists(votes_rows, min_size=1, max_size=20))
def test_targets_are_distributions(rows: list[list[int]]) -> None:
    """A training target sums to 1 or to 0, and a row with a right answer always has one."""
    votes: NDArray[np.int64] = np.array(rows)
    targets = training_targets(votes)
    sums = targets.sum(axis=1)
    assert np.all(np.isclose(sums, 1) | (sums == 0))
    for protocol in ("majority", "plurality"):
        answered = hard_labels(votes, protocol)
        has = answered != EXCLUDED
        np.testing.assert_array_equal(targets[has].argmax(axis=1), answered[has])
        assert np.all(sums[has] > 0)


@given(st.lists(votes_rows, min_size=1, max_size=20))
def test_majority_is_stricter_than_plurality(rows: list[list[int]]) -> None:
    """Every row with a majority label has the same plurality label."""
    votes = np.array(rows)
    majority, plurality = hard_labels(votes, "majority"), hard_labels(votes, "plurality")
    has = majority != EXCLUDED
    np.testing.assert_array_equal(majority[has], plurality[has])


def test_targets_leave_out_single_votes_and_non_emotions() -> None:
    """The distribution is over the emotions with two votes or more."""
    targets = training_targets(np.array([[4, 0, 0, 2, 1, 0, 0, 0, 3, 0]]))
    np.testing.assert_allclose(targets[0], [4 / 6, 0, 0, 2 / 6, 0, 0, 0, 0], rtol=1e-6)
