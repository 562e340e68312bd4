"""Cross-validation: every row is answered by a run that has never seen it."""

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from edge.errors import ConfigError
from edgeemo.cli.main import main
from host_training.architectures import ARCHITECTURES, Architecture
from host_training.config import TrainConfig
from host_training.data.folds import assign_folds
from host_training.data.partition import partition
from host_training.data.samples import EXCLUDED, Samples, picture_keys
from host_training.errors import DataError, TrainingError
from host_training.evaluation.cross_validation import (
    CrossValidation,
    FoldPlan,
    ancestors_of,
    cross_validate,
)
from host_training.frameworks import import_keras
from host_training.metrics.predict import keras_probabilities
from host_training.runs.directory import RunDirectory
from host_training.training.progress import ConsoleProgress
from host_training.training.run import train

keras = import_keras()
PLAN = FoldPlan(folds=3, by="subject", seed=2)


def small(classes: int, dropout: float, mirrored: bool) -> "keras.Model":
    """A network that is built in no time."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1), name="pixels")
    outputs = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    outputs = layers.Conv2D(8, 7, strides=4, activation="relu", name="conv")(outputs)
    outputs = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(outputs))
    return keras.Model(inputs, layers.Dense(classes, activation="softmax", name="scores")(outputs))


class Recorder(ConsoleProgress):
    """Keeps what it is told and, if asked to, presses Ctrl-C after so many epochs."""

    def __init__(self, stop_after: int = -1) -> None:
        super().__init__(Console(quiet=True))
        self.lines: list[str] = []
        self.epochs = 0
        self._stop_after = stop_after

    def report(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """Count it, or stop here."""
        if self.epochs == self._stop_after:
            raise KeyboardInterrupt
        super().begin_epoch(epoch, epochs, batches)
        self.epochs += 1


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "small", Architecture(small, 0.1, ("pixels",), "for tests"))
        yield


@pytest.fixture(scope="module")
def settings(_registered: None) -> TrainConfig:
    return TrainConfig(architecture="small", epochs=2, batch_size=16, learning_rate=0.01, seed=1)


@pytest.fixture(scope="module")
def people(striped: Samples) -> Samples:
    """64 rows of four emotions and 16 subjects, one of them without a right answer."""
    class_ids = striped.class_ids.copy()
    class_ids[5] = EXCLUDED
    return replace(
        striped,
        class_ids=class_ids,
        split=np.full(64, "Training"),
        subjects=np.array([f"S{i // 4:03d}" for i in range(64)]),
    )


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, people: Samples, settings: TrainConfig
) -> tuple[CrossValidation, Path]:
    out = tmp_path_factory.mktemp("folds") / "whole"
    return cross_validate(people, settings, PLAN, out, Recorder()), out


def test_every_row_is_answered_by_the_run_that_did_not_see_it(
    whole: tuple[CrossValidation, Path], people: Samples
) -> None:
    """The pooled answers of a fold's rows are those of that fold's model, in the data's order."""
    validated, out = whole
    measured, fold = validated.measured, assign_folds(people, 3, "subject", 2)
    assert measured.index.tolist() == [i for i in range(64) if i != 5]
    assert measured.fold is not None
    np.testing.assert_array_equal(measured.fold, fold[measured.index] + 1)
    for number in range(3):
        run = RunDirectory(out / f"fold-{number + 1:02d}")
        own = fold[measured.index] == number
        rows = people.where((fold == number) & people.measurable)
        _, expected = keras_probabilities(run.path, rows)
        np.testing.assert_allclose(measured.answers.probabilities[own], expected, atol=1e-6)
        seen = people.where(fold != number)
        record = run.record()
        assert record.training_data.rows + record.validation_data.rows <= len(seen)
        parts = partition(replace(seen, split=np.full(len(seen), "Training")), seed=1)
        assert record.validation_data.fingerprint == parts.validation.fingerprint().fingerprint
        held = picture_keys(rows.images)
        assert not np.isin(picture_keys(parts.training.images), held).any()
        assert not np.isin(picture_keys(parts.validation.images), held).any()


