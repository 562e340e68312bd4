"""Accuracy of the surest answers: by hand, with ties, and whatever the order of the samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_training.metrics.coverage import COVERAGES, coverage_curve, risk_coverage


def test_by_hand() -> None:
    """Ten answers: at 80 % the eight surest, of which one is wrong."""
    confidence = np.linspace(0.95, 0.5, 10)
    correct = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 0], bool)
    points = risk_coverage(confidence, correct).points
    assert [point.coverage for point in points] == list(COVERAGES) == [1, 0.9, 0.8, 0.7]
    assert [point.accuracy for point in points] == pytest.approx([7 / 10, 7 / 9, 7 / 8, 6 / 7])
    assert [point.confidence for point in points] == pytest.approx([0.5, 0.55, 0.6, 0.65])


def test_equals_count_with_their_mean() -> None:
    """Of four answers of one confidence, three right, two are worth one and a half."""
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.5])
    correct = np.array([True, True, False, True, False])
    accuracy, threshold = coverage_curve(confidence, correct)
    assert accuracy.tolist() == pytest.approx([0.75] * 4 + [0.6])
    assert threshold.tolist() == [0.9] * 4 + [0.5]


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans()), min_size=1),
    st.randoms(use_true_random=False),
)
def test_the_order_says_nothing(answers: list[tuple[float, bool]], shuffler) -> None:
    """Any order of the samples gives the same curve, which ends at the accuracy."""
    confidence, correct = (np.array(column) for column in zip(*answers, strict=True))
    accuracy, _ = coverage_curve(confidence, correct)
    assert accuracy[-1] == pytest.approx(correct.mean())
    order = list(range(len(answers)))
    shuffler.shuffle(order)
    again, _ = coverage_curve(confidence[order], correct[order])
    np.testing.assert_allclose(again, accuracy)


def test_a_perfect_order_has_the_least_area() -> None:
    """Sure where it is right, a model has a smaller area than one that is sure where it errs."""
    correct = np.array([True] * 6 + [False] * 2)
    rising = np.linspace(0.3, 0.9, 8)
    assert risk_coverage(rising[::-1], correct).area < risk_coverage(rising, correct).area


def test_one_answer() -> None:
    """A single answer is its own curve."""
    points = risk_coverage(np.array([0.7]), np.array([True])).points
    assert {(point.accuracy, point.confidence) for point in points} == {(1.0, 0.7)}
