"""What a model has seen is judged by the pictures themselves, not by what a data set is called."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeemo.cli.main import main
from host_training.data.load import one_hot
from host_training.data.samples import Samples
from host_training.errors import TrainingError
from host_training.evaluation.evaluate import Evaluation, Question, evaluate_in_full
from host_training.metrics.scores import metrics
from host_training.runs.directory import RunDirectory
from host_training.runs.known_pictures import (
    PICTURES,
    WHERES,
    KnownPictures,
    known_pictures,
    read_known_pictures,
)
from host_training.runs.provenance import ModelProvenance

LABELS = ("neutral", "happiness", "surprise")


def samples(n: int, seed: int = 0) -> Samples:
    generator = np.random.default_rng(seed)
    class_ids = generator.integers(0, 3, n)
    return Samples(
        images=generator.integers(0, 256, (n, 48, 48), np.uint8),
        targets=one_hot(class_ids, 3),
        labels=LABELS,
        class_ids=class_ids,
        split=np.full(n, "Test"),
        name="made",
        form="made up",
        protocol="labels",
    )


def part(rows: Samples, chosen: NDArray[np.generic]) -> Samples:
    mask = np.zeros(len(rows), bool)
    mask[chosen] = True
    return rows.where(mask)


@given(st.lists(st.sampled_from(["unseen", "training", "validation", "both"]), min_size=1))
def test_each_picture_is_found_where_it_was(wheres: list[str]) -> None:
    """Whatever the order, a picture is where it was seen; one on both sides was learnt from."""
    rows, other = samples(len(wheres)), samples(5, seed=1)
    sides = {
        side: np.flatnonzero([where in (side, "both") for where in wheres])
        for side in ("training", "validation")
    }
    known = KnownPictures(
        known_pictures(part(rows, sides["training"]), other).training,
        known_pictures(part(rows, sides["validation"]), other).training,
        "fingerprint",
    )
    found = [WHERES[place] for place in known.places(rows.images[::-1])]
    assert found == ["training" if where == "both" else where for where in reversed(wheres)]
    assert not known.places(other.images).any()


def test_the_file_gives_the_pictures_back(tmp_path: Path) -> None:
    """Kept and read again they are the same; another run's or none are not taken for them."""
    rows, file = samples(40), tmp_path / PICTURES
    known = known_pictures(part(rows, np.arange(30)), part(rows, np.arange(30, 40)))
    file.write_bytes(known.encode())
    read = read_known_pictures(file, known.fingerprint)
    assert read is not None
    assert read.places(rows.images).tolist() == [1] * 30 + [2] * 10
    assert read.encode() == known.encode()
    assert read_known_pictures(file, "another") is None
    assert read_known_pictures(tmp_path / "none.npz", known.fingerprint) is None
    assert file.stat().st_size < 40 * 8 + 1200


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x02."])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """What is no such file is one line with its name, and is never unpickled."""
    (tmp_path / PICTURES).write_bytes(content)
    with pytest.raises(TrainingError, match=r"pictures\.npz: not the pictures of a run"):
        read_known_pictures(tmp_path / PICTURES, "x")


def test_figures_are_told_apart_by_what_was_seen() -> None:
    """Numbers, each sample in its order, and the figures of the unseen ones alone."""
    rows = samples(90)
    known = known_pictures(part(rows, np.arange(60)), part(rows, np.arange(60, 70)))
    scores = np.full((90, 3), 0.1, np.float32) + 0.7 * one_hot(rows.class_ids, 3)
    scores[75:80] = scores[75:80, [1, 2, 0]]

    def predict(_: Samples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        return LABELS, scores

    # Another name and split change nothing: what counts is in the pictures.
    called = replace(rows, name="elsewhere", split=np.full(90, "Fresh"))
    figures = evaluate_in_full(
        called, Question(), predict, ModelProvenance("m", "0", known=known)
    ).figures
    seen = figures.seen
    assert seen is not None
    assert (seen.training, seen.validation, seen.unseen) == (60, 10, 20)
    assert seen.samples == ("training",) * 60 + ("validation",) * 10 + ("unseen",) * 20
    expected = metrics(scores[70:], rows.class_ids[70:], LABELS, protocol="labels", split="Fresh")
    assert seen.unseen_figures == expected
    assert expected.accuracy == 0.75
    assert "learnt from 60 of these 90 samples: the figures are flattered" in figures.remarks[0]
    assert "10 of these 90 samples chose the model's best epoch" in figures.remarks[1]
    assert msgspec.json.decode(msgspec.json.encode(figures), type=Evaluation) == figures


def test_nothing_is_said_of_what_is_not_known() -> None:
    """A model whose run kept no pictures has no such figures; one that saw none flatters none."""
    rows = samples(30)

    def predict(_: Samples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        return LABELS, one_hot(rows.class_ids, 3)

    untold = evaluate_in_full(rows, Question(), predict, ModelProvenance("m", "0")).figures
    assert untold.seen is None
    known = known_pictures(samples(9, seed=2), samples(9, seed=3))
    new = evaluate_in_full(
        rows, Question(), predict, ModelProvenance("m", "0", known=known)
    ).figures
    assert new.seen is not None
    assert new.seen.unseen == 30
    assert new.remarks == ()


def edgeemo(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Class folders, and a run of one epoch on them."""
    import cv2

    folder = tmp_path_factory.mktemp("trained")
    for kind, name in enumerate(("happy", "sad")):
        (folder / "data" / name).mkdir(parents=True)
        for i in range(10):
            image = samples(1, seed=100 * kind + i).images[0] // 2 + 127 * np.uint8(kind)
            cv2.imwrite(str(folder / "data" / name / f"{i}.png"), image)
    run = folder / "run"
    options = ("--arch", "micro", "--epochs", 1, "--batch-size", 4)
    assert edgeemo("train", "--data", folder / "data", "--out", run, *options) == 0
    return folder / "data", run


