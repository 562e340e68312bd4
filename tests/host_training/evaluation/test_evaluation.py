"""A model is measured in full, and whatever flatters a figure is said beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from edge.contract.decision import Decision, temper
from edge.contract.scores import expected_calibration_error, reliability
from edge.errors import ConfigError
from host_training.data.load import one_hot
from host_training.data.samples import EXCLUDED, Samples
from host_training.errors import DataError, TrainingError
from host_training.evaluation.cross_set import SetFigures
from host_training.evaluation.cross_validation import FoldReport
from host_training.evaluation.evaluate import Evaluation, Question, evaluate_in_full
from host_training.evaluation.pipeline_figures import PipelineFigures
from host_training.evaluation.report import write_report
from host_training.evaluation.robustness import CorruptionFigures, KindFigures
from host_training.metrics.coverage import CoveragePoint
from host_training.metrics.plots import MISTAKES, draw_worst_mistakes, worst_mistakes
from host_training.metrics.predict import Model, Predictions
from host_training.metrics.scores import brier_score, interval_by_group, wilson_interval
from host_training.runs.provenance import ModelProvenance

ORIGIN = ModelProvenance("runs/made", "0" * 64)
FER2013 = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")


def noisy(rows: Samples, labels: Sequence[str], seed: int = 0, pull: float = 2.0) -> NDArray:
    """Draw softmax outputs that lean to the right answers."""
    logits = np.random.default_rng(seed).normal(0, 1.5, (len(rows), len(labels)))
    for i, answer in enumerate(rows.class_ids):
        if answer != EXCLUDED and rows.labels[answer] in labels:
            logits[i, labels.index(rows.labels[answer])] += pull
    shifted = np.exp(logits)
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def model_of(labels: Sequence[str] | None = None, **more: float) -> Model:
    """Return a model that answers at random, but leaning to the truth."""

    def predict(rows: Samples) -> tuple[tuple[str, ...] | None, NDArray[np.float32]]:
        given = tuple(labels or rows.labels)
        return given, noisy(rows, given, **more)

    return predict


@pytest.fixture
def rows() -> Samples:
    """200 training and 300 validation rows of seven emotions, two without one right answer."""
    generator = np.random.default_rng(3)
    class_ids = generator.integers(0, 7, 500)
    targets = one_hot(class_ids, 7)
    class_ids[[250, 300]] = EXCLUDED
    return Samples(
        images=generator.integers(0, 256, (500, 48, 48), np.uint8),
        targets=targets,
        labels=FER2013,
        class_ids=class_ids,
        split=np.array(["Training"] * 200 + ["PublicTest"] * 300),
        name="made",
        form="made up",
        protocol="fer2013",
    )


def test_figures_are_those_of_scikit_learn(rows: Samples) -> None:
    """Accuracy, balanced accuracy, macro-F1, precision, recall, confusion and Brier's score."""
    measured = evaluate_in_full(rows, Question("PublicTest"), model_of(), ORIGIN)
    figures, answers = measured.figures, measured.answers
    truth, given = answers.right, answers.probabilities.argmax(axis=1)
    assert figures.n == 298
    assert figures.accuracy == sklearn_metrics.accuracy_score(truth, given)
    assert figures.balanced_accuracy == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(truth, given)
    )
    assert figures.macro_f1 == pytest.approx(
        sklearn_metrics.f1_score(truth, given, average="macro")
    )
    for name, average in (("precision", "precision_score"), ("recall", "recall_score")):
        expected = getattr(sklearn_metrics, average)(truth, given, average=None)
        found = [getattr(figures.per_class[label], name) for label in FER2013]
        np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(figures.confusion, sklearn_metrics.confusion_matrix(truth, given))
    one_against_rest = [
        sklearn_metrics.brier_score_loss(truth == k, answers.probabilities[:, k]) for k in range(7)
    ]
    assert figures.brier_untempered == pytest.approx(sum(one_against_rest), rel=1e-5)


