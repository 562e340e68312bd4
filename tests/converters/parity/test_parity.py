import io
import warnings

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, f1_score

from converters.errors import ConversionError
from converters.parity.check import (
    ParityReport,
    compare,
    decode_report,
    encode_report,
    keras_probabilities,
)
from converters.parity.gate import Changes, Gate, judge
from converters.parity.latency import Latency
from converters.parity.paired_tests import figures, paired_intervals
from converters.parity.plot import parity_png
from converters.parity.view import parity_view
from edge.contract.metadata import Dataset
from edge.contract.scores import expected_calibration_error
from edge.errors import BundleError
from host_training.metrics.mcnemar import mcnemar_exact

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


def test_the_calibration_error_is_that_of_its_definition():
    """Bin by bin: the share of samples there, times the distance of confidence and accuracy."""
    rng = np.random.default_rng(5)
    given = rng.dirichlet(np.full(4, 0.4), 500).astype(np.float32)
    answers = rng.integers(0, 4, 500)
    confidence, right = given.max(axis=1).astype(float), given.argmax(axis=1) == answers
    expected = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(given, answers) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=60))
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


def limits(max_drop, min_agreement, max_balanced_drop):
    return Gate(
        max_drop=max_drop, min_agreement=min_agreement, max_balanced_drop=max_balanced_drop,
        significance=1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("tflite", "gate", "met"),
    [
        ((0, 1, 2, 3), Gate(), True),
        ((0, 1, 2, 0), Gate(significance=1), False),
        ((0, 1, 2, 0), limits(0.25, 0.75, 0.25), True),
        ((0, 1, 2, 0), limits(0.2, 0.5, 0.25), False),
        ((0, 1, 2, 0), limits(1, 0.8, 0.25), False),
        ((0, 1, 2, 0), limits(0.25, 0.75, 0.2), False),
    ],
)
def test_each_limit_of_the_gate_is_enough_to_refuse(tflite, gate, met):
    """Where figures are taken at their word, one limit passed refuses; a limit itself is met."""
    answers = np.array([0, 1, 2, 3])
    result = compare(probabilities(0, 1, 2, 3), probabilities(*tflite), answers, LABELS)
    assert all(verdict.outcome == "met" for verdict in judge(result.changes, gate)) is met


@pytest.mark.parametrize(
    ("changes", "gate", "outcomes", "needed"),
    [
        # 140 samples, one lost: 0.71 points; five such losses would be more than chance.
        (Changes((70, 70), (1, 0), (0, 0), 1), Gate(), "undecided met met", 700),
        (Changes((70, 70), (1, 0), (0, 0), 1), Gate(significance=1), "refused met met", None),
        (Changes((70, 70), (5, 0), (0, 0), 5), Gate(), "refused refused undecided", None),
        (Changes((70, 70), (4, 0), (0, 0), 4), Gate(), "undecided undecided met", 175),
        # A fifth of twenty samples is too many other answers for chance, whatever is lost.
        (Changes((10, 10), (4, 0), (0, 0), 4), Gate(), "undecided undecided refused", 25),
        # A lost emotion of ten among a thousand is hardly seen in the accuracy.
        (Changes((990, 10), (0, 5), (0, 0), 5), Gate(), "met refused met", None),
        (Changes((990, 10), (0, 3), (0, 0), 3), Gate(), "met undecided met", None),
        # As much gained as lost is no loss, however many answers change.
        (Changes((500, 500), (40, 0), (40, 0), 90), Gate(), "met met refused", None),
        (Changes((500, 500), (0, 0), (9, 9), 18), Gate(), "met met met", None),
    ],
)
def test_chance_alone_refuses_no_model(changes, gate, outcomes, needed):
    """Past a limit and more than chance is refused; past it only is told with what would decide."""
    verdicts = judge(changes, gate)
    assert [verdict.outcome for verdict in verdicts] == outcomes.split()
    for verdict in verdicts:
        undecided = verdict.outcome == "undecided"
        assert (verdict.samples_to_decide is not None) is undecided
        assert (verdict.p > gate.significance) or verdict.outcome != "undecided"
        assert ("would decide" in verdict.words) is undecided
    if needed is not None:
        assert verdicts[0].samples_to_decide == pytest.approx(needed, rel=0.12)