def test_a_run_is_measured_on_what_it_held_out(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--split Validation` is the very rows that run.json names, with the run's own figures."""
    data, run = trained
    figures = measured(tmp_path, run, data, "--split", "Validation")
    record, own = RunDirectory(run).record(), json.loads((run / "metrics.json").read_text())
    assert figures["data"]["fingerprint"] == record.validation_data.fingerprint
    assert (figures["n"], figures["accuracy"]) == (own["n"], own["accuracy"])
    assert set(figures["seen"]["samples"]) == {"validation"}
    assert "a validation, not a test" in " ".join(figures["remarks"])
    capsys.readouterr()
    (tmp_path / "other").mkdir()
    for name in ("happy", "sad"):
        (tmp_path / "other" / name).symlink_to(data / name)
    (tmp_path / "other" / "sad").unlink()
    (tmp_path / "other" / "angry").symlink_to(data / "sad")
    refused = ("evaluate", run, "--data", tmp_path / "other", "--split", "Validation")
    assert edgeemo(*refused) == 2
    assert "what" in (error := capsys.readouterr().err)
    assert "held out is not in this data; give the --data" in error


def test_evaluate_tells_what_the_run_has_seen(trained: tuple[Path, Path], tmp_path: Path) -> None:
    """Copied pictures under another name are recognised, new ones are measured apart."""
    import cv2

    data, run = trained
    for i, name in enumerate(("happy", "sad")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for file in sorted((data / name).iterdir()):
            (tmp_path / "mine" / name / f"copy-{file.name}").write_bytes(file.read_bytes())
        for j in range(4):
            image = samples(1, seed=1000 + 10 * i + j).images[0]
            cv2.imwrite(str(tmp_path / "mine" / name / f"new-{j}.png"), image)
    seen = measured(tmp_path, run, tmp_path / "mine")["seen"]
    record = RunDirectory(run).record()
    counts = (record.training_data.rows, record.validation_data.rows)
    assert (seen["training"], seen["validation"], seen["unseen"]) == (*counts, 8)
    assert seen["unseen_figures"]["n"] == seen["samples"].count("unseen") == 8


def measured(tmp_path: Path, model: Path, data: Path, *options: object) -> dict[str, Any]:
    result = tmp_path / "figures.json"
    assert edgeemo("evaluate", model, "--data", data, "--json", result, *options) == 0
    figures: dict[str, Any] = json.loads(result.read_text())
    return figures
