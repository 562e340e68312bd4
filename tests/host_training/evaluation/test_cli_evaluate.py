"""`edgeemo evaluate` on a bundle: the device's own answers, under each protocol."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.convert.int8_predict import tflite_probabilities
from edge.contract.bundle import PACKAGED, open_bundle
from edge.contract.decision import temper
from edge.contract.labels import FER2013_EMOTIONS
from edgeemo.cli.main import main

Write = Callable[..., Path]
PRIOR = (0.33, 0.27, 0.12, 0.14, 0.09, 0.01, 0.03, 0.01)
USAGE = ["Training"] * 12 + ["PublicTest"] * 36
OF_FER2013 = {6: 0, 3: 1, 5: 2, 4: 3, 0: 4, 1: 5, 2: 6}
"""FER2013's numbers, and where their votes stand."""


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def images() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (48, 48), np.uint8) for _ in USAGE]


@pytest.fixture
def data(tmp_path: Path, write_csv: Write, write_votes: Write, images: list) -> tuple[Path, Path]:
    """Random pictures labelled in turn; the votes tie in two rows, one of them PublicTest."""
    numbers = [list(OF_FER2013)[i % 7] for i in range(len(USAGE))]
    rows = list(zip(numbers, images, USAGE, strict=True))
    votes = []
    for i, (number, usage) in enumerate(zip(numbers, USAGE, strict=True)):
        cast = [0] * 10
        cast[OF_FER2013[number]] = 10
        votes.append((usage, [5, 5] + [0] * 8 if i in (3, 20) else cast))
    return write_csv(tmp_path / "fer2013.csv", rows), write_votes(tmp_path / "votes.csv", votes)


@pytest.fixture
def evaluated(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict[str, Any], str]]:
    """Return a function that evaluates a model and returns figures and what was printed."""
    rows, votes = data

    def evaluate(model: Path, *options: object) -> tuple[dict[str, Any], str]:
        result = tmp_path / "figures.json"
        arguments = ("evaluate", model, "--data", rows, "--labels", votes, "--json", result)
        assert run(*arguments, *options) == 0
        return json.loads(result.read_text()), " ".join(capsys.readouterr().out.split())

    return evaluate


Evaluated = Callable[..., tuple[dict[str, Any], str]]


def with_decision(folder: Path, **decision: Any) -> Path:
    """Copy the packaged bundle, with another decision in its metadata."""
    shutil.copytree(PACKAGED, folder)
    file = folder / "metadata.json"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    metadata = json.loads(file.read_text())
    own = metadata.pop("decision", {"temperature": metadata.pop("temperature", 1.0)})
    decision = own | decision
    if decision["prior"] or "output_kind" in metadata:
        metadata |= {"schema_version": 4, "decision": decision}
    else:
        metadata["temperature"] = decision["temperature"]
    file.write_text(json.dumps(metadata))
    sums = folder / "SHA256SUMS"
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    sums.write_text(sums.read_text().replace(before, after))
    return folder


@pytest.mark.parametrize(
    ("options", "protocol", "n"),
    [
        ((), "majority", 35),
        (("--protocol", "plurality"), "plurality", 35),
        (("--protocol", "fer2013"), "fer2013", 36),
        (("--split", "Training"), "majority", 11),
    ],
)
def test_protocols(evaluated: Evaluated, options: tuple[str, ...], protocol: str, n: int) -> None:
    """Majority is the default where votes are given; each protocol has its own rows."""
    figures, shown = evaluated(PACKAGED, *options)
    assert (figures["protocol"], figures["n"]) == (protocol, n)
    assert f"protocol {protocol}" in shown
    foreign = any("contempt" in remark for remark in figures["remarks"])
    assert foreign == (protocol == "fer2013"), "an emotion that the protocol lacks is not spoken of"


def test_the_bundles_own_temperature(evaluated: Evaluated, tmp_path: Path) -> None:
    """Before is before: the bundle's own temperature is taken off, and its figure shown beside."""
    plain, _ = evaluated(with_decision(tmp_path / "plain", prior=PRIOR))
    figures, shown = evaluated(with_decision(tmp_path / "own", prior=PRIOR, temperature=2.5))
    assert figures["ece_untempered"] == plain["ece_untempered"]
    assert figures["temperature"] == plain["temperature"]
    assert figures["own_temperature"] == 2.5
    assert figures["ece"] != plain["ece"]
    assert figures["accuracy"] == plain["accuracy"]
    assert f"{figures['ece']:.4f} at the model's own temperature, 2.500" in shown


def test_what_the_device_answers_is_the_tempered_answer(tmp_path: Path, images: list) -> None:
    """Untempered answers, tempered by hand, are those that the device gives."""
    bundle = with_decision(tmp_path / "own", prior=PRIOR, tau=0.0, temperature=0.6)
    labels, given = tflite_probabilities(bundle, np.stack(images[:5]))
    untold, raw = tflite_probabilities(bundle, np.stack(images[:5]), decided=False)
    assert labels == untold == open_bundle(bundle).metadata.labels
    np.testing.assert_array_equal(temper(raw, 0.6), given)
    assert np.abs(raw - given).max() > 0.01