def test_the_report_pools_and_spreads(whole: tuple[CrossValidation, Path]) -> None:
    """Figures are over all held-out rows; mean and spread are over the folds."""
    report = whole[0].report
    assert report.n == 63 == sum(fold.n for fold in report.per_fold)
    each = [fold.accuracy for fold in report.per_fold]
    assert report.mean.accuracy == pytest.approx(np.mean(each))
    assert report.spread.accuracy == pytest.approx(np.std(each, ddof=1))
    weighted = sum(fold.accuracy * fold.n for fold in report.per_fold) / 63
    assert report.accuracy == pytest.approx(weighted)
    assert (report.leaking, report.remarks) == (False, ())
    assert report.split == "Training, 3 folds by subject"
    assert report.accuracy_interval_by_subject is not None
    keys = {"accuracy", "balanced_accuracy", "macro_f1", "n", "per_class", "ece", "protocol"}
    assert keys | {"per_fold", "plan", "leaking"} <= set(msgspec.to_builtins(report))


def test_interrupted_and_continued(
    whole: tuple[CrossValidation, Path], people: Samples, settings: TrainConfig, tmp_path: Path
) -> None:
    """Stopped in the second fold, the same command does only what is missing."""
    out = tmp_path / "folds"
    with pytest.raises(TrainingError, match=r"fold-02: interrupted.*the same command continues"):
        cross_validate(people, settings, PLAN, out, Recorder(stop_after=3))
    second = Recorder()
    validated = cross_validate(people, settings, PLAN, out, second)
    assert second.epochs == 3, "an epoch was done twice or left out"
    assert f"{out / 'fold-01'} is complete" in second.lines
    np.testing.assert_allclose(
        validated.measured.answers.probabilities,
        whole[0].measured.answers.probabilities,
        atol=1e-3,
    )
    third = Recorder()
    again = cross_validate(people, settings, PLAN, out, third)
    assert third.epochs == 0
    assert again.report == validated.report


@pytest.mark.parametrize("changed", ["plan", "config", "data"])
def test_other_folds_are_refused(
    whole: tuple[CrossValidation, Path], people: Samples, settings: TrainConfig, changed: str
) -> None:
    """A folder of other folds is not continued: nothing would fit together."""
    plan, config, rows = PLAN, settings, people
    if changed == "plan":
        plan = msgspec.structs.replace(PLAN, seed=3)
    elif changed == "config":
        config = msgspec.structs.replace(settings, epochs=3)
    else:
        rows = people.where(np.arange(64) > 0)
    with pytest.raises(ConfigError, match=f"holds folds with another {changed}"):
        cross_validate(rows, config, plan, whole[1], Recorder())


def test_a_taken_folder_is_refused(people: Samples, settings: TrainConfig, tmp_path: Path) -> None:
    """Files that are not ours are not mixed with runs, and a damaged plan is said to be that."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty; choose another --out"):
        cross_validate(people, settings, PLAN, tmp_path, Recorder())
    (tmp_path / "folds.json").write_text("{")
    with pytest.raises(TrainingError, match=r"folds\.json: damaged"):
        cross_validate(people, settings, PLAN, tmp_path, Recorder())


def test_random_folds_are_labelled(people: Samples, settings: TrainConfig, tmp_path: Path) -> None:
    """At random where subjects are known, every figure says LEAKING."""
    plan = FoldPlan(folds=2, by="random")
    config = msgspec.structs.replace(settings, epochs=1)
    report = cross_validate(people, config, plan, tmp_path / "out", Recorder()).report
    assert report.leaking
    assert report.split == "Training, 2 folds by random, LEAKING"
    assert any("LEAKING: 1" in remark and "of 16 subjects" in remark for remark in report.remarks)


def test_a_fold_without_a_measurable_row(
    people: Samples, settings: TrainConfig, tmp_path: Path
) -> None:
    """It is refused before anything is trained."""
    few = replace(people, class_ids=np.where(np.arange(64) < 4, people.class_ids, EXCLUDED))
    with pytest.raises(DataError, match="a fold has no sample to measure"):
        cross_validate(few, settings, PLAN, tmp_path / "out", Recorder())
    assert not (tmp_path / "out").exists()


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, striped: Samples) -> Path:
    """The stripes as a folder of class folders with CK+ names, 16 subjects."""
    import cv2

    folder = tmp_path_factory.mktemp("ck")
    for i, (image, answer) in enumerate(zip(striped.images, striped.class_ids, strict=True)):
        emotion = folder / striped.labels[answer]
        emotion.mkdir(exist_ok=True)
        cv2.imwrite(str(emotion / f"S{i // 4:03d}_001_{i:08d}.png"), image)
    return folder


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, people: Samples, settings: TrainConfig
) -> Path:
    """A run whose settings the folds take over."""
    out = tmp_path_factory.mktemp("runs") / "small"
    return train(people, settings, out, Recorder(), resume=False).path


@pytest.fixture(scope="module")
def shared_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the command trains two folds by subject: whoever comes later finds them complete."""
    return tmp_path_factory.mktemp("shared") / "folds"


