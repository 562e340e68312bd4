"""Runs can be listed and held against each other."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.contract.metadata import Dataset
from edge.errors import ConfigError
from edgeemo.cli.main import main
from host_training.config import TrainConfig
from host_training.runs.directory import RunDirectory, RunRecord, create_run
from host_training.runs.registry import (
    comparable,
    differing_settings,
    find_runs,
    read_run,
    validation_differences,
)
from host_training.training.checkpoint import EpochRow


def make(
    path: Path,
    config: TrainConfig,
    accuracy: float,
    rows: str = "same",
    *,
    n: int = 100,
    split: str = "PublicTest",
    protocol: str = "majority",
) -> RunDirectory:
    """Write the small files of a run of two epochs."""
    data = Dataset(name="made", split=split, rows=n, fingerprint=rows)
    record = RunRecord(
        run_id=path.name,
        created_at=f"2026-01-0{len(path.name)}T00:00:00+00:00",
        edgeemo_version="0",
        architecture=config.architecture,
        labels=("neutral", "fear"),
        template_id="fer48-v1",
        parameters=1000,
        macs=2_000_000,
        protocol=protocol,
        seed=config.seed,
        data_form="made",
        training_data=data,
        validation_data=data,
        epochs=2,
        epochs_done=2,
    )
    run = create_run(path, config, record)
    run.write_history(
        [
            EpochRow(
                epoch=i,
                learning_rate=0.1,
                loss=1.0,
                accuracy=0.5,
                val_loss=1.0,
                val_accuracy=value,
                val_balanced_accuracy=0.4,
                seconds=60.0,
            )
            for i, value in enumerate((accuracy, accuracy - 0.1), 1)
        ]
    )
    return run


def test_lists_runs_by_age_with_their_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every run below a folder is a line; one that is damaged is named, not hidden."""
    make(tmp_path / "bb", TrainConfig(), 0.8)
    make(tmp_path / "deep" / "a", TrainConfig(), 0.9)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "run.json").write_text("{")
    runs, remarks = find_runs(tmp_path)
    assert [run.record.run_id for run in runs] == ["a", "bb"]
    assert runs[0].best is not None
    assert runs[0].best.val_accuracy == 0.9
    assert len(remarks) == 1
    assert "torn" in remarks[0]


def test_names_what_differs(tmp_path: Path) -> None:
    """Settings of rows and views are compared by name; equal ones are left out."""
    views = msgspec.structs.replace(TrainConfig().augmentation, cutout=0.3)
    a = make(tmp_path / "a", TrainConfig(seed=1), 0.8)
    b = make(tmp_path / "bb", TrainConfig(seed=2, augmentation=views), 0.8)
    runs = [read_run(run.path) for run in (a, b)]
    assert differing_settings(runs) == {"seed": (1, 2), "cutout": (0.0, 0.3)}


def test_other_rows_are_not_comparable(tmp_path: Path) -> None:
    """Figures on other validation rows are shown as what they are."""
    a = make(tmp_path / "a", TrainConfig(), 0.8)
    b = make(tmp_path / "bb", TrainConfig(), 0.8)
    c = make(tmp_path / "ccc", TrainConfig(), 0.8, rows="others")
    assert comparable([read_run(run.path) for run in (a, b)])
    assert not comparable([read_run(run.path) for run in (a, c)])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rows": "others"}, {"fingerprint": ("same", "others")}),
        (
            {"rows": "others", "n": 90},
            {"samples": ("100", "90"), "fingerprint": ("same", "others")},
        ),
        ({"protocol": "plurality"}, {"protocol": ("majority", "plurality")}),
        (
            {"rows": "others", "split": "Validation"},
            {"split": ("PublicTest", "Validation"), "fingerprint": ("same", "others")},
        ),
        ({}, {}),
    ],
)
def test_tells_why_runs_are_not_comparable(
    tmp_path: Path, changes: dict[str, Any], told: dict[str, tuple[str, str]]
) -> None:
    """What differs about the validation is named, and nothing else; no two lines are equal."""
    a = make(tmp_path / "a", TrainConfig(), 0.8)
    b = make(tmp_path / "bb", TrainConfig(), 0.8, **changes)
    runs = [read_run(run.path) for run in (a, b)]
    assert validation_differences(runs) == told
    assert comparable(runs) is not bool(told)


