"""`edgeemo run` under a service manager: a real process, real signals, a real notify socket."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.config import LogConfig
from edge.contract.bundle import PACKAGED
from edge.service.daemon import Service
from edge.service.reporter import Reporter
from edge.service.session import handle_signals
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.testing.fakes import (
    FakeSource,
    MemorySink,
    make_frame,
    make_pipeline,
)
from tests.calibrated import calibrated_bundle

pytestmark = pytest.mark.slow

PATIENCE_S = 60
"""How long a test waits for a message; never reached when all is well."""


class Managed:
    """A service with this test as its manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "edgeemo.toml"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(directory / "notify"))
        self.socket.settimeout(PATIENCE_S)
        self.process: subprocess.Popen[str] | None = None

    def start(self, toml: str) -> None:
        """Start the service with this configuration."""
        self.config.write_text(toml)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgeemo", "run", "--config", self.config],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # without a terminal, as a service is
            env=os.environ
            | {"NOTIFY_SOCKET": str(self.directory / "notify"), "WATCHDOG_USEC": "400000"},
        )

    def wait_for(self, what: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """Return the next message that is ``what`` is asked for."""
        while True:
            text = self.socket.recv(4096).decode()
            message = dict(line.split("=", 1) for line in text.split("\n"))
            if what(message):
                return message

    def reload(self, toml: str | None) -> str:
        """Change the configuration, have it read, and return the status that comes of it."""
        if toml is not None:
            self.config.write_text(toml)
        self.process.send_signal(signal.SIGHUP)
        assert self.wait_for(lambda m: "READY" in m or "RELOADING" in m)["RELOADING"] == "1"
        return self.wait_for(lambda m: "READY" in m)["STATUS"]

    def beats(self, count: int) -> None:
        """Wait for so many signs of progress."""
        for _ in range(count):
            self.wait_for(lambda m: m.get("WATCHDOG") == "1" and "READY" not in m)

    def stop(self) -> tuple[str, str]:
        """End it and return what it printed."""
        self.process.send_signal(signal.SIGTERM)
        printed = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, printed
        return printed

    def records(self) -> list[dict]:
        """Return what is in the log."""
        text = (self.directory / "log" / "edgeemo.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def managed(tmp_path: Path) -> Iterator[Managed]:
    managed = Managed(tmp_path)
    yield managed
    if managed.process and managed.process.poll() is None:
        managed.process.kill()
        managed.process.communicate()
    managed.socket.close()


def config(directory: Path, device: str, bundle: object = "", spec: str = "demo:live") -> str:
    return (
        f'[source]\nspec = "{spec}"\n[model]\nbundle = "{bundle}"\n'
        f'[log]\ndir = "{directory / "log"}"\ndevice = "{device}"\nemit = "frame"\n'
    )


def test_a_service_tells_its_life(managed, tmp_path):
    """READY once it is open, WATCHDOG with a status while frames come, STOPPING at the end."""
    managed.start(config(tmp_path, "first"))
    assert managed.wait_for(lambda m: "READY" in m)["STATUS"] == "waiting for the first frame"
    status = managed.wait_for(lambda m: "WATCHDOG" in m and "READY" not in m)["STATUS"]
    assert "frames" in status
    assert "a second" in status
    managed.stop()
    assert managed.wait_for(lambda m: "STOPPING" in m)["STATUS"] == "stopping: signal"


def test_sighup_takes_up_configuration_and_model_and_keeps_the_camera(managed, tmp_path):
    """A new session with the new names and model; the camera's frames are counted on."""
    managed.start(config(tmp_path, "first"))
    managed.beats(2)
    bundle = shutil.copytree(PACKAGED, tmp_path / "bundle")
    assert managed.reload(config(tmp_path, "second", bundle)) == "reloaded"
    managed.beats(2)
    managed.stop()
    records = managed.records()
    starts = [r for r in records if r["kind"] == "service_started"]
    assert [r["device"] for r in starts] == ["first", "second"]
    assert len({r["session"] for r in starts}) == 2
    assert [r["reason"] for r in records if r["kind"] == "service_stopped"] == ["reload", "signal"]
    frames = [r["frame"] for r in records if r["kind"] == "emotion"]
    assert frames == sorted(frames)
    for session in {r["session"] for r in records}:
        seqs = [r["seq"] for r in records if r["session"] == session]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def test_a_calibration_comes_by_sighup_and_goes_by_it(managed, tmp_path):
    """As deploy switches `current` there and back: each session says what it was decided by."""
    calibrated_bundle(tmp_path / "calibrated")
    shutil.copytree(PACKAGED, tmp_path / "packaged")
    current = tmp_path / "current"
    current.symlink_to("packaged")
    managed.start(config(tmp_path, "pi", current))
    managed.beats(1)
    for target in ("calibrated", "packaged"):
        current.with_name("next").symlink_to(target)
        current.with_name("next").rename(current)
        assert managed.reload(None) == "reloaded"
        managed.beats(1)
    managed.stop()
    starts = [r for r in managed.records() if r["kind"] == "service_started"]
    told = [r.get("calibration") for r in starts]
    assert told == [
        None,
        "for site, bias fitted on mine: 40 pictures of 4 people (abababababab)",
        None,
    ]
    assert len({r["model_sha256"] for r in starts}) == 1


def _not_toml(directory: Path) -> str:
    return "[log\n"


def _no_such_model(directory: Path) -> str:
    return config(directory, "second", directory / "nowhere")


def _altered_model(directory: Path) -> str:
    bundle = shutil.copytree(PACKAGED, directory / "bundle")
    (bundle / "model.tflite").write_bytes(b"not a model")
    return config(directory, "second", bundle)


def _many_threads(directory: Path) -> str:
    return config(directory, "second").replace("[model]", "[model]\nthreads = 3000000000")


def _long_path(directory: Path) -> str:
    return config(directory, "second", directory / ("x/" * 2500))


def _long_name(directory: Path) -> str:
    return config(directory, "second", directory / ("x" * 4000))


def _nested(directory: Path) -> str:
    return "x = " + "[" * 4000


def _not_a_number(directory: Path) -> str:
    return config(directory, "second") + "interval_s = nan\n"


def _a_null_character(directory: Path) -> str:
    return config(directory, "second", "a\\u0000b")


def _a_device(directory: Path) -> str:
    return config(directory, "second", "/dev/zero")


def _a_pipe(directory: Path) -> str:
    bundle = shutil.copytree(PACKAGED, directory / "bundle")
    (bundle / "metadata.json").unlink()
    os.mkfifo(bundle / "metadata.json")
    return config(directory, "second", bundle)


def _a_file_for_a_bundle(directory: Path) -> str:
    return config(directory, "second", directory / "edgeemo.toml")


def _a_circle(directory: Path) -> str:
    (directory / "circle").symlink_to(directory / "circle")
    return config(directory, "second", directory / "circle" / "bundle")


def _no_mediapipe(directory: Path) -> str:
    return config(directory, "second") + '[mesher]\nkind = "mediapipe"\nmax_faces = 101\n'


def _link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


REFUSED = [
    _not_toml, _no_such_model, _altered_model, _many_threads, _long_path, _long_name, _nested,
    _not_a_number, _a_null_character, _a_device, _a_pipe, _a_file_for_a_bundle, _a_circle,
    _no_mediapipe,
]  # fmt: skip


def test_a_reload_survives_whatever_it_reads(managed, tmp_path):
    """One process, one configuration after the other that cannot be used, each told in a line."""
    managed.start(config(tmp_path, "first"))
    managed.beats(1)
    for number, case in enumerate(REFUSED):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = case(folder).replace(str(folder / "log"), str(tmp_path / "log"))
        assert managed.reload(text).startswith("reload refused, going on as before: "), case
    managed.config.unlink()
    assert managed.reload(None).startswith("reload refused, going on as before: ")
    for make in (os.mkfifo, os.mkdir, _link_to_a_device):
        make(managed.config)
        assert managed.reload(None).startswith("reload refused, going on as before: ")
        managed.config.rename(tmp_path / make.__name__)
    assert managed.reload(config(tmp_path, "second")) == "reloaded"
    managed.beats(1)
    _, told = managed.stop()
    assert told.count("the old one stays") == len(REFUSED) + 4
    assert "Traceback" not in told
    starts = [r for r in managed.records() if r["kind"] == "service_started"]
    assert [r["device"] for r in starts] == ["first", "second"]


@pytest.mark.skipif(os.getuid() == 0, reason="root may enter every folder")
@pytest.mark.parametrize("closed", ["", "bundle", "bundle/model.tflite", "edgeemo.toml"])
def test_what_may_not_be_entered_is_refused(managed, tmp_path, closed):
    """A folder, a bundle, a model or a configuration of somebody else's: told, nothing more."""
    managed.start(config(tmp_path, "first"))
    managed.beats(1)
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copytree(PACKAGED, inner / "bundle")
    managed.config.write_text(config(tmp_path, "second", inner / "bundle"))
    place = managed.config if closed == "edgeemo.toml" else inner / closed
    place.chmod(0)
    try:
        told = managed.reload(None)
    finally:
        place.chmod(0o700)
    assert told.startswith("reload refused, going on as before: ")
    assert "Permission denied" in told
    managed.stop()


@pytest.mark.parametrize("case", [_not_toml, _no_such_model, _altered_model])
def test_what_can_not_be_used_is_refused_and_the_old_goes_on(managed, tmp_path, case):
    """A wrong configuration or model never takes a running service down."""
    managed.start(config(tmp_path, "first"))
    managed.beats(1)
    refusal = "reload refused, going on as before: "
    assert managed.reload(case(tmp_path)).startswith(refusal)
    status = managed.wait_for(lambda m: "WATCHDOG" in m and "READY" not in m)["STATUS"]
    assert "frames" in status
    assert refusal in status  # also for who looks later
    assert "the old one stays" in managed.stop()[1]
    assert [r["device"] for r in managed.records() if r["kind"] == "service_started"] == ["first"]


def test_what_only_a_restart_can_change_is_said(managed, tmp_path):
    """Another source is not taken up by a reload: it is named, and the rest is taken up."""
    managed.start(config(tmp_path, "first"))
    managed.beats(1)
    assert managed.reload(config(tmp_path, "second", spec="demo")) == "reloaded"
    managed.beats(1)
    assert "source.spec: changed, but only a restart can apply it" in managed.stop()[1]
    starts = [r for r in managed.records() if r["kind"] == "service_started"]
    assert [(r["source"], r["device"]) for r in starts] == [
        ("demo:live", "first"),
        ("demo:live", "second"),
    ]


class _Hanging(FakeSource):
    """A camera whose driver blocks after the first frame."""

    def __init__(self) -> None:
        super().__init__([make_frame(0)])
        self.release = threading.Event()

    def read(self):
        """Give one frame, then hang."""
        frame = super().read()
        if frame is None:
            self.release.wait(PATIENCE_S)
        return frame


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_that_waits_for_a_camera_that_hangs(number):
    """The run ends by the signal, not by the camera's time-out."""
    hanging = _Hanging()
    latest = LatestFrame(hanging, stall_s=PATIENCE_S)
    sink = MemorySink()
    pipeline = make_pipeline()
    reporter = Reporter("session", "device", LogConfig(emit="frame", interval_s=1.0))

    def signal_soon(_) -> bool:
        threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
        return True

    service = Service(latest, pipeline, sink, reporter, [signal_soon])
    facts = dict.fromkeys(("version", "source", "model", "model_sha256", "mesher", "runtime"), "x")
    with handle_signals(service):
        assert service.run(facts | {"labels": ("neutral", "happiness")}).reason == "signal"
    assert sink.records[-1].reason == "signal"
    hanging.release.set()
    latest.close()
