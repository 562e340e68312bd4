"""`edgeemo run` as a user runs it: a process, real models, real files."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from edge.assets.store import ASTRONAUT, asset_path
from edge.contract.bundle import PACKAGED
from edge.records import intersection_over_union
from edge.sources.demo.source import DemoSource

pytestmark = pytest.mark.slow

EDGEEMO = (sys.executable, "-m", "edgeemo")


def edgeemo(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*EDGEEMO, *map(str, arguments)], capture_output=True, text=True, check=False, **options
    )


def records_in(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "edgeemo.jsonl").read_text().splitlines()]


def assert_refused(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """Exactly one line, the exit code, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("edgeemo: error: ")
    for part in parts:
        assert part in done.stderr


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory) -> Path:
    """One run over the whole demo, every frame's emotion written."""
    directory = tmp_path_factory.mktemp("demo")
    done = edgeemo(
        "run", "--source", "demo", "--emit", "frame", "--log-dir", directory,
        "--snapshot", directory / "demo.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (directory / "stdout").write_text(done.stdout)
    (directory / "stderr").write_text(done.stderr)
    return directory


def test_the_demo_is_seen_where_the_ground_truth_says(demo_run):
    """Wherever the face is wholly in the picture it is found, at its true place."""
    truth = DemoSource()
    seen = {r["frame"]: r for r in records_in(demo_run) if r["kind"] == "emotion"}
    visible = [i for i in range(truth.frames) if truth.visible_fraction(i) == 1]
    assert len(visible) > 150
    missed = [i for i in visible if i not in seen]
    # The frame in which the face returns is one of confirmation.
    assert len(missed) <= 0.03 * len(visible)
    overlaps = [
        intersection_over_union(np.array(seen[i]["box"]), truth.ground_truth(i))
        for i in visible
        if i in seen
    ]
    assert min(overlaps) > 0.6
    assert np.mean(overlaps) > 0.85


def test_nothing_is_claimed_while_nobody_is_there(demo_run):
    """While the face is out of the picture there is no emotion record."""
    truth = DemoSource()
    gone = {i for i in range(truth.frames) if truth.visible_fraction(i) == 0}
    assert len(gone) > 25
    assert not [r for r in records_in(demo_run) if r["kind"] == "emotion" and r["frame"] in gone]


def test_the_demo_is_two_tracks_that_end(demo_run):
    """The face leaves for longer than a track is bridged: one id before and one after."""
    records = records_in(demo_run)
    kinds = Counter(record["kind"] for record in records)
    assert [r["track"] for r in records if r["kind"] == "track_started"] == [1, 2]
    assert [r["track"] for r in records if r["kind"] == "track_ended"] == [1, 2]
    assert kinds["service_started"] == kinds["service_stopped"] == 1
    assert {r["track"] for r in records if r["kind"] == "emotion"} == {1, 2}


def test_the_smile_in_the_demo_is_happiness(demo_run):
    """The astronaut smiles: the packaged model says so in nearly every frame."""
    labels = Counter(r["label"] for r in records_in(demo_run) if r["kind"] == "emotion")
    assert labels["happiness"] / labels.total() > 0.9


def test_head_roll_follows_the_demo(demo_run):
    """The roll that is told is the roll that the demo turns the photo by."""
    truth = DemoSource()
    poses = {r["frame"]: r["head_pose"] for r in records_in(demo_run) if r["kind"] == "emotion"}
    errors = []
    for frame, pose in poses.items():
        if truth.visible_fraction(frame) == 1:
            matrix = truth.motion(frame)
            errors.append(pose["roll"] - np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    # The head is held a little tilted in the photo: a constant offset.
    assert np.abs(np.array(errors) - np.median(errors)).max() < 6
    assert abs(np.median(errors)) < 8


def test_every_line_of_the_log_validates(demo_run):
    """The log of a real run is what docs/log-schema.json promises."""
    validator = jsonschema.Draft202012Validator(
        json.loads(Path("docs/log-schema.json").read_text())
    )
    records = records_in(demo_run)
    for record in records:
        validator.validate(record)
    assert [record["seq"] for record in records] == list(range(len(records)))


def test_the_summary_tells_what_happened_and_where(demo_run):
    """A person sees frames, tracks, emotions, the rate and the paths, and no native noise."""
    text = (demo_run / "stdout").read_text()
    for part in ("frames", "300", "tracks", "happiness", "frames/s", "edgeemo.jsonl", "demo.png"):
        assert part in text
    assert (demo_run / "stderr").read_text() == ""


def test_pictures_are_written_whole(demo_run, tmp_path):
    """The snapshot is a whole picture, and a video has every frame."""
    snapshot = cv2.imread(str(demo_run / "demo.png"))
    assert snapshot.shape == (480, 640, 3)
    options = ("--max-frames", 40, "--log-dir", tmp_path / "log")
    done = edgeemo("run", "--source", "demo", *options, "--save-video", tmp_path / "demo.mp4")
    assert done.returncode == 0, done.stderr
    video = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    count = 0
    while video.read()[0]:
        count += 1
    assert count == 40
    left = [path.name for folder in (demo_run, tmp_path) for path in folder.iterdir()]
    assert not [name for name in left if "part" in name or "tmp" in name]


def test_a_replay_is_byte_identical(tmp_path):
    """The same clip gives the same emotion records; only session and latency differ."""

    def emotions(name: str) -> list[dict]:
        done = edgeemo(
            "run", "--source", "demo", "--max-frames", 60, "--emit", "frame",
            "--log-dir", tmp_path / name,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        records = [r for r in records_in(tmp_path / name) if r["kind"] == "emotion"]
        return [{k: v for k, v in r.items() if k not in {"session", "latency_ms"}} for r in records]

    assert emotions("a") == emotions("b")


def test_confidence_is_that_of_the_label_while_the_expression_changes(tmp_path):
    """In every frame in which the demo's smile fades and surprise comes, as in all others."""
    done = edgeemo(
        "run",
        "--source",
        "demo:moods",
        "--emit",
        "frame",
        "--max-frames",
        110,
        "--log-dir",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    emotions = [r for r in records_in(tmp_path) if r["kind"] == "emotion"]
    assert [r["confidence"] for r in emotions] == [r["scores"].get(r["label"], 0) for r in emotions]
    assert any(r["confidence"] < max(r["scores"].values()) for r in emotions)


def test_a_folder_of_pictures_is_read_one_by_one(tmp_path):
    """Each picture with a face has its own track and names its file; one without has none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    cv2.imwrite(str(folder / "1 whole.png"), photo)
    cv2.imwrite(str(folder / "2 nobody.png"), photo[300:, :150])
    # As tight and small as a FER2013 row: found through the border that stills are given.
    tight = cv2.resize(photo[65:185, 165:285], (48, 48), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "3 tight.png"), cv2.cvtColor(tight, cv2.COLOR_BGR2GRAY))
    done = edgeemo("run", "--source", folder, "--log-dir", tmp_path / "log")
    assert done.returncode == 0, done.stderr
    emotions = [r for r in records_in(tmp_path / "log") if r["kind"] == "emotion"]
    assert [(r["file"], r["track"], r["label"]) for r in emotions] == [
        ("1 whole.png", 1, "happiness"),
        ("3 tight.png", 2, "happiness"),
    ]
    # Each stands alone, so no time passes: the faces are counted.
    assert re.search(r"^emotions +happiness 100%$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_cleanly(tmp_path, number):
    """The log's last line is service_stopped, and the exit code says done."""
    process = subprocess.Popen(
        [*EDGEEMO, "run", "--source", "demo", "--emit", "frame", "--log-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    log = tmp_path / "edgeemo.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 10:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    last = records_in(tmp_path)[-1]
    assert (last["kind"], last["reason"]) == ("service_stopped", "signal")


def _missing_video(tmp_path):
    return ["--source", tmp_path / "none.mp4"], 2, ("none.mp4",)


def _text_as_video(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    return ["--source", tmp_path / "text.mp4"], 1, ("text.mp4",)


def _headless_video(tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "whole.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (160, 120)
    )
    for i in range(50):
        writer.write(np.random.default_rng(i).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    writer.release()
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    return ["--source", tmp_path / "half.mp4"], 1, ("half.mp4",)


def _empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    return ["--source", tmp_path / "empty"], 1, ("empty",)


def _no_such_camera(tmp_path):
    return ["--source", "63"], 1, ("63",)


def _unknown_source(tmp_path):
    return ["--source", "telescope"], 2, ("telescope", "demo")


def _bad_model(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"not a model")
    return ["--source", "demo", "--model", path], 1, ("model.tflite",)


def _flipped_byte(tmp_path):
    bundle = _copied_bundle(tmp_path)
    model = bytearray((bundle / "model.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (bundle / "model.tflite").write_bytes(model)
    return ["--source", "demo", "--model", bundle], 1, ("model.tflite", "altered")


def _labels_that_do_not_fit(tmp_path):
    bundle = _copied_bundle(tmp_path)
    text = json.loads((bundle / "metadata.json").read_text())
    text["labels"] = text["labels"][:-1]
    data = json.dumps(text).encode()
    (bundle / "metadata.json").write_bytes(data)
    sums = (bundle / "SHA256SUMS").read_text().splitlines()
    sums = [line for line in sums if not line.endswith("metadata.json")]
    sums.append(f"{hashlib.sha256(data).hexdigest()}  metadata.json")
    (bundle / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return ["--source", "demo", "--model", bundle], 1, ("labels",)


def _unwritable_log(tmp_path):
    (tmp_path / "file").write_text("")
    return ["--source", "demo", "--log-dir", tmp_path / "file" / "logs"], 1, ("--log-dir",)


def _bad_config(tmp_path):
    (tmp_path / "c.toml").write_text("[source]\nfps = 0\n")
    return ["--config", tmp_path / "c.toml"], 2, ("source.fps",)


def _bad_snapshot(tmp_path):
    return ["--source", "demo", "--snapshot", tmp_path / "a.gif"], 2, (".png",)


def _bad_video_name(tmp_path):
    return ["--source", "demo", "--save-video", tmp_path / "a.txt"], 2, ("a.txt",)


def _copied_bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGED, tmp_path / "bundle"))


@pytest.mark.parametrize(
    "case",
    [
        _missing_video, _text_as_video, _headless_video, _empty_folder, _no_such_camera,
        _unknown_source, _bad_model, _flipped_byte, _labels_that_do_not_fit, _unwritable_log,
        _bad_config, _bad_snapshot, _bad_video_name,
    ],
    ids=lambda case: case.__name__.strip("_"),
)  # fmt: skip
def test_bad_input_is_one_line_and_the_right_code(tmp_path, case):
    """One clear line that names the culprit, no traceback, nothing half-written."""
    arguments, code, parts = case(tmp_path)
    if "--log-dir" not in arguments:
        arguments = [*arguments, "--log-dir", tmp_path / "log"]
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert_refused(edgeemo("run", *arguments), code, *map(str, parts))
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert made <= {tmp_path / "log" / name for name in ("edgeemo.jsonl", "edgeemo.lock")}
    for path in made:
        content = path.read_bytes()
        assert not content or content.endswith(b"\n")


def test_an_unexpected_option_is_usage(tmp_path):
    """Wrong usage exits with 2."""
    assert edgeemo("run", "--sorce", "demo").returncode == 2
    assert edgeemo("run", "--max-frames", "0").returncode == 2


def test_doctor_finds_this_machine_fit(tmp_path):
    """Where the tests run, `edgeemo run` works, and doctor says so."""
    done = edgeemo("doctor", "--json", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert checks["model"]["status"] == "ok"
    assert checks["mesher"]["status"] == "ok"
    assert not list(tmp_path.iterdir())


def test_doctor_fails_on_a_damaged_model(tmp_path):
    """A run that could not work is exit code 1, with the finding."""
    bundle = _copied_bundle(tmp_path)
    (bundle / "golden.npz").write_bytes(b"")
    (tmp_path / "c.toml").write_text(f'[model]\nbundle = "{bundle}"\n')
    done = edgeemo("doctor", "--json", "--config", tmp_path / "c.toml", cwd=tmp_path)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert checks["model"]["status"] == "failure"
    assert "golden.npz" in checks["model"]["detail"]


@pytest.fixture
def film_server(tmp_path):
    """A web server on loopback that gives a film which can be read without seeking."""
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    film = cv2.VideoWriter(str(tmp_path / "film.avi"), codec, 25.0, (640, 480))
    for i in range(10):
        film.write(DemoSource().render(i))
    film.release()
    handler = partial(_SilentHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_a_streams_password_is_never_written(tmp_path, film_server):
    """Neither log nor output holds the user, the password or the query of an address."""
    address = f"http://admin:s3cret@{film_server}/film.avi?token=t0ken"
    done = edgeemo("run", "--source", address, "--max-frames", 1, "--log-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    started = records_in(tmp_path)[0]
    assert started["source"] == f"http://{film_server}/film.avi"
    refused = edgeemo(
        "run", "--source", "rtsp://admin:s3cret@127.0.0.1:1/live?token=t0ken",
        "--log-dir", tmp_path / "other",
    )  # fmt: skip
    assert_refused(refused, 1, "rtsp://127.0.0.1:1/live")
    written = done.stdout + done.stderr + refused.stderr
    written += (tmp_path / "edgeemo.jsonl").read_text()
    assert not any(secret in written for secret in ("s3cret", "t0ken", "admin"))
