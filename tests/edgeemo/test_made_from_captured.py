"""What is made from captured pictures is named when a person is forgotten, whatever made it."""

from pathlib import Path

import cv2
import pytest

from edge.assets.store import ASTRONAUT, asset_path
from edge.capture.folder import CaptureFolder, Taken
from edgeemo.cli.main import main

MADE = {
    "pictures": "wrong.contradicted.png",
    "contact sheets": "sheets",
    "labelling tasks": "tasks.json",
    "prepared data": "prepared",
    "shards": "shards",
    "report": "report",
    "run": "adapted",
    "cross-validation": "folds",
    "bundle": "my-bundle",
}
TRAIN = ("--epochs", "1", "--set", "engine=keras")


def edgeemo(*words: object) -> int:
    """Run a command in this process; return its exit code."""
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture
def captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of four people's smiles, half of which are labelled anger."""
    monkeypatch.chdir(tmp_path)
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    folder = CaptureFolder(Path("mine"))
    with folder.opened() as lines:
        for number in range(16):
            person = ("anna", "ben", "cleo", "dora")[number % 4]
            label = ("happiness", "anger")[number // 4 % 2]
            image = photo[: 240 + 4 * number, 120 : 360 + 4 * number]
            line = Taken(
                path=f"{label}/{person}-0123abcd-{number:04d}.png",
                label=label,
                subject=person,
                time="2026-11-30T20:00:00.000Z",
                session="0123abcd",
                camera="demo",
                quality="ok",
                consent="",
                consent_time="2026-11-30T20:00:00Z",
            )
            folder.keep(image, line, lines)
    return folder.path


def test_it_is_named_whatever_made_it(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures, copies of them, and networks that learnt from them: each by its path."""
    prepared = ("--prepared", "prepared", "--data", captured)
    assert edgeemo("calibrate", "default", "--data", captured, "--out", "wrong") == 1
    assert edgeemo("data", "audit", captured, "--sheets", "sheets") == 0
    assert edgeemo("data", "export", captured, "--out", "tasks.json") == 0
    assert edgeemo("data", "prepare", captured, "--out", "prepared", "--workers", 1) == 0
    assert edgeemo("data", "prepare", captured, "--out", "shards", "--shards", 100) == 0
    assert edgeemo("evaluate", "default", "--data", captured, "--report", "report") == 0
    adapt = ("--recipe", "adapt", "--arch", "micro", "--out", "adapted", *TRAIN)
    assert edgeemo("train", *prepared, *adapt) == 0
    folds = ("--folds", 2, "--by", "subject", "--out", "folds")
    assert edgeemo("evaluate", "adapted", *prepared, *folds) == 0
    assert edgeemo("convert", "adapted", *prepared, "--out", "my-bundle", "--force", "--int8") == 0
    capsys.readouterr()
    assert edgeemo("capture", "--forget", "anna", "--out", captured) == 0
    shown = capsys.readouterr().out
    for what, path in MADE.items():
        assert f"{what} {Path(path).resolve()} (" in shown