def test_runs_are_tested_on_the_rows_that_both_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """McNemar's test from what each run kept; what cannot be tested says why."""
    runs = [make(tmp_path / name, TrainConfig(), 0.8) for name in ("a", "bb", "ccc")]
    for run, right in zip(runs, ([1] * 90 + [0] * 10, [1] * 80 + [0] * 20), strict=False):
        run.write_answers(right)
    others = make(tmp_path / "dddd", TrainConfig(), 0.8, rows="others")
    others.write_answers([1] * 100)
    listing = tmp_path / "runs.json"
    paths = [str(run.path) for run in (*runs, others)]
    with pytest.raises(SystemExit, match="0"):
        main(["runs", "compare", *paths, "--json", str(listing)])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{runs[0].path} against {runs[1].path}, 80.00%: a difference of +10.00 points" in shown
    assert "only the first right 10, only the other 0; McNemar's exact p = 0.00195" in shown
    assert f"{runs[0].path} against {runs[2].path}: not tested" in shown
    tests = [run["against_first"] for run in msgspec.json.decode(listing.read_bytes())]
    assert [test is None for test in tests] == [True, False, True, True]
    (runs[1].path / "answers.csv").write_text("right\n2\n")
    with pytest.raises(SystemExit, match="1"):
        main(["runs", "compare", *paths])
    assert "answers.csv: not a run's answers" in capsys.readouterr().err


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`runs list` and `runs compare` print figures and write JSON and a picture."""
    a = make(tmp_path / "a", TrainConfig(seed=1), 0.8)
    b = make(tmp_path / "bb", TrainConfig(seed=2), 0.7, rows="others")
    png, listing = tmp_path / "curves.png", tmp_path / "runs.json"
    for command in (
        ["runs", "list", str(tmp_path), "--json", str(listing)],
        ["runs", "compare", str(a.path), str(b.path), "--png", str(png)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert not ended.value.code
    printed = capsys.readouterr().out
    assert "80.00%" in printed
    shown = " ".join(printed.partition("NOT COMPARABLE")[2].split())
    assert shown.endswith(f"answers: fingerprint: same ({a.path}), others ({b.path})")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert len(msgspec.json.decode(listing.read_bytes())) == 2


def test_a_list_fits_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every word and figure of a list is whole at 80 columns; runs stand with their like."""
    monkeypatch.setenv("COLUMNS", "80")
    for name, rows in (("a", "some"), ("a-rather-long-name-of-a-run", "some"), ("b", "others")):
        make(tmp_path / name, TrainConfig(), 0.8, rows=rows)
    with pytest.raises(SystemExit):
        main(["runs", "list", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    for word in ("network", "accuracy", "balanced", "minutes", "80.00%"):
        assert word in printed
    headings = [line.strip() for line in printed.splitlines() if line.startswith("validated on")]
    assert [heading.rpartition(" ")[2] for heading in headings] == ["some", "others"]


def test_nothing_to_list_or_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty folder, no folder, a single run and what is no run are bad usage of one line."""
    with pytest.raises(ConfigError, match="no such folder"):
        find_runs(tmp_path / "nowhere")
    absent = str(tmp_path / "nowhere")
    commands = (
        ["runs", "list", str(tmp_path)],
        ["runs", "list", absent],
        ["runs", "compare", "only"],
        ["runs", "compare", absent, absent],
        ["runs", "compare", str(tmp_path), str(tmp_path)],
    )
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == len(commands)


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".PNG", ".Pdf"])
def test_curves_are_drawn_in_the_form_that_the_name_says(tmp_path: Path, suffix: str) -> None:
    """Each form is written, whatever the case of its name."""
    paths = [str(make(tmp_path / name, TrainConfig(), 0.8).path) for name in ("a", "bb")]
    picture = tmp_path / f"curves{suffix}"
    with pytest.raises(SystemExit) as ended:
        main(["runs", "compare", *paths, "--png", str(picture)])
    assert not ended.value.code
    beginnings = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert picture.read_bytes().startswith(beginnings[suffix.lower()])


def test_a_picture_of_another_form_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that says no form of ours is a usage error, and the forms are listed."""
    with pytest.raises(SystemExit, match="2"):
        main(["runs", "compare", "a", "b", "--png", str(tmp_path / "curves.gif")])
    assert "expected a name that ends in .png, .svg, .pdf" in capsys.readouterr().err