def test_the_command(
    tmp_path: Path,
    data: Path,
    trained: Path,
    shared_folds: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Folds are trained by a run's settings, shown, written as JSON and reported."""
    result = tmp_path / "figures.json"
    arguments = ("evaluate", trained, "--folds", 2, "--data", data, "--out", shared_folds)
    assert run(*arguments, "--json", result, "--report", tmp_path / "report") == 0
    shown = capsys.readouterr().out
    assert "folds by subject" in shown
    assert "spread (s)" in shown
    assert "LEAKING" not in shown
    figures = json.loads(result.read_text())
    assert figures["n"] == 64
    assert figures["plan"] == {"folds": 2, "by": "subject", "seed": 0, "split": None}
    assert len(figures["per_fold"]) == 2
    assert figures["leaking"] is False
    header, *lines = (tmp_path / "report" / "predictions.csv").read_text().splitlines()
    assert header.endswith(",fold,subject")
    folds: dict[str, set[str]] = {}
    for line in lines:
        *_, fold, subject = line.split(",")
        folds.setdefault(fold, set()).add(subject)
    assert not folds["1"] & folds["2"]
    assert "## By fold" in (tmp_path / "report" / "report.md").read_text()

    config = trained / "config.json"
    leaking = ("--by", "random", "--out", tmp_path / "random", "--json", result)
    assert run("evaluate", config, "--folds", 2, "--data", data, *leaking) == 0
    assert "LEAKING" in capsys.readouterr().out
    assert json.loads(result.read_text())["leaking"] is True


def test_int8_folds_are_measured_as_a_device_runs_them(
    tmp_path: Path,
    data: Path,
    trained: Path,
    shared_folds: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each fold's run is quantised; the runs themselves serve both forms."""
    arguments = ("evaluate", trained, "--folds", 2, "--data", data, "--out", shared_folds)
    reports = {form: tmp_path / f"{form}-report" for form in ("float", "int8")}
    as_float = ("--json", tmp_path / "float.json", "--report", reports["float"])
    assert run(*arguments, *as_float) == 0
    before = (shared_folds / "fold-01" / "model.keras").read_bytes()
    int8 = ("--int8", "--json", tmp_path / "int8.json", "--report", reports["int8"])
    assert run(*arguments, *int8) == 0
    assert "one run a fold, int8" in " ".join(capsys.readouterr().out.split())
    assert (shared_folds / "fold-01" / "model.keras").read_bytes() == before
    figures = [json.loads((tmp_path / f"{form}.json").read_text()) for form in ("float", "int8")]
    assert [entry["model"] for entry in figures] == [
        "small, one run a fold, float32", "small, one run a fold, int8",
    ]  # fmt: skip
    assert figures[0]["data"] == figures[1]["data"]
    assert figures[1]["accuracy"] == pytest.approx(figures[0]["accuracy"], abs=0.1)
    # int8 logits differ by whole steps, float ones by any amount.
    off_grid = {}
    for form, report in reports.items():
        rows = list(csv.DictReader((report / "predictions.csv").read_text().splitlines()))
        first = [row for row in rows if row["fold"] == "1"]  # each fold's model has its own step
        given = np.array([[float(value) for value in list(row.values())[4:8]] for row in first])
        gaps = np.diff(np.sort(np.log(given[:, :1] / given[:, 1:]).ravel()))
        steps = gaps[gaps > 1e-4] / gaps[gaps > 1e-4].min()
        off_grid[form] = np.abs(steps - steps.round()).mean()
    assert off_grid["int8"] < 0.05 < off_grid["float"], off_grid


def test_a_run_in_full(
    tmp_path: Path, data: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trained run is evaluated with all keys, and its report is written."""
    result = tmp_path / "figures.json"
    report = tmp_path / "report"
    assert run("evaluate", trained, "--data", data, "--json", result, "--report", report) == 0
    shown = capsys.readouterr().out
    for told in (
        "protocol",
        "calibration error",
        "before temperature scaling",
        "temperature fitted",
    ):
        assert told in shown
    figures = json.loads(result.read_text())
    keys = {
        "accuracy", "accuracy_interval", "balanced_accuracy", "macro_f1", "n", "per_class", "ece",
        "ece_untempered", "ece_tempered", "temperature", "confusion", "protocol", "split", "data",
    }  # fmt: skip
    assert keys <= set(figures)
    assert figures["n"] == 64
    assert {file.name for file in report.iterdir()} >= {
        "report.md", "evaluation.json", "predictions.csv", "confusion_matrix.png",
        "reliability.png",
    }  # fmt: skip
    assert run("evaluate", trained, "--data", data, "--split", "Test") == 1
    assert "no split 'Test'; it has Training" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--by", "subject"], "--by subject: only with --folds N"),
        (["--out", "there"], "--out there: only with --folds N"),
        (["--int8"], "--int8: only with --folds N; make a bundle with `edgeemo convert --int8`"),
        (["--folds", "3"], "--folds 3: trains 3 models; name a folder for them, --out"),
        (["--folds", "1", "--out", "{new}"], "--folds must be 2 or more, got 1"),
        (["--folds", "3", "--out", "{new}", "--calibrate-on", "Training"], "not with --folds"),
        (["--calibrate-on", "Training"], "--calibrate-on Training: these samples are measured"),
        (["--crops", "aligned"], "aligned crops come from prepared data"),
        (["--pipeline", "--crops", "raw"], "--crops raw: not with --pipeline"),
        (["--folds", "3", "--out", "{new}", "--pipeline"], "--pipeline: not with --folds 3"),
        (["--folds", "3", "--out", "{new}", "--corruptions"], "--corruptions: not with --folds 3"),
        (["--folds", "3", "--out", "{new}", "--limit", "9"], "--limit 9: not with --folds 3"),
        (["--data", "x", "--split", "Test"], "--split Test: only with one --data"),
        (["--data", "x", "--folds", "3", "--out", "{new}"], "--folds 3: only with one --data"),
        (["--data", "x", "--prepared", "x"], "--prepared x: with several --data only together"),
    ],
)
def test_wrong_usage(
    tmp_path: Path,
    data: Path,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    message: str,
) -> None:
    """Options that do not go together end with one line and exit code 2, and nothing written."""
    new = tmp_path / "new"
    given = [option.format(new=new) for option in options]
    assert run("evaluate", trained, "--data", data, *given) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("edgeemo: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert not new.exists()


def test_folds_of_what_can_not_be_trained(
    tmp_path: Path, data: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model without settings cannot be cross-validated."""
    model = trained / "model.keras"
    assert run("evaluate", model, "--data", data, "--folds", 2, "--out", tmp_path / "new") == 2
    assert "--folds retrains: expected a run directory" in capsys.readouterr().err


def test_ancestors_are_found_again(
    people: Samples, settings: TrainConfig, trained: Path, tmp_path: Path
) -> None:
    """A run's first weights and teachers serve its folds; a lost one is an error."""
    from host_training.training.distillation import model_file
    from host_training.training.run import Pretrained

    first = model_file(trained)
    config = msgspec.structs.replace(settings, initial=first.sha256, epochs=1)
    pretrained = Pretrained((), first)
    child = train(
        people, config, tmp_path / "child", Recorder(), resume=False, pretrained=pretrained
    )
    assert ancestors_of(child) == pretrained
    lost = msgspec.structs.replace(child.record(), initial=str(tmp_path / "gone"))
    child.write_record(lost)
    with pytest.raises(ConfigError, match="expected a run directory"):
        ancestors_of(child)