def test_the_bundles_own_tau_and_another(evaluated: Evaluated, tmp_path: Path) -> None:
    """Figures are those of the bundle's decision; --tau replaces its tau and nothing else."""
    bundle = with_decision(tmp_path / "own", prior=PRIOR, tau=2.0, temperature=0.6)
    figures, shown = evaluated(bundle)
    assert (figures["tau"], figures["own_temperature"]) == (2.0, 0.6)
    assert "tau 2 accuracy" in shown
    plain, _ = evaluated(PACKAGED, "--tau", 0)
    at_0, _ = evaluated(bundle, "--tau", "0")
    assert at_0["confusion"] == plain["confusion"] != figures["confusion"]
    assert at_0["ece_untempered"] == plain["ece_untempered"] != figures["ece_untempered"]
    again, _ = evaluated(with_decision(tmp_path / "other", prior=PRIOR, tau=0.5), "--tau", 2)
    assert again["confusion"] == figures["confusion"]
    assert again["ece_untempered"] == figures["ece_untempered"]


def test_a_model_without_a_prior_counts_it_in_the_training_split(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    """As `convert` would have; data without such a split leave nothing to count."""
    bundle = with_decision(tmp_path / "bare", prior=[], tau=0.0)
    figures, _ = evaluated(bundle, "--tau", 1)
    counts = [2.5, 2.5, 2, 1, 2, 1, 1, 0]  # of twelve; the votes for one, sad, are tied elsewhere
    shares = [round(count / sum(counts), 6) for count in counts]
    expected, _ = evaluated(with_decision(tmp_path / "told", prior=shares, tau=1.0))
    assert figures["confusion"] == expected["confusion"]
    assert figures["ece_untempered"] == expected["ece_untempered"]
    assert figures["ece_untempered"] != evaluated(bundle)[0]["ece_untempered"]


def test_a_tau_without_any_prior_is_refused(
    tmp_path: Path, images: list, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither model nor data tell how frequent the emotions are: one line, exit code 2."""
    import cv2

    folder = tmp_path / "faces" / "happy"
    folder.mkdir(parents=True)
    for number, image in enumerate(images[:3]):
        cv2.imwrite(str(folder / f"{number}.png"), image)
    bundle = with_decision(tmp_path / "bare", prior=[], tau=0.0)
    assert run("evaluate", bundle, "--data", tmp_path / "faces", "--tau", 0.5) == 2
    assert "does not say how frequent each emotion is" in capsys.readouterr().err


def test_a_bare_tflite_file(evaluated: Evaluated) -> None:
    """A file without a bundle has no temperature of its own, and the same answers."""
    figures, shown = evaluated(PACKAGED / "model.tflite")
    bundle, _ = evaluated(PACKAGED, "--tau", 0)  # a bare file has no prior, either
    assert figures["own_temperature"] is None
    assert figures["ece"] == figures["ece_untempered"] == bundle["ece_untempered"]
    assert figures["model_sha256"] == bundle["model_sha256"]
    assert "own temperature" not in shown


def test_calibrated_on_training_rows(evaluated: Evaluated) -> None:
    """--calibrate-on Training says from which rows, and what is wrong with that."""
    figures, shown = evaluated(PACKAGED, "--calibrate-on", "Training")
    assert figures["calibrated_on"] == "11 samples of Training"
    assert "it comes out too low" in shown


def test_outputs_that_do_not_match_the_labels(
    data: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bare 8-class file needs its labels, and as many as it has outputs; the way out is told."""
    rows, _ = data
    bare, content = tmp_path / "bare.tflite", (PACKAGED / "model.tflite").read_bytes()
    bare.write_bytes(content[: content.rindex(b"PK\x03\x04")])  # without the labels at its end
    for options, message in (
        ((), "nothing says which emotion each of its outputs is"),
        (("--model-labels", ",".join(FER2013_EMOTIONS)), "8 outputs for 7 labels"),
    ):
        assert run("evaluate", bare, "--data", rows, *options) == 1
        errors = capsys.readouterr().err
        assert message in errors
        assert "--model-labels" in errors
        assert errors.count("\n") == 1


def test_two_models_on_the_same_samples(evaluated: Evaluated, tmp_path: Path) -> None:
    """The packaged bundle against its own bare file: no sample tells them apart."""
    other = PACKAGED / "model.tflite"
    report = tmp_path / "report"
    figures, shown = evaluated(PACKAGED, "--against", other, "--report", report, "--figures", "svg")
    against = figures["against"]
    assert (against["only_first"], against["only_other"], against["mcnemar_p"]) == (0, 0, 1)
    assert against["other_accuracy"] == figures["accuracy"]
    assert "only the first right 0, only the other 0; McNemar's exact p = 1" in shown
    header, first, *_ = (report / "predictions.csv").read_text().splitlines()
    assert header.endswith(",other")
    assert first.split(",")[2] == first.split(",")[-1]
    names = {file.name for file in report.iterdir()}
    assert {"confusion_matrix.png", "confusion_matrix.svg", "reliability.svg"} <= names
    assert r"\begin{tabular}" in (report / "tables.tex").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--figures", "svg"), "--figures svg: only with --report DIR"),
        (("--against", "no/such"), "no/such: no such model"),
        (("--split", "Validation"), "nothing says which samples"),
    ],
)
def test_options_that_can_not_be_met(
    data: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    message: str,
) -> None:
    """What an option needs is said in one line, as bad usage."""
    assert run("evaluate", PACKAGED, "--data", data[0], *options) == 2
    assert message in capsys.readouterr().err