def test_calibration_before_and_after(rows: Samples) -> None:
    """The figures are of the raw answers, and of those under temperatures of other rows."""
    measured = evaluate_in_full(rows, Question(), model_of(pull=3.0), ORIGIN)
    figures, answers, calibration = measured.figures, measured.answers, measured.calibration
    assert calibration is not None
    before = expected_calibration_error(answers.probabilities, answers.right)
    assert figures.ece == figures.ece_untempered == before
    assert figures.ece_tempered == expected_calibration_error(calibration.tempered, answers.right)
    assert figures.brier_tempered == brier_score(calibration.tempered, answers.right)
    assert figures.temperature == calibration.temperature
    assert len(figures.temperatures) == 2
    assert figures.split == "PublicTest", "PublicTest is the default"


def test_a_models_own_temperature(rows: Samples) -> None:
    """`ece` is of the answers as users get them; before it stays the network's own."""
    own = replace(ORIGIN, decision=Decision(temperature=0.5))
    measured = evaluate_in_full(rows, Question(), model_of(), own)
    figures, answers = measured.figures, measured.answers
    tempered = temper(answers.probabilities, 0.5)
    assert figures.ece == expected_calibration_error(tempered, answers.right)
    plain = expected_calibration_error(answers.probabilities, answers.right)
    assert figures.ece_untempered == plain != figures.ece
    assert figures.own_temperature == 0.5


def test_calibrated_on_another_split(rows: Samples) -> None:
    """--calibrate-on fits one temperature there; on Training it is said to come out too low."""
    measured = evaluate_in_full(
        rows, Question("PublicTest", calibrate_on="Training"), model_of(), ORIGIN
    )
    assert measured.figures.calibrated_on == "200 samples of Training"
    assert measured.figures.temperatures == (measured.figures.temperature,)
    assert any("comes out too low" in remark for remark in measured.figures.remarks)
    with pytest.raises(ConfigError, match="these samples are measured"):
        evaluate_in_full(rows, Question("Training", calibrate_on="Training"), model_of(), ORIGIN)


def test_a_model_that_knows_more(rows: Samples) -> None:
    """Predictions of an emotion that the protocol does not have count as wrong, and are counted."""
    eight = (*FER2013, "contempt")
    measured = evaluate_in_full(rows, Question(), model_of(eight, pull=1.0), ORIGIN)
    given = measured.answers.probabilities.argmax(axis=1)
    contempt = int((given == 7).sum())
    assert contempt > 0
    assert measured.figures.accuracy == np.mean(given == measured.answers.right)
    assert f"its {contempt} answers of that count as wrong" in " ".join(measured.figures.remarks)
    assert measured.figures.per_class["contempt"].n == 0
    present = [f.recall for name, f in measured.figures.per_class.items() if name != "contempt"]
    assert measured.figures.balanced_accuracy == pytest.approx(np.mean(present))


@pytest.mark.parametrize(
    ("protocol", "lacking", "remedy"),
    [
        ("majority", "contempt", "measured with --protocol fer2013"),
        ("majority", "fear", "leave those samples out"),
        ("labels", "contempt", "leave those samples out"),
    ],
)
def test_a_model_that_knows_less(rows: Samples, protocol: str, lacking: str, remedy: str) -> None:
    """Rows of an emotion that the model lacks are an error that counts them and says what to do."""
    named = replace(rows, protocol=protocol, labels=(*FER2013[:6], lacking))
    number = int((rows.class_ids[200:] == 6).sum())
    with pytest.raises(DataError, match=rf"{lacking} \({number} samples\); the model .*{remedy}"):
        evaluate_in_full(named, Question(), model_of(FER2013[:6]), ORIGIN)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("Test", "no split 'Test'; it has Training, PublicTest, Empty"),
        ("Empty", "no sample of Empty is left to measure under fer2013"),
    ],
)
def test_nothing_to_measure(rows: Samples, split: str, message: str) -> None:
    """A split that is not there, and one without a measurable row, are said to be that."""
    rows.split[[250, 300]] = "Empty"
    with pytest.raises(DataError, match=message):
        evaluate_in_full(rows, Question(split), model_of(), ORIGIN)


