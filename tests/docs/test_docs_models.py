"""docs/models-history.md cannot drift from the runs that it describes, whose settings are kept."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from edge.contract.bundle import PACKAGED
from edgeemo.cli.train import train
from host_training.config import TrainConfig, parse_settings, recipe, with_changes
from host_training.metrics.scores import Metrics
from host_training.runs.directory import RunDirectory

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/models-history.md"
TRAINED = ROOT / "docs/trained"
NOT_KEPT = "settings not kept"
"""What a line says that shows a run without a committed ``config.json``."""
FIGURES = {
    "epochs": r"(\d+) epochs",
    "dropout": r"dropout (\d[\d.]*\d|\d)",
    "learning_rate": r"learning rate (?:of )?(\d[\d.]*\d)",
    "label_smoothing": r"label smoothing (\d[\d.]*\d)",
    "mixup": r"mixup (\d[\d.]*\d)",
    "cutout": r"cutout (\d[\d.]*\d)",
    "seed": r"\bseed (\d+)",
}
"""How the tables tell a setting."""

COMMAND = re.compile(r"^\$ edgeemo train (.*)$", re.MULTILINE)
ROW = re.compile(r"^\|\s*\W*`(?:docs/)?trained/([\w-]+)`(.*)$", re.MULTILINE)


def commands(document: Path) -> list[str]:
    return COMMAND.findall(document.read_text("utf-8"))


def parsed(command: str) -> dict[str, Any]:
    """Read a command line as `edgeemo train` itself does."""
    app = typer.Typer()
    app.command()(train)
    words = shlex.split(command, comments=True)
    return typer.main.get_command(app).make_context("train", words).params


def asked_for(given: dict[str, Any]) -> TrainConfig:
    """Return the settings that a command line means, its pretrained left out."""
    options = {
        "architecture": given["arch"],
        **{name: given[name] for name in ("epochs", "batch_size", "learning_rate", "seed")},
    }
    base = recipe(given["recipe"] or "default")
    return with_changes(base, options, parse_settings(given["settings"] or []))


def flat(config: TrainConfig) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(config)
    return fields | fields.pop("augmentation")


def kept() -> list[str]:
    return sorted(file.parent.name for file in TRAINED.glob("*/config.json"))


def of_kept_runs() -> Iterator[tuple[str, str]]:
    for command in commands(PAGE):
        name = Path(parsed(command)["out"]).name
        if name in kept():
            yield name, command


@pytest.mark.parametrize(("name", "command"), list(of_kept_runs()))
def test_a_command_gives_the_settings_that_the_run_had(name: str, command: str) -> None:
    """Whoever gives the command of a run gets the run's own config.json, option by option."""
    given, stored = parsed(command), RunDirectory(TRAINED / name).config()
    asked, had = flat(asked_for(given)), flat(stored)
    for setting in had.keys() - {"teachers", "initial", "anchor_model"}:
        assert asked[setting] == had[setting], f"{setting} of docs/trained/{name}/config.json"
    assert len(given["teacher"] or ()) == len(stored.teachers)
    assert (given["init"] is None) == (stored.initial is None)
    assert (given["anchor"] is None) == (stored.anchor_model is None)


def test_every_kept_run_has_its_command() -> None:
    """A run whose settings are committed can be made again from the page."""
    assert {name for name, _ in of_kept_runs()} == set(kept())


def test_one_name_is_one_model() -> None:
    """Wherever a command names a run or bundle to learn from, its hash is the same."""
    hashes: dict[str, set[str]] = {}
    for name, command in of_kept_runs():
        given, stored = parsed(command), RunDirectory(TRAINED / name).config()
        pairs = list(zip(given["teacher"] or (), stored.teachers, strict=True))
        pairs += [(given["init"], stored.initial)] if stored.initial else []
        pairs += [(given["anchor"], stored.anchor_model)] if stored.anchor_model else []
        for path, sha256 in pairs:
            hashes.setdefault(str(path), set()).add(sha256)
    assert hashes
    assert all(len(found) == 1 for found in hashes.values()), hashes


def test_runs_whose_settings_were_not_kept_are_marked() -> None:
    """A command that no config.json stands behind says so in the comment that ends it."""
    for command in commands(PAGE):
        if Path(parsed(command)["out"]).name not in kept():
            assert NOT_KEPT in command.partition(" # ")[2], command


@pytest.mark.parametrize(("name", "row"), ROW.findall(PAGE.read_text("utf-8")))
def test_a_row_tells_what_the_run_was_and_reached(name: str, row: str) -> None:
    """Settings in a table are those of config.json, and the accuracy is that of metrics.json."""
    run = TRAINED / name
    settings = flat(RunDirectory(run).config())
    for setting, pattern in FIGURES.items():
        for figure in re.findall(pattern, row):
            assert float(figure) == settings[setting], f"{setting} in the row of {name}"
    metrics = msgspec.json.decode((run / "metrics.json").read_bytes(), type=Metrics)
    assert f"{100 * metrics.accuracy:.2f}" in row


@pytest.mark.parametrize("document", ["README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_every_command_line_is_one(document: Path) -> None:
    """Each `edgeemo train` that a document shows has known options with values that fit."""
    for command in commands(ROOT / document):
        if "..." not in command:
            assert asked_for(parsed(command)).epochs > 0


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/train.md", "docs/models.md"])
def test_the_packaged_model_s_figures_are_those_of_its_bundle(page):
    """Accuracy, balanced accuracy and ECE as converted; the same corruption figures everywhere."""
    text = (ROOT / page).read_text("utf-8")
    report = json.loads((PACKAGED / "parity.json").read_text("utf-8"))
    figures = report["comparison"]["tflite"]
    row = next(line for line in text.splitlines() if line.startswith("| FER+ PublicTest, pictures"))
    assert f"{figures['accuracy']:.2%}".replace("%", " %") in row
    assert f"{figures['balanced_accuracy']:.2%}".replace("%", " %") in row
    assert f" {figures['ece']:.3f} " in row
    models = (ROOT / "docs/models.md").read_text("utf-8")
    accuracy, balanced, ece = re.search(
        r"^\| the same, corrupted.*?\| ([\d.]+ %) \| ([\d.]+ %) \| \| ([\d.]+) \|$", models, re.M
    ).groups()
    if page != "docs/models.md":
        assert f"severities | {accuracy} | {balanced} | {ece} |" in text
        size = sum(file.stat().st_size for file in PACKAGED.iterdir())
        assert f"bundle of {size:,} bytes" in text
