"""The whole way on a user's own pictures: train, evaluate, convert, and run on the device."""

import csv
import http.client
import json
import socket
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
from edge.contract.bundle import open_bundle
from edgeemo.cli.main import main

Light = Callable[[NDArray[np.float32]], NDArray[np.float32]]

NUMBER = 20
"""Pictures a class."""
SIDE = 160

RAMP = np.linspace(0.35, 1.15, SIDE, dtype=np.float32)
LIGHTS: dict[str, Light] = {
    "happy": lambda face: face,
    "Engaged": lambda face: face * RAMP[:, None],
    "surprised": lambda face: face * RAMP[::-1, None],
}
"""What tells the made classes apart: one face, lit evenly, from below or from above. One of them is
a class of one's own."""
LABELS = {"happy": "happiness", "Engaged": "engaged", "surprised": "surprise"}
IN_ORDER = ("happiness", "surprise", "engaged")


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


@pytest.fixture(scope="module")
def bundle(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train, evaluate and convert, by the commands."""
    top = tmp_path_factory.mktemp("trained")
    out, figures = top / "run", top / "figures.json"
    options = ("--arch", "micro", "--epochs", 12, "--batch-size", 8, "--set", "ema=0.8")
    assert run("train", "--data", pictures, "--out", out, *options) == 0
    assert run("evaluate", out, "--data", pictures, "--json", figures) == 0
    assert run("convert", out, "--int8", "--data", pictures, "--out", top / "bundle") == 0
    measured = json.loads(figures.read_text())
    assert measured["n"] == len(LIGHTS) * NUMBER
    assert measured["accuracy"] > 0.9
    return top / "bundle"


def test_from_class_folders_to_the_device(pictures: Path, bundle: Path, tmp_path: Path) -> None:
    """Four commands take 20 pictures a class to a bundle that tells them apart on the device."""
    assert {path.name for path in bundle.iterdir()} > {"model.tflite", "MODEL_CARD.md"}
    assert open_bundle(bundle).metadata.labels == IN_ORDER
    for name, label in LABELS.items():
        said = seen_by_the_device(pictures / name, bundle, tmp_path / f"log-{name}")
        assert said.total() > 0.9 * NUMBER, "the faces are not found"
        assert said[label] > 0.7 * NUMBER


def test_a_class_of_ones_own_is_in_every_table_and_on_every_page(
    pictures: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Log, summary, export, report: behind the emotions, in its own colour."""
    log, table, page = tmp_path / "log", tmp_path / "table.csv", tmp_path / "report.html"
    seen_by_the_device(pictures / "Engaged", bundle, log)
    first = json.loads((log / "edgeemo.jsonl").read_text().splitlines()[0])
    assert first["labels"] == list(IN_ORDER)
    capsys.readouterr()
    assert run("logs", "summary", log) == 0
    assert "engaged" in capsys.readouterr().out
    assert run("logs", "export", log, "--out", table) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    scores = [name for name in rows[0] if name.startswith("score_")]
    assert scores[-2:] == ["score_contempt", "score_engaged"]
    assert sum(float(row["score_engaged"] or 0) > 0.5 for row in rows) > 0.7 * NUMBER
    assert run("logs", "report", log, "--out", page) == 0
    assert ".own-h339 {" in page.read_text("utf-8")


def test_a_bundle_with_classes_of_ones_own_is_shown_and_can_be_pushed(
    bundle: Path, tmp_path: Path
) -> None:
    """The live page is told its labels and scores; a dry run of deploy takes it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = ["view", "--source", "demo", "--model", str(bundle), "--port", str(port)]
    with subprocess.Popen(
        [sys.executable, "-m", "edgeemo", *words], stderr=subprocess.PIPE, text=True
    ) as viewer:
        assert viewer.stderr is not None
        while "watch at" not in viewer.stderr.readline():
            assert viewer.poll() is None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("GET", "/events")
        stream = connection.getresponse()
        lines = (line.decode() for line in iter(stream.readline, b""))
        events = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(events)["about"]["labels"] == list(IN_ORDER)
        face = next(event["faces"][0] for event in events if event.get("faces"))
        assert [label for label, _ in face["scores"]] == list(IN_ORDER)
        connection.close()
        viewer.terminate()
    words = ["--no-service", "--dry-run", "--prefix", tmp_path / "device", "--model", bundle]
    command = [sys.executable, "-m", "edgeemo", "deploy", "push", "@local", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "switch current from nothing" in done.stdout
    assert not (tmp_path / "device").exists()
