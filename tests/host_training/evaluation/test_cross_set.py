"""One model on several data sets: each says whether the model knows it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.contract.bundle import PACKAGED
from edge.contract.metadata import Dataset
from edgeemo.cli.main import main
from host_training.data.samples import Samples
from host_training.evaluation.cross_set import Relation, relation
from host_training.runs.directory import RunDirectory, RunRecord
from host_training.runs.provenance import ModelProvenance, origin_of_run

Write = Callable[..., Path]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("name", "training", "validation", "names", "expected"),
    [
        ("stripes", "other", "other", ("ferplus",), "zero-shot"),
        ("stripes", "other", "other", ("stripes",), "own data"),
        ("stripes", "all", "other", ("ferplus",), "own data"),
        ("stripes", "Training", "other", ("ferplus",), "own data"),
        ("stripes", "other", "PublicTest", ("ferplus",), "own data"),
        ("fer2013", "other", "other", ("ferplus",), "own data"),
        ("ferplus", "other", "other", ("fer2013",), "own data"),
        ("stripes", None, None, (), "unknown"),
    ],
)
def test_what_the_model_knows(
    striped: Samples,
    name: str,
    training: str | None,
    validation: str | None,
    names: tuple[str, ...],
    expected: Relation,
) -> None:
    """A set is its own by the fingerprint of a part or by name, and zero-shot by neither."""
    samples = replace(striped, name=name)

    def print_of(part: str | None) -> str | None:
        if part in (None, "other"):
            return part
        chosen = samples if part == "all" else samples.split_rows(part)
        return chosen.fingerprint().fingerprint

    origin = ModelProvenance("m", "0", None, print_of(training), print_of(validation), names)
    assert relation(samples, origin) == expected


def test_two_data_sets(
    tmp_path: Path,
    write_csv: Write,
    write_votes: Write,
    write_folders: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Votes go with the CSV alone; each set has its column, its report and its figures."""
    generator = np.random.default_rng(0)
    numbers = [3, 5, 4, 0, 6] * 6
    images = generator.integers(0, 256, (len(numbers), 48, 48), np.uint8)
    rows = [(number, image, "PublicTest") for number, image in zip(numbers, images, strict=True)]
    csv = write_csv(tmp_path / "fer2013.csv", rows)
    column = {6: 0, 3: 1, 5: 2, 4: 3, 0: 4}
    votes = write_votes(
        tmp_path / "votes.csv",
        [("PublicTest", np.eye(10, dtype=int)[column[number]] * 10) for number in numbers],
    )
    folder = write_folders(tmp_path / "mine", ("happy", "sad"), 15)
    out, report = tmp_path / "x.json", tmp_path / "report"
    sets = ("--data", csv, "--labels", votes, "--data", folder)
    assert run("evaluate", PACKAGED, *sets, "--json", out, "--report", report) == 0
    shown = capsys.readouterr().out
    result = json.loads(out.read_text())["sets"]
    assert [(one["name"], one["relation"]) for one in result] == [
        ("fer2013", "own data"),
        ("mine", "zero-shot"),
    ]
    assert [one["figures"]["protocol"] for one in result] == ["majority", "labels"]
    alone = tmp_path / "alone.json"
    assert run("evaluate", PACKAGED, "--data", folder, "--json", alone) == 0
    assert result[1]["figures"] == json.loads(alone.read_text())
    text = (report / "report.md").read_text()
    for line in ("| data | own data | zero-shot |", "| n | 30 | 30 |"):
        assert line in text
    for word in ("zero-shot", "recall happiness", "95 % interval"):
        assert word in shown
    for one in result:
        assert (report / one["name"] / "predictions.csv").is_file()
    accuracy = f"{100 * result[1]['figures']['accuracy']:.1f}"
    assert f" {accuracy} |" in next(row for row in text.splitlines() if "| accuracy" in row)


def test_two_of_one_name(tmp_path: Path, write_folders: Write) -> None:
    """Data sets of one name are told apart by a number, in the table and on the disk."""
    folders = [write_folders(tmp_path / place / "test", ("happy", "sad"), 6) for place in "ab"]
    out = tmp_path / "x.json"
    sets = [word for folder in folders for word in ("--data", folder)]
    assert run("evaluate", PACKAGED, *sets, "--json", out) == 0
    names = [one["name"] for one in json.loads(out.read_text())["sets"]]
    assert names == ["test-1", "test-2"]


def test_what_it_started_from_counts(tmp_path: Path) -> None:
    """A run knows the data of the models before it; where one is gone, nobody can tell."""
    dataset = Dataset(name="mine", split="Training", rows=3, fingerprint="f" * 64)
    fields = {
        "run_id": "r", "created_at": "", "edgeemo_version": "0", "architecture": "compact",
        "labels": ("neutral", "happiness"), "template_id": "fer48-v1", "protocol": "labels",
        "seed": 1, "data_form": "", "epochs": 1,
    }  # fmt: skip

    def origin_with(name: str, **pretrained: object) -> ModelProvenance:
        run = RunDirectory(tmp_path / name)
        run.path.mkdir()
        run.model.write_bytes(b"weights")
        data = {"training_data": dataset, "validation_data": dataset}
        run.write_record(RunRecord(**fields, **data, **pretrained))  # type: ignore[arg-type]
        return origin_of_run(run.path)

    fresh = origin_with("fresh")
    assert (fresh.data_names, fresh.is_traced) == (("mine",), True)
    tuned = origin_with("tuned", initial=str(PACKAGED))
    assert (tuned.data_names, tuned.is_traced) == (("mine", "ferplus"), True)
    taught = origin_with("taught", teachers=(str(tmp_path / "tuned"),))
    assert set(taught.data_names) == {"mine", "ferplus"}
    lost = origin_with("lost", teachers=(str(tmp_path / "gone"),))
    assert not lost.is_traced


def test_lost_ancestors_make_no_set_zero_shot(striped: Samples) -> None:
    """Without every model before it, a set that the record does not name is no zero-shot one."""
    origin = ModelProvenance("m", "0", None, "other", "other", ("ferplus",), is_traced=False)
    assert relation(striped, origin) == "unknown"
    assert relation(replace(striped, name="ferplus"), origin) == "own data"
