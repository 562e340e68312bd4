import io
import warnings

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from converters.errors import ConversionError
from converters.latency import Latency
from converters.parity import (
    Gate,
    ParityReport,
    compare,
    decode_report,
    encode_report,
    keras_probabilities,
)
from converters.parity_plot import parity_png
from converters.parity_view import render
from converters.statistics import (
    expected_calibration_error,
    figures,
    mcnemar_exact,
    paired_intervals,
)
from edge.contract.metadata import Dataset
from edge.errors import BundleError
from host_training.metrics import expected_calibration_error as evaluation_ece

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


def test_the_calibration_error_is_that_of_the_evaluation():
    """Two implementations, kept apart by the layers, give one figure."""
    rng = np.random.default_rng(5)
    given = rng.dirichlet(np.full(4, 0.4), 500).astype(np.float32)
    answers = rng.integers(0, 4, 500)
    ours = expected_calibration_error(given, answers)
    assert ours == pytest.approx(evaluation_ece(given, answers), abs=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=60))
@settings(max_examples=20)
def test_intervals_hold_the_figures_they_belong_to(rows):
    """A bootstrap interval is ordered, within bounds, and a point where nothing ever changes."""
    answers, first, second = np.array(rows).T
    intervals = paired_intervals(answers, first, second, LABELS)
    for low, high in (
        intervals.accuracy, intervals.balanced_accuracy, intervals.macro_f1,
        *intervals.recall.values(),
    ):  # fmt: skip
        assert -1 <= low <= high <= 1
    same = paired_intervals(answers, first, first, LABELS)
    assert (same.accuracy, same.agreement) == ((0, 0), (1, 1))
    assert set(same.recall) == {LABELS[i] for i in answers}


def test_the_bootstrap_agrees_with_that_over_rows():
    """Drawing groups of like rows gives the interval that drawing rows one by one gives."""
    rng = np.random.default_rng(3)
    answers, first = rng.integers(0, 4, (2, 300))
    second = np.where(rng.random(300) < 0.1, rng.integers(0, 4, 300), first)
    ours = paired_intervals(answers, first, second, LABELS).accuracy
    change = (second == answers).astype(float) - (first == answers)
    by_rows = change[rng.integers(0, 300, (10_000, 300))].mean(axis=1)
    assert ours == pytest.approx(np.percentile(by_rows, (2.5, 97.5)), abs=0.005)


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


def test_a_report_of_the_first_schema_is_still_read(compared_report):
    """Bundles made before there were intervals can be inspected; what they lack is left out."""
    fields = msgspec.json.decode(encode_report(compared_report))
    fields["schema_version"] = 1
    for name in ("macs", "latency", "float_size_bytes"):
        del fields[name]
    for name in ("rows", "intervals", "difference_quantiles"):
        del fields["comparison"][name]
    report = decode_report(msgspec.json.encode(fields), "old")
    assert report.comparison.intervals is None
    assert "accuracy" in as_text(report)
    with pytest.raises(ConversionError, match="older edgeemo's, without intervals"):
        parity_png(report)


def test_the_table_names_every_figure(compared_report):
    """What the report holds is shown: figures, intervals, what chance explains, size and gate."""
    text = as_text(compared_report)
    for part in (
        "balanced accuracy", "macro-F1", "calibration error", "recall neutral (10)", "McNemar",
        "no more than chance", "same answer on 90.00%", "4,000 bytes (0.25 of the float file's",
        "1.50 million multiplications", "0.50 of it (0.45 to 0.55)", "the gate is NOT met",
    ):  # fmt: skip
        assert part in text


@pytest.fixture
def compared_report():
    answers = np.repeat(np.arange(4), 10)
    changed = answers.copy()
    changed[:4] = 3
    comparison = compare(probabilities(*answers), probabilities(*changed), answers, LABELS)
    return ParityReport(
        training_run="run", quantization="int8", protocol="majority", runtime="runtime 1",
        dataset=Dataset(name="set", split="Test", rows=40, fingerprint="ab"),
        size_bytes=4000, float_size_bytes=16_000, parameters=3000, macs=1_500_000,
        latency=Latency(
            pairs=3, threads=1, median_ms=1, float_median_ms=2, ratio=0.5,
            ratio_interval=(0.45, 0.55),
        ),
        comparison=comparison, gate=Gate(), passed=False,
    )  # fmt: skip


def as_text(report: ParityReport) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(render(report))
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[]"])
def test_a_foreign_report_is_refused(data):
    """A parity.json that is none is a bundle error that names the file."""
    with pytest.raises(BundleError, match=r"^here/parity\.json: not a parity report"):
        decode_report(data, "here/parity.json")
