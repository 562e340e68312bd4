"""The workstation's commands from the outside: exit codes, one-line errors, a real SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import edge
from edge.contract.bundle import FILES, METADATA, open_bundle, write_bundle
from edge.contract.metadata import encode_metadata
from edgeemo.cli.main import main

CLASSES = ("happy", "sad", "surprised")
Write = Callable[..., Path]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edgeemo", *map(str, arguments)]


def run(*arguments: object) -> int:
    """Run the command in this process (TensorFlow is slow to load); return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def data(tmp_path: Path, write_folders: Write) -> Path:
    return write_folders(tmp_path / "data", CLASSES, 12)


def test_killed_and_resumed(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After SIGKILL a run says from where it resumes, completes, and is evaluated."""
    out = tmp_path / "run"
    settings = ("train", "--data", data, "--out", out)
    options = ("--epochs", 6, "--batch-size", 8)
    with subprocess.Popen(
        command(*settings, *options), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while not (out / "checkpoints" / "epoch-0001.npz").exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        _, complaints = process.communicate()
    assert process.returncode == -signal.SIGKILL, complaints.decode()

    resumed = subprocess.run(
        command(*settings, "--resume"), capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr == ""
    assert f"resuming {out} at epoch " in resumed.stdout
    assert "epoch 6/6" in resumed.stdout
    assert "epoch 1/6" not in resumed.stdout
    assert json.loads((out / "run.json").read_text())["state"] == "complete"

    result = tmp_path / "figures.json"
    assert run("evaluate", out, "--data", data, "--json", result) == 0
    shown = capsys.readouterr().out
    assert "class folders" in shown
    assert "flattered" in shown, "training rows are measured on, and nobody says so"
    figures = json.loads(result.read_text())
    assert (figures["n"], figures["protocol"]) == (36, "labels")
    assert set(figures["per_class"]) == {"happiness", "sadness", "surprise"}


def test_audit_writes_what_it_prints(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`data audit` prints the recognised form and writes the counts as JSON."""
    assert run("data", "audit", data, "--json", tmp_path / "audit.json") == 0
    assert "data: class folders, 36 samples, protocol labels" in capsys.readouterr().out
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert audit["splits"]["Training"]["per_class"] == {
        "happiness": 12,
        "surprise": 12,
        "sadness": 12,
    }
    assert audit["duplicates"]["groups"] == 0


def test_audit_of_faces_and_sheets(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faces are counted alike by looking and from a prepared folder; sheets are written."""
    looked, read, sheets = (tmp_path / name for name in ("looked.json", "read.json", "sheets"))
    assert run("data", "audit", data, "--faces", "--workers", 1, "--json", looked) == 0
    assert run("data", "prepare", data, "--out", tmp_path / "prepared", "--workers", 1) == 0
    capsys.readouterr()
    arguments = ("--prepared", tmp_path / "prepared", "--sheets", sheets, "--json", read)
    assert run("data", "audit", data, *arguments) == 0
    shown = capsys.readouterr().out
    assert "no face found in" in shown
    assert "contact sheets: " in shown
    assert looked.read_text() == read.read_text()
    faces = json.loads(read.read_text())["faces"]
    assert faces["rows_with_face"] + sum(faces["rows_without_face"]["Training"].values()) == 36
    assert {file.stem for file in sheets.iterdir()} >= {"happiness", "sadness", "surprise"}
    assert run("data", "audit", data, "--no-near", "--json", read) == 0
    assert json.loads(read.read_text())["near_duplicates"] is None


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "--data", "{data}", "--out", "{new}", "--arch", "vgg"], 2, "unknown arch"),
        (["train", "--data", "{data}", "--out", "{new}", "--epochs", "0"], 2, "--epochs"),
        (["train", "--data", "{data}", "--out", "{new}", "--resume"], 2, "no such run"),
        (["train", "--data", "{data}", "--out", "{data}"], 2, "not empty"),
        (["train", "--data", "{new}", "--out", "{new}"], 2, "no such file or folder"),
        (["data", "audit", "{new}"], 2, "no such file or folder"),
        (["data", "audit", "{data}", "--protocol", "majority"], 2, "--protocol majority"),
        (["data", "audit", "{data}", "--json", "{data}/no/a.json"], 2, "there is no folder"),
        (["data", "audit", "{data}", "--prepared", "{new}"], 2, "prepared.json: cannot be read"),
        (["data", "audit", "{data}", "--faces", "--prepared", "{new}"], 2, "give one of them"),
        (["data", "prepare", "{new}", "--out", "{new}"], 2, "no such file or folder"),
        (["data", "prepare", "{data}", "--out", "{data}/happy/0.png"], 1, "cannot be made"),
        (["evaluate", "{new}", "--data", "{data}"], 2, "no such model"),
        (["evaluate", "{data}", "--data", "{data}"], 1, "a bundle holds model.tflite"),
    ],
)
def test_errors_are_one_line(
    tmp_path: Path,
    data: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    """Wrong usage and wrong data end with one line, the right exit code, and nothing written."""
    new = tmp_path / "new"
    assert run(*(argument.format(data=data, new=new) for argument in arguments)) == code
    errors = capsys.readouterr().err
    assert errors.startswith("edgeemo: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert not new.exists()


def test_a_model_that_does_not_know_an_emotion(
    tmp_path: Path, write_folders: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of an emotion that the model lacks are an error that names and counts them."""
    out = tmp_path / "run"
    known = write_folders(tmp_path / "known", CLASSES[:2], 6)
    assert run("train", "--data", known, "--out", out, "--epochs", 1, "--batch-size", 4) == 0
    more = write_folders(tmp_path / "more", CLASSES, 3)
    capsys.readouterr()
    assert run("evaluate", out / "model.keras", "--data", more) == 1
    errors = capsys.readouterr().err
    assert "surprise (3 samples); the model knows happiness, sadness" in errors
    assert errors.count("\n") == 1


def test_a_file_that_is_no_model(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A .keras file that Keras cannot open is one line, without a traceback."""
    fake = tmp_path / "fake.keras"
    fake.write_bytes(os.urandom(500))
    assert run("evaluate", fake, "--data", data) == 1
    errors = capsys.readouterr().err
    assert f"{fake}: cannot be opened as a Keras model" in errors
    assert errors.count("\n") == 1


def test_a_bundle_is_measured_on_the_crops_that_it_learnt_from(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle of aligned crops asks for prepared data and is not measured on raw pictures."""
    packaged = open_bundle(Path(edge.__file__).parent / "models" / "default")
    files = {name: (packaged.path / name).read_bytes() for name in FILES}
    aligned = msgspec.structs.replace(packaged.metadata, crops="aligned")
    bundle = write_bundle(tmp_path / "aligned", files | {METADATA: encode_metadata(aligned)})
    assert run("evaluate", bundle.path, "--data", data) == 2
    errors = capsys.readouterr().err
    assert "aligned crops come from prepared data; make it with `edgeemo data prepare`" in errors
    assert run("evaluate", packaged.path, "--data", data) == 0
    both = msgspec.structs.replace(packaged.metadata, crops="both")
    bundle = write_bundle(tmp_path / "both", files | {METADATA: encode_metadata(both)})
    assert run("evaluate", bundle.path, "--data", data) == 0