@given(st.integers(1, 40), st.integers(0, 40), st.integers(100, 3000))
def test_as_many_samples_as_told_would_decide(lost, gained, n):
    """With that many samples in the same proportions the test is passed, with 5 % fewer hardly."""
    changes = Changes((n,), (lost,), (gained,), lost + gained)
    (accuracy, _, _) = judge(changes, Gate(max_drop=0, max_balanced_drop=1, min_agreement=0))
    if accuracy.outcome != "undecided" or accuracy.samples_to_decide is None:
        return
    factor = accuracy.samples_to_decide / n
    p = mcnemar_exact(round(lost * factor), round(gained * factor), "greater")
    assert p <= 0.05


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=60))
def test_the_gate_judges_the_very_figures_of_the_report(rows):
    """What is lost and what agrees are the report's own accuracies, recalls and agreement."""
    answers, first, second = np.array(rows).T
    result = compare(probabilities(*first), probabilities(*second), answers, LABELS)
    accuracy, balanced, agreement = judge(result.changes, Gate())
    assert accuracy.value == pytest.approx(result.drop)
    lost = result.keras.balanced_accuracy - result.tflite.balanced_accuracy
    assert balanced.value == pytest.approx(lost)
    assert agreement.value == pytest.approx(result.agreement)


def test_with_equal_emotions_balanced_accuracy_is_judged_as_accuracy():
    """Of emotions of one size a balanced loss is a plain one, and so is its p value."""
    accuracy, balanced, _ = judge(Changes((50, 50), (6, 4), (1, 1), 12), Gate())
    assert balanced.value == pytest.approx(accuracy.value)
    assert balanced.p == pytest.approx(accuracy.p, abs=0.01)


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
    del fields["verdicts"]
    for name in ("rows", "intervals", "difference_quantiles", "only_right"):
        del fields["comparison"][name]
    report = decode_report(msgspec.json.encode(fields), "old")
    assert report.comparison.intervals is None
    assert "gate NOT met; 10.00 points of accuracy lost, 0.50 may be lost; same" in as_text(report)
    with pytest.raises(ConversionError, match="older edgeemo's, without intervals"):
        parity_png(report)


def test_the_table_names_every_figure(compared_report):
    """What the report holds is shown: figures, intervals, what chance explains, size and gate."""
    text = as_text(compared_report)
    for part in (
        "balanced accuracy", "macro-F1", "calibration error", "recall neutral (10)", "McNemar",
        "same answer on 90.00%", "4,000 bytes (0.25 of the float file's",
        "1.50 million multiplications", "0.50 of it (0.45 to 0.55)", "gate NOT met",
        "10.00 points of accuracy lost, 0.50 may be lost",
    ):  # fmt: skip
        assert part in text


def test_emotions_without_samples_are_not_applicable(compared_report):
    """What was not measured is n/a in the table, and neither 0 % nor left out."""
    answers = np.array([0, 1, 1])
    given = probabilities(*answers)
    comparison = compare(given, given, answers, LABELS)
    text = as_text(msgspec.structs.replace(compared_report, comparison=comparison))
    assert "recall surprise (0) │ n/a │ n/a │ n/a │ n/a" in text
    assert comparison.rows == {"neutral": 1, "happiness": 2, "surprise": 0, "sadness": 0}
    assert "surprise" not in comparison.tflite.recall
    assert all(verdict.outcome == "met" for verdict in judge(comparison.changes, Gate()))


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
        comparison=comparison, gate=Gate(), verdicts=judge(comparison.changes, Gate()),
        passed=False,
    )  # fmt: skip


def as_text(report: ParityReport) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(parity_view(report))
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[]"])
def test_a_foreign_report_is_refused(data):
    """A parity.json that is none is a bundle error that names the file."""
    with pytest.raises(BundleError, match=r"^here/parity\.json: not a parity report"):
        decode_report(data, "here/parity.json")
