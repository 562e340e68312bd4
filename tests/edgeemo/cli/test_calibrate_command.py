"""`edgeemo calibrate` on the demo's faces, with a device's packages."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.calibration.choose import MOST_LOST
from edge.config import Config
from edge.contract.bundle import (
    GOLDEN,
    METADATA,
    MODEL,
    MOST_REHEARSAL,
    PARITY,
    REHEARSAL,
    SUMS,
    open_bundle,
    write_bundle,
)
from edge.contract.rehearsal import (
    Rehearsal,
    decode_rehearsal,
    encode_rehearsal,
    most_samples,
    read_rehearsal,
)
from edge.errors import BundleError
from edge.runtime.build import open_pipeline
from edge.sources.demo.source import DemoSource
from edgeemo.cli.main import main

pytestmark = pytest.mark.slow

Command = Callable[..., tuple[int, str, str]]
PEOPLE = ("anna", "ben", "cleo")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest: smiles, and faces on the way to surprise called surprise."""
    folder = tmp_path_factory.mktemp("mine")
    source, lines = DemoSource(frames=120, moods=True), []
    wanted = {"happiness": (2, 8, 14, 80, 85, 90), "surprise": (26, 27, 28, 40, 50, 60)}
    for index in range(120):
        frame = source.read()
        assert frame is not None
        for label, frames in wanted.items():
            if index in frames:
                person = PEOPLE[frames.index(index) % 3]
                path = f"{label}/{person}-{index}.png"
                (folder / label).mkdir(exist_ok=True)
                cv2.imwrite(str(folder / path), frame.image)
                lines.append({"path": path, "label": label, "subject": person})
    (folder / "manifest.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process; returns exit code, output and errors."""

    def run(*words: object) -> tuple[int, str, str]:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return run


def relabelled(faces: Path, to: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> Path:
    """Copy the folder, with other lines in its manifest."""
    shutil.copytree(faces, to)
    lines = [json.loads(line) for line in (to / "manifest.jsonl").read_text().splitlines()]
    text = "".join(f"{json.dumps(change(line))}\n" for line in lines)
    (to / "manifest.jsonl").write_text(text)
    return to


def test_nothing_is_written_without_a_gain_and_force_says_so(
    faces: Path, tmp_path: Path, command: Command
) -> None:
    """Exit 1 and no bundle; forced, all but the decision is as it was, and a run applies it."""
    out = tmp_path / "mine"
    code, shown, error = command("calibrate", "default", "--data", faces, "--out", out)
    assert code == 1, shown
    assert "no gain on people held out" in error
    assert error.count("\n") == 1
    assert not out.exists()

    code, shown, error = command("calibrate", "default", "--data", faces, "--out", out, "--force")
    assert code == 0, error
    assert "FORCED" in shown
    assert "3 people" in shown
    packaged, written = open_bundle(Path("edge/models/default").resolve()), open_bundle(out)
    for name in (MODEL, GOLDEN, PARITY):
        assert written.sha256[name] == packaged.sha256[name]
    calibration = written.metadata.decision.calibration
    assert calibration is not None
    assert (calibration.people, calibration.samples, calibration.forced) == (3, 12, True)
    assert calibration.data == faces.name
    assert written.metadata.decision.packaged == packaged.metadata.decision
    pipeline = open_pipeline(Config(), written)
    pipeline.close()

    log = tmp_path / "log"
    code, _, error = command(
        "run", "--source", "demo", "--model", out, "--max-frames", 2, "--log-dir", log
    )
    assert code == 0, error
    started = json.loads((log / "edgeemo.jsonl").read_text().splitlines()[0])
    assert started["calibration"] == calibration.summary()
    again = tmp_path / "again"
    assert command("calibrate", out, "--data", faces, "--out", again, "--force")[0] == 0
    repeated = open_bundle(again).metadata.decision.calibration
    assert repeated is not None
    assert repeated.weights == calibration.weights  # from the packaged decision, not on top


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: {**line, "label": "fear"}, "two labels or more"),
        (lambda line: {**line, "subject": "anna"}, "of one person"),
        (
            lambda line: {**line, "subject": {"happiness": "anna"}.get(line["label"], "ben")},
            "pictures of one label only are left",
        ),
        (lambda line: {**line, "label": "engaged"}, "does not know"),
        (lambda line: {**line, "label": "hapy"}, "mistyped"),
        (
            lambda line: {**line, "label": {"happiness": "sadness"}.get(line["label"], "anger")},
            "contradict",
        ),
        (lambda line: {**line, "path": f"../{line['path']}"}, "leads out"),
    ],
)
def test_pictures_that_cannot_calibrate_are_refused_in_one_line(
    faces: Path,
    tmp_path: Path,
    command: Command,
    change: Callable[[dict[str, str]], dict[str, str]],
    message: str,
) -> None:
    """One label, one person, foreign or mistyped classes, wrong labels, hostile paths."""
    data, out = relabelled(faces, tmp_path / "data", change), tmp_path / "out"
    code, _, error = command("calibrate", "default", "--data", data, "--out", out)
    assert code == 1
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()
    sheet = tmp_path / "out.contradicted.png"
    assert sheet.exists() == (message == "contradict")
    if sheet.exists():
        assert sheet.stat().st_mode & 0o077 == 0
        assert cv2.imread(str(sheet)).shape[0] > 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.exists, "no picture in it"),
        (lambda folder: (folder / "happy").mkdir(), "no picture in it"),
        (
            lambda folder: _picture(folder / "happy", np.zeros((48, 48, 3), np.uint8)),
            "none of 1 picture",
        ),
        (
            lambda folder: _picture(folder / "sad", np.full((9, 9, 3), 90, np.uint8)),
            "none of 1 picture",
        ),
    ],
)
def test_empty_and_faceless_folders_are_refused(
    tmp_path: Path, command: Command, make: Callable[[Path], object], message: str
) -> None:
    """With a line that says what is missing."""
    folder = tmp_path / "mine"
    folder.mkdir()
    make(folder)
    code, _, error = command("calibrate", "default", "--data", folder, "--out", tmp_path / "out")
    assert code == 1
    assert message in error