@pytest.mark.parametrize("value", [np.nan, -0.2, 3.0])
def test_outputs_that_are_no_probabilities(rows: Samples, value: float) -> None:
    """Logits or NaN are refused, not measured."""

    def predict(asked: Samples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        outputs = noisy(asked, FER2013)
        outputs[7, 2] = value
        return asked.labels, outputs

    with pytest.raises(TrainingError, match="outputs are not probabilities"):
        evaluate_in_full(rows, Question(), predict, ORIGIN)


def test_what_flatters_is_said(rows: Samples) -> None:
    """Rows that the model has learnt from, or was chosen by, are recognised by fingerprint."""
    chosen = rows.where((rows.split == "PublicTest") & rows.measurable).fingerprint().fingerprint

    def remarks(origin: ModelProvenance, split: str) -> str:
        return " ".join(evaluate_in_full(rows, Question(split), model_of(), origin).figures.remarks)

    assert not remarks(ORIGIN, "PublicTest")
    assert "learnt from any of these samples is not known here" in remarks(ORIGIN, "Training")
    assert "learnt from these very samples" in remarks(
        replace(ORIGIN, training=chosen), "PublicTest"
    )
    validation = replace(ORIGIN, validation=chosen)
    assert "best epoch: a validation" in remarks(validation, "PublicTest")
    fitted = replace(validation, decision=Decision(temperature=1.4))
    assert "and fitted its own temperature" in remarks(fitted, "PublicTest")


def test_too_few_rows_for_a_temperature(rows: Samples) -> None:
    """Then there is no figure after scaling, and the JSON says why."""
    few = rows.where(np.arange(500) >= 488)
    figures = evaluate_in_full(few, Question(), model_of(), ORIGIN).figures
    assert (figures.ece_tempered, figures.temperature, figures.temperatures) == (None, None, ())
    assert "fewer than 10" in figures.calibrated_on


def test_the_interval_by_subject_is_wider() -> None:
    """Ten pictures of each person, all right or all wrong, are as good as one of each."""
    right = np.repeat(np.arange(40) % 4 > 0, 10)
    subjects = np.repeat(np.arange(40), 10)
    low, high = interval_by_group(right, subjects)
    assert (low, high) == pytest.approx(wilson_interval(30, 40), abs=0.03)
    one, other = wilson_interval(300, 400)
    assert high - low > 2.5 * (other - one)


def test_reliability_by_hand() -> None:
    """Rows lie in the bin that their confidence ends; empty bins have no mean."""
    probabilities = np.array([[0.58, 0.42], [0.7, 0.3], [0.95, 0.05]], np.float32)
    bins = reliability(probabilities, np.array([0, 1, 0]), bins=5)
    assert bins.count.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(bins.accuracy, [np.nan, np.nan, 1, 0, 1])
    np.testing.assert_allclose(bins.confidence, [np.nan, np.nan, 0.58, 0.7, 0.95], rtol=1e-6)
    assert bins.error == pytest.approx((0.42 + 0.7 + 0.05) / 3)


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height of a picture that can be read and is not of one colour."""
    image = cv2.imread(str(path))
    assert image is not None, path
    assert image.std() > 10, "an empty picture"
    return image.shape[1], image.shape[0]


def test_the_report(rows: Samples, tmp_path: Path) -> None:
    """Pictures of print size, JSON, every answer, and a text that cites what was measured."""
    subjects = np.array([f"S{i % 20}" for i in range(500)])
    known = replace(rows, subjects=subjects)
    measured = evaluate_in_full(known, Question("PublicTest"), model_of(), ORIGIN)
    write_report(tmp_path / "report", measured)
    folder, figures = tmp_path / "report", measured.figures
    assert size_of(folder / "confusion_matrix.png") == (1600, 1440)
    assert size_of(folder / "reliability.png") == (1840, 1280)
    assert size_of(folder / "worst_mistakes.png") == (2176, 1800)
    assert (
        msgspec.json.decode((folder / "evaluation.json").read_bytes(), type=Evaluation) == figures
    )

    lines = (folder / "predictions.csv").read_text().splitlines()
    assert lines[0] == f"row,true,predicted,confidence,{','.join(FER2013)},subject"
    assert len(lines) == 299
    table = [line.split(",") for line in lines[1:]]
    assert [int(line[0]) for line in table] == [i for i in range(200, 500) if i not in (250, 300)]
    assert np.mean([line[1] == line[2] for line in table]) == figures.accuracy
    scores = np.array([line[4:11] for line in table], float)
    np.testing.assert_allclose(scores, measured.answers.probabilities, rtol=1e-5)
    assert table[0][-1] == "S0"

    text = (folder / "report.md").read_text()
    for cited in (
        "PublicTest",
        "protocol fer2013",
        "298 samples",
        figures.data.fingerprint,
        "0" * 64,
    ):
        assert cited in text
    assert f"{figures.per_class['fear'].recall:.1%}" in text
    for name in ("confusion_matrix", "reliability", "worst_mistakes"):
        assert f"({name}.png)" in text


def test_a_report_without_mistakes(rows: Samples, tmp_path: Path) -> None:
    """A perfect model has no sheet of mistakes, not even an older report's."""
    (tmp_path / "worst_mistakes.png").write_bytes(b"old")
    measured = evaluate_in_full(rows, Question(), model_of(pull=100.0), ORIGIN)
    assert measured.figures.accuracy == 1
    write_report(tmp_path, measured)
    assert not (tmp_path / "worst_mistakes.png").exists()
    assert "There is no mistake." in (tmp_path / "report.md").read_text()


def test_a_report_where_nothing_can_be_written(rows: Samples, tmp_path: Path) -> None:
    """A file in the way of the folder is one clear error."""
    (tmp_path / "file").write_text("mine")
    measured = evaluate_in_full(rows, Question(), model_of(), ORIGIN)
    with pytest.raises(TrainingError, match="cannot be written"):
        write_report(tmp_path / "file", measured)


def test_the_worst_mistakes_come_first(rows: Samples, tmp_path: Path) -> None:
    """Surest first; of equals the one that left least to the truth; right answers never."""
    chosen = rows.where(np.arange(500) < 4)
    chosen.class_ids[:] = 0
    probabilities = np.zeros((4, 7), np.float32)
    probabilities[0, :2] = 0.2, 0.8
    probabilities[1, 0] = 1
    probabilities[2, 1:3] = 0.9, 0.1
    probabilities[3, :2] = 0.1, 0.9
    answers = Predictions(chosen, FER2013, probabilities, chosen.class_ids)
    assert worst_mistakes(answers).tolist() == [2, 3, 0]
    assert draw_worst_mistakes(answers, tmp_path / "a.png", "made") == 3
    assert size_of(tmp_path / "a.png")[1] == 472
    everything = Predictions(
        rows, FER2013, np.roll(one_hot(rows.class_ids, 7), 1, axis=1), rows.class_ids
    )
    assert draw_worst_mistakes(everything, tmp_path / "b.png", "made") == MISTAKES


def test_every_figure_is_documented() -> None:
    """docs/evaluation.md names each key of the JSON."""
    text = Path("docs/evaluation.md").read_text("utf-8")
    parts = (FoldReport, PipelineFigures, CorruptionFigures, KindFigures, CoveragePoint, SetFigures)
    for field in {name for part in parts for name in part.__struct_fields__}:
        assert f"`{field}`" in text, field


def test_a_limit(rows: Samples) -> None:
    """A limit measures so many samples, the same each time, and none that lacks an answer."""
    first, again, other = (
        evaluate_in_full(rows, Question(limit=50, seed=seed), model_of(), ORIGIN)
        for seed in (0, 0, 1)
    )
    assert first.figures.n == 50
    np.testing.assert_array_equal(first.index, again.index)
    assert (first.index != other.index).any()
    assert (rows.split[first.index] == "PublicTest").all()
    assert (rows.class_ids[first.index] != EXCLUDED).all()
    assert evaluate_in_full(rows, Question(limit=9999), model_of(), ORIGIN).figures.n == 298


def test_coverage_is_by_the_confidence_that_users_get(rows: Samples) -> None:
    """Accuracy at each coverage, by hand, from the tempered answers."""
    origin = replace(ORIGIN, decision=Decision(temperature=0.4))
    measured = evaluate_in_full(rows, Question(), model_of(), origin)
    given = temper(measured.answers.probabilities, 0.4)
    order = np.argsort(-given.max(axis=1), kind="stable")
    correct = (given.argmax(axis=1) == measured.answers.right)[order]
    assert measured.figures.mean_confidence == pytest.approx(given.max(axis=1).mean())
    for point in measured.figures.coverage.points:
        number = round(point.coverage * len(correct))
        assert point.accuracy == pytest.approx(correct[:number].mean())
        assert point.confidence == pytest.approx(given.max(axis=1)[order][number - 1])
