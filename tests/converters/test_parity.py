import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from converters.errors import ConversionError
from converters.parity import (
    Gate,
    compare,
    decode_report,
    figures,
    keras_probabilities,
    mcnemar_exact,
)
from edge.errors import BundleError

LABELS = ("neutral", "happiness", "surprise", "sadness")
ANSWERS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(ANSWERS)
def test_figures_are_those_of_scikit_learn(pairs):
    """Accuracy, balanced accuracy and macro-F1 agree with it, absent classes included."""
    answers, predicted = np.array(pairs).T
    ours = figures(predicted, answers, LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on absent classes
        balanced = balanced_accuracy_score(answers, predicted)
        macro = f1_score(answers, predicted, average="macro", zero_division=0)
    assert ours.accuracy == pytest.approx((answers == predicted).mean())
    assert ours.balanced_accuracy == pytest.approx(balanced)
    assert ours.macro_f1 == pytest.approx(macro)
    assert set(ours.recall) == {LABELS[i] for i in answers}


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_exact_binomial_test(only_first, only_second):
    """The p value is that of a fair coin over the rows on which one model alone is right."""
    ours = mcnemar_exact(only_first, only_second)
    n = only_first + only_second
    expected = binomtest(only_first, n, 0.5).pvalue if n else 1.0
    assert ours == pytest.approx(expected, rel=1e-9)


def test_mcnemar_holds_for_many_rows():
    """Thousands of rows neither overflow nor underflow to a false zero."""
    assert mcnemar_exact(3000, 3000) == 1.0
    assert 0 < mcnemar_exact(500, 900) < 1e-20


def probabilities(*tops: int) -> np.ndarray:
    return np.array([[0.7 if i == top else 0.1 for i in range(4)] for top in tops], np.float32)


def test_a_comparison_counts_what_changed():
    """Agreement, the two kinds of disagreement, and differences come from the same rows."""
    answers = np.array([0, 1, 2, 3])
    result = compare(probabilities(0, 1, 2, 0), probabilities(0, 1, 0, 3), answers, LABELS)
    assert result.agreement == 0.5
    assert (result.only_keras_right, result.only_tflite_right) == (1, 1)
    assert result.drop == 0
    assert result.max_difference == pytest.approx(0.6)
    assert result.mean_difference == pytest.approx(2 * 2 * 0.6 / 16)


@pytest.mark.parametrize(
    ("tflite", "gate", "met"),
    [
        ((0, 1, 2, 3), Gate(), True),
        ((0, 1, 2, 0), Gate(), False),
        ((0, 1, 2, 0), Gate(max_drop=0.25, min_agreement=0.75), True),
        ((0, 1, 2, 0), Gate(max_drop=0.2, min_agreement=0.5), False),
        ((0, 1, 2, 0), Gate(max_drop=1, min_agreement=0.8), False),
    ],
)
def test_the_gate_weighs_both_accuracy_and_agreement(tflite, gate, met):
    """Either limit passed is enough to refuse; a limit itself is still met."""
    answers = np.array([0, 1, 2, 3])
    result = compare(probabilities(0, 1, 2, 3), probabilities(*tflite), answers, LABELS)
    assert result.meets(gate) is met


def test_a_model_without_a_softmax_is_refused(keras):
    """Logits would be quantised and tempered as if they were probabilities."""
    layers = [keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(8)]
    with pytest.raises(ConversionError, match=r"outputs are not probabilities .*; end it in"):
        keras_probabilities(keras.Sequential(layers), [np.full((3, 48, 48, 1), 100, np.float32)])


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[]"])
def test_a_foreign_report_is_refused(data):
    """A parity.json that is none is a bundle error that names the file."""
    with pytest.raises(BundleError, match=r"^here/parity\.json: not a parity report"):
        decode_report(data, "here/parity.json")
