"""The whole way on a user's own pictures: train, evaluate, convert, and run on the device."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.assets.store import ASTRONAUT, asset_path
from edgeemo.cli.main import main

Light = Callable[[NDArray[np.float32]], NDArray[np.float32]]

NUMBER = 20
"""Pictures a class."""
SIDE = 160

RAMP = np.linspace(0.35, 1.15, SIDE, dtype=np.float32)
LIGHTS: dict[str, Light] = {
    "happy": lambda face: face,
    "sad": lambda face: face * RAMP[:, None],
    "surprised": lambda face: face * RAMP[::-1, None],
}
"""What tells the made classes apart: one face, lit evenly, from below or from above."""
LABELS = {"happy": "happiness", "sad": "sadness", "surprised": "surprise"}


def run(*arguments: object) -> int:
    """Run the command in this process: TensorFlow is slow to load."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def seen_by_the_device(pictures: Path, bundle: Path, log: Path) -> Counter[str]:
    """Run the device's command on a folder of pictures; count what it names, a picture each."""
    options = ("--source", pictures, "--model", bundle, "--log-dir", log, "--emit", "frame")
    command = [sys.executable, "-m", "edgeemo", "run", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    records = map(json.loads, (log / "edgeemo.jsonl").read_text().splitlines())
    return Counter(record["label"] for record in records if record["kind"] == "emotion")


def faces() -> Iterator[NDArray[np.float32]]:
    """Cut the astronaut's face out, each time a little otherwise and with other noise."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)), cv2.IMREAD_GRAYSCALE)
    generator = np.random.default_rng(0)
    while True:
        x, y = generator.integers(152, 168), generator.integers(52, 68)
        side = generator.integers(128, 144)
        face = cv2.resize(photo[y : y + side, x : x + side], (SIDE, SIDE)).astype(np.float32)
        yield face + generator.normal(0, 4, face.shape).astype(np.float32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders as a researcher has them: 20 pictures a class, larger than the network's."""
    folder = tmp_path_factory.mktemp("own") / "pictures"
    made = faces()
    for name, light in LIGHTS.items():
        (folder / name).mkdir(parents=True)
        for i in range(NUMBER):
            picture = np.clip(light(next(made)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{i:02d}.png"), picture)
    return folder


def test_from_class_folders_to_the_device(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four commands take 20 pictures a class to a bundle that tells them apart on the device."""
    out, bundle, figures = tmp_path / "run", tmp_path / "bundle", tmp_path / "figures.json"
    options = ("--arch", "micro", "--epochs", 12, "--batch-size", 8, "--set", "ema=0.8")
    assert run("train", "--data", pictures, "--out", out, *options) == 0
    assert run("evaluate", out, "--data", pictures, "--json", figures) == 0
    assert run("convert", out, "--int8", "--data", pictures, "--out", bundle) == 0
    measured = json.loads(figures.read_text())
    assert measured["n"] == len(LIGHTS) * NUMBER
    assert measured["accuracy"] > 0.9
    assert {path.name for path in bundle.iterdir()} > {"model.tflite", "MODEL_CARD.md"}
    assert capsys.readouterr().err == ""
    for name, label in LABELS.items():
        said = seen_by_the_device(pictures / name, bundle, tmp_path / f"log-{name}")
        assert said.total() > 0.9 * NUMBER, "the faces are not found"
        assert said[label] > 0.7 * NUMBER
