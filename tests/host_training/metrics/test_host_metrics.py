"""The figures are those of their definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from edge.contract.scores import expected_calibration_error
from host_training.metrics.scores import ClassMetrics, metrics, saturated, wilson_interval

LABELS = ("neutral", "happiness", "surprise")


def sure(predicted: list[int], confidence: float = 1.0) -> np.ndarray:
    rest = (1 - confidence) / 2
    return np.full((len(predicted), 3), rest) + np.eye(3)[predicted] * (confidence - rest)


def test_a_small_case_by_hand() -> None:
    """Accuracy, recall, precision, F1 and the confusion matrix of six rows."""
    found = metrics(
        sure([0, 0, 1, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1]), LABELS, protocol="p", split="s"
    )
    assert found.n == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.per_class["neutral"].recall == pytest.approx(2 / 3)
    assert found.per_class["happiness"].precision == pytest.approx(2 / 3)
    assert found.confusion == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert (found.protocol, found.split) == ("p", "s")


def test_labels_without_rows_do_not_count() -> None:
    """Balanced accuracy and macro-F1 are means over the labels that occur."""
    found = metrics(sure([0, 1]), np.array([0, 1]), LABELS, protocol="p", split="s")
    assert (found.balanced_accuracy, found.macro_f1) == (1.0, 1.0)
    assert found.per_class["surprise"] == ClassMetrics(None, None, None, 0)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40),
)
def test_figures_by_label_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    """Where there is something to tell it is scikit-learn's figure, else nothing, never 0 %."""
    class_ids, predicted = np.array(pairs).T
    found = metrics(sure(predicted.tolist()), class_ids, LABELS, protocol="p", split="s")
    expected = precision_recall_fscore_support(
        class_ids, predicted, labels=range(3), zero_division=0
    )
    for i, (label, row) in enumerate(found.per_class.items()):
        precision, recall, f1, n = (column[i] for column in expected)
        assert row.n == n, label
        if n == 0:
            assert (row.precision, row.recall, row.f1, row.recall_interval) == (None,) * 4
            continue
        assert (row.recall, row.f1) == (pytest.approx(recall), pytest.approx(f1))
        assert row.recall_interval == wilson_interval(
            int((class_ids == predicted)[class_ids == i].sum()), n
        )
        if i in predicted:
            assert row.precision == pytest.approx(precision)
        else:
            assert (row.precision, row.precision_interval) == (None, None)


@pytest.mark.parametrize(
    ("wrong", "confidence", "is_saturated"),
    [(4, 1.0, True), (4, 255 / 256, True), (4, 0.9, False), (0, 1.0, False), (40, 0.999, True)],
)
def test_saturated_scores(wrong: int, confidence: float, is_saturated: bool) -> None:
    """Certainty is a fault where it goes with mistakes; being right with certainty is none."""
    class_ids = np.arange(40) % 3
    predicted = np.where(np.arange(40) < wrong, (class_ids + 1) % 3, class_ids)
    assert saturated(sure(predicted.tolist(), confidence), class_ids) is is_saturated


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [(8, 10, 0.49016, 0.94331), (0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0)],
)
def test_wilson(correct: int, n: int, low: float, high: float) -> None:
    """Wilson's interval equals published values and stays in [0, 1] at the ends."""
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-5)


@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share(n: int, data: st.DataObject) -> None:
    """The interval always holds the measured share, and lies in [0, 1]."""
    correct = data.draw(st.integers(0, n))
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n + 1e-12
    assert correct / n - 1e-12 <= high <= 1


def test_calibration_error_by_hand() -> None:
    """Rows at 0.8 of which half are right have an error of 0.3; in two bins it is weighted."""
    half_right = np.array([0, 0, 1, 1])
    assert expected_calibration_error(sure([0] * 4, 0.8), half_right) == pytest.approx(0.3)
    both = np.concatenate((sure([0] * 4, 0.8), sure([0] * 4, 1.0)))
    answers = np.concatenate((half_right, np.zeros(4, int)))
    assert expected_calibration_error(both, answers) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("rows", "answers", "labels"), [(0, 0, LABELS), (2, 3, LABELS), (2, 2, LABELS[:2])]
)
def test_shapes_that_do_not_fit(rows: int, answers: int, labels: tuple[str, ...]) -> None:
    """No row, or numbers that do not match, raise instead of giving a figure."""
    with pytest.raises(ValueError, match="probabilities"):
        metrics(sure([0] * rows), np.zeros(answers, int), labels, protocol="p", split="s")