def test_blurred_pictures_are_left_out_and_counted(
    faces: Path, tmp_path: Path, command: Command
) -> None:
    """All of them: one line that says why. Some: their number, and the others are fitted."""
    for name, share in (("all", 1.0), ("some", 0.25)):
        folder = shutil.copytree(faces, tmp_path / name)
        files = sorted(folder.glob("*/*.png"))
        for path in files[: round(share * len(files))]:
            cv2.imwrite(str(path), cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), 40))
    words = ("calibrate", "default", "--out", tmp_path / "out", "--force", "--data")
    code, _, error = command(*words, tmp_path / "all")
    assert code == 1
    assert f"none of {len(files)} pictures" in error
    assert error.count("\n") == 1
    code, shown, error = command(*words, tmp_path / "some")
    assert code == 0, error
    assert f"left out: {round(0.25 * len(files))} " in shown


def _picture(folder: Path, image: np.ndarray) -> None:
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), image)


@pytest.mark.parametrize("text", ["joyful", "=happiness", "joyful=happi ness!"])
def test_a_map_that_makes_no_sense_is_bad_usage(
    faces: Path, tmp_path: Path, command: Command, text: str
) -> None:
    """Exit code 2."""
    words = ("calibrate", "default", "--data", faces, "--out", tmp_path / "out", "--map", text)
    code, _, error = command(*words)
    assert code == 2
    assert "--map" in error


def test_general_needs_a_rehearsal_set_and_uses_the_one_of_the_bundle(
    faces: Path, tmp_path: Path, command: Command
) -> None:
    """Without one it says so; with one, it is rehearsed, kept, and what it costs is printed."""
    with_one = Path("edge/models/default").resolve()
    packaged = open_bundle(with_one)
    assert read_rehearsal(packaged) is not None
    files = {name: (packaged.path / name).read_bytes() for name in packaged.sha256}
    del files[REHEARSAL]
    without = write_bundle(tmp_path / "without", files).path
    words = ("--data", faces, "--for", "general", "--force")
    code, _, error = command("calibrate", without, *words, "--out", tmp_path / "out")
    assert code == 1
    assert "rehearsal" in error

    code, shown, error = command("calibrate", with_one, *words, "--out", tmp_path / "out")
    assert code == 0, error
    assert "general faces" in shown
    written = open_bundle(tmp_path / "out")
    calibration = written.metadata.decision.calibration
    assert calibration is not None
    assert calibration.intent == "general"
    assert 0 < calibration.rehearsal_share < 1
    assert calibration.general_loss is not None
    assert calibration.general_loss <= MOST_LOST
    assert all(calibration.fitted)
    assert written.sha256[REHEARSAL] == open_bundle(with_one).sha256[REHEARSAL]


def test_a_rehearsal_set_is_small_whole_and_of_its_network(tmp_path: Path) -> None:
    """Under 100 kB at any number of labels; damaged or foreign ones are refused."""
    rng = np.random.default_rng(0)
    for labels in (2, 8, 30):
        n = most_samples(labels)
        logits = rng.normal(0, 5, (n, labels)).astype(np.float32)
        made = Rehearsal(logits, rng.integers(0, labels, n))
        data = encode_rehearsal(made)
        assert len(data) <= MOST_REHEARSAL
        read = decode_rehearsal(data, labels, "here")
        half_a_step = np.ptp(logits) / 255 / 2
        np.testing.assert_allclose(read.logits, logits, rtol=1e-4, atol=1.01 * half_a_step)
        np.testing.assert_array_equal(read.answers, made.answers)
        for wrong, k in ((data[:100], labels), (b"", labels), (data, labels + 1)):
            with pytest.raises(BundleError, match="here"):
                decode_rehearsal(wrong, k, "here")


def test_an_altered_rehearsal_set_is_found(bundle_path: Path) -> None:
    """Its hash is among those of the bundle."""
    packaged = open_bundle(bundle_path)
    files = {name: (bundle_path / name).read_bytes() for name in packaged.sha256}
    small = Rehearsal(np.zeros((4, 8), np.float32), np.zeros(4, np.int64))
    bundle = write_bundle(bundle_path, {**files, REHEARSAL: encode_rehearsal(small)})
    assert REHEARSAL in (bundle_path / SUMS).read_text()
    (bundle_path / REHEARSAL).write_bytes(b"other")
    with pytest.raises(BundleError, match="altered"):
        open_bundle(bundle_path)
    with pytest.raises(BundleError, match="altered"):
        read_rehearsal(bundle)
    assert METADATA in bundle.sha256
