"""Pairing: as many pairs as are allowed, at the least cost."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge.stages.tracking import assign


def best_by_trial(cost: np.ndarray) -> tuple[int, float]:
    """Return the most pairs and their least total, found by trying everything."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    results = []
    for columns in permutations(range(cost.shape[1]), cost.shape[0]):
        values = [cost[row, column] for row, column in enumerate(columns)]
        allowed = [value for value in values if np.isfinite(value)]
        results.append((-len(allowed), sum(allowed)))
    count, total = min(results)
    return -count, total


COSTS = st.one_of(st.integers(-50, 50).map(float), st.just(np.inf))


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(float, shape, elements=COSTS)
    )
)
def test_no_pairing_is_better(cost):
    """Against every other pairing, it has as many pairs and costs no more."""
    pairs = assign(cost)
    count, total = best_by_trial(cost)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert len(pairs) == count
    assert sum(cost[row, column] for row, column in pairs) == pytest.approx(total)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0)])
def test_nothing_to_pair(shape):
    """No rows or no columns give no pairs."""
    assert assign(np.empty(shape)) == []


def test_greed_would_be_wrong():
    """The cheapest pair is given up where the total gains by it."""
    assert assign(np.array(((1.0, 2.0), (2.0, 9.0)))) == [(0, 1), (1, 0)]


def test_forbidden_pairs_are_left_out():
    """A row whose pairs are all forbidden stays alone, and the others are not disturbed."""
    assert assign(np.array(((np.inf, np.inf), (5.0, 1.0)))) == [(1, 1)]


def test_more_rows_than_columns():
    """The best rows get the columns; pairs come in the order of the rows."""
    assert assign(np.array(((3.0,), (1.0,), (2.0,)))) == [(1, 0)]
