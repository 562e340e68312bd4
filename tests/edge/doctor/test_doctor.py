"""What doctor finds, and the remedy that it gives for each finding."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.config import Config, LogConfig, MesherConfig, SourceConfig
from edge.doctor import cameras, examine, hardware, libraries, software
from edge.doctor.report import Check, show
from edge.errors import CameraError
from edge.sources.cameras import v4l2
from edge.sources.cameras.identity import Places
from edge.sources.cameras.picamera import PiCameraView
from edge.sources.cameras.ribbon import NoRibbonCameraError, RibbonBusyError
from edge.system import machine


def config_for(spec: str) -> Config:
    return Config(source=SourceConfig(spec=spec))


class Machine:
    """A machine's cameras: nodes below its own /dev, cards below its own /sys."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root / "dev", root / "sys")
        self.places.dev.mkdir()

    def add(self, number: int, name: str, index: str = "0", link: str = "") -> Path:
        """Plug a camera in."""
        node = self.places.dev / f"video{number}"
        node.write_bytes(b"")
        entry = self.places.sys / node.name
        (entry / "device").mkdir(parents=True)
        (entry / "name").write_text(name)
        (entry / "index").write_text(index)
        if link:
            folder = self.places.dev / "v4l" / "by-id"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / link).symlink_to(node)
        return node

    def findings(self, config: Config) -> dict[str, Check]:
        """Return what doctor says, by the last part of each check's name."""
        found = cameras.cameras(config, self.places)
        return {check.name.rpartition("/")[2]: check for check in found}


@pytest.fixture
def pc(tmp_path, monkeypatch) -> Machine:
    """A machine whose cameras give MJPG and YUYV, and are held by nobody."""
    formats = (v4l2.PixelFormat("MJPG", 1920, 1080), v4l2.PixelFormat("YUYV", 640, 480))
    monkeypatch.setattr(v4l2, "capture_formats", lambda _: formats)
    return Machine(tmp_path)


def test_every_camera_is_told_with_its_formats(pc):
    """Name, lasting path and formats; a webcam's second node and a Pi's codecs are skipped."""
    pc.add(0, "HD Webcam", link="usb-HD_Webcam-video-index0")
    pc.add(1, "HD Webcam", index="1")
    pc.add(10, "bcm2835-codec-decode")
    found = pc.findings(Config())
    assert list(found) == ["video0"]
    check = found["video0"]
    assert check.status == "ok"
    for part in ("HD Webcam", "by-id/usb-HD_Webcam-video-index0", "MJPG up to 1920x1080", "YUYV"):
        assert part in check.detail


def test_a_busy_camera_names_its_holder(pc):
    """A process that really has the node open is told, and what to do."""
    node = pc.add(0, "HD Webcam")
    code = f"f = open({str(node)!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        check = pc.findings(Config())["video0"]
        child.communicate("\n")
    assert check.status == "warning"
    assert f"process {child.pid}" in check.detail
    assert f"process {child.pid}" in check.remedy


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (PermissionError(13, "Permission denied"), "failure", "usermod -aG video"),
        (OSError(5, "Input/output error"), "failure", "plug it in again"),
    ],
)
def test_a_camera_that_can_not_be_asked_is_a_failure(pc, monkeypatch, error, status, told):
    """No permission and a broken device are told apart, each with its remedy."""

    def refuse(_):
        raise error

    monkeypatch.setattr(v4l2, "capture_formats", refuse)
    pc.add(0, "HD Webcam")
    check = pc.findings(config_for("0"))["video0"]
    assert check.status == status
    assert told in check.remedy


def test_a_node_without_pictures_fails_when_it_is_asked_for(pc, monkeypatch):
    """The metadata node of a webcam, given as the source, is said to give no pictures."""
    monkeypatch.setattr(v4l2, "capture_formats", lambda _: None)
    pc.add(1, "HD Webcam", index="1")
    check = pc.findings(config_for("1"))["video1"]
    assert (check.status, "no pictures" in check.detail) == ("failure", True)


@pytest.mark.parametrize(
    ("spec", "status"),
    [("0", "warning"), ("3", "failure"), ("auto", "warning"), ("demo", "ok"), ("rtsp://x/y", "ok")],
)
def test_no_camera_is_as_bad_as_it_was_needed(pc, spec, status):
    """Nobody asked: a warning; asked for by number: a failure; a stream needs none."""
    check = pc.findings(config_for(spec))["cameras"]
    assert check.status == status
    assert check.remedy or status == "ok"


def test_a_camera_that_is_asked_for_is_missed_though_others_are_there(pc):
    """Another camera is no comfort: the one that was asked for is a failure."""
    pc.add(0, "HD Webcam")
    found = pc.findings(config_for("2"))
    assert (found["video0"].status, found["cameras"].status) == ("ok", "failure")


_CSI_ERRORS = {
    "missing": NoRibbonCameraError("picamera: picamera2 is missing; install it", "missing"),
    "broken": NoRibbonCameraError("picamera: cannot be loaded; reinstall it", "broken"),
    "absent": NoRibbonCameraError("picamera: no CSI camera found; check its cable", "absent"),
    "busy": RibbonBusyError("picamera: another program is using the camera; end it"),
    "refuses": CameraError("picamera: the camera cannot be opened (EIO); check"),
}


@pytest.mark.parametrize(
    ("error", "spec", "on_a_pi", "status"),
    [
        ("missing", "picamera", False, "failure"),
        ("missing", "auto", False, "ok"),
        ("missing", "auto", True, "warning"),
        ("broken", "picamera", True, "failure"),
        ("broken", "auto", False, "warning"),
        ("broken", "0", False, "warning"),
        ("absent", "picamera", True, "failure"),
        ("absent", "0", False, "ok"),
        ("busy", "picamera", True, "warning"),
        ("busy", "auto", True, "warning"),
        ("refuses", "picamera", True, "failure"),
        ("refuses", "auto", True, "failure"),
        ("refuses", "0", True, "warning"),
    ],
)
def test_a_ribbon_camera_is_as_bad_as_it_was_needed(monkeypatch, error, spec, on_a_pi, status):
    """What keeps it from being had is told as it is, with its remedy, where it matters."""

    def probe(*_):
        raise _CSI_ERRORS[error]

    monkeypatch.setattr(cameras, "probe_ribbon", probe)
    monkeypatch.setattr(machine, "is_raspberry_pi", lambda: on_a_pi)
    check = cameras.ribbon_camera(config_for(spec))
    assert check.status == status
    if status != "ok":
        told = str(_CSI_ERRORS[error]).removeprefix("picamera: ")
        assert f"{check.detail}; {check.remedy}" == told


def test_a_ribbon_camera_is_asked_what_a_run_would_ask(monkeypatch):
    """Size, rate and view of the configuration; what it gives is shown."""
    asked = []
    monkeypatch.setattr(cameras, "probe_ribbon", lambda *wanted: asked.append(wanted) or "imx708")
    source = SourceConfig(spec="picamera", width=1280, height=720, fps=15.0, focus_m=0.5)
    check = cameras.ribbon_camera(Config(source=source))
    assert (check.status, check.detail) == ("ok", "imx708")
    assert asked == [((720, 1280), 15.0, PiCameraView(focus_m=0.5))]


def test_graphics_libraries_matter_to_mediapipe_alone(monkeypatch):
    """Missing ones are a failure for `--mesher mediapipe`, with Debian's packages, else none."""
    monkeypatch.setattr(libraries, "GRAPHICS", {"libNone.so.1": "libnone1"})
    assert libraries.graphics(Config()).status == "ok"
    check = libraries.graphics(Config(mesher=MesherConfig(kind="mediapipe")))
    assert check.status == "failure"
    assert check.remedy == "`sudo apt-get install libnone1`"


def test_two_opencv_wheels_are_told(monkeypatch):
    """They overwrite each other's files: both go, one comes."""
    monkeypatch.setattr(libraries, "is_installed", lambda name: "contrib" not in name)
    check = libraries.opencv()
    assert check.status == "warning"
    assert "pip uninstall -y opencv-python opencv-python-headless`" in check.remedy


def test_opencv_that_lacks_a_system_library_is_told(monkeypatch):
    """The wheel with windows on a bare image: its ImportError, and the wheel to have instead."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    check = libraries.opencv()
    assert check.status == "failure"
    assert "pip install opencv-python-headless" in check.remedy


def test_a_32_bit_python_is_refused(monkeypatch):
    """Early, with what to install."""
    monkeypatch.setattr(machine, "is_64_bit", lambda: False)
    check = software.python()
    assert check.status == "failure"
    assert "64-bit Raspberry Pi OS" in check.remedy


@pytest.mark.parametrize(
    ("bits", "status", "told"),
    [
        ("0", "ok", ""),
        (None, "ok", ""),
        ("50005", "warning", "5.1 V and better cooling"),
        ("10000", "warning", "5.1 V"),
        ("8", "warning", "better cooling"),
    ],
)
def test_throttling_is_explained(monkeypatch, bits, status, told):
    """Under-voltage asks for power, heat for cooling."""
    monkeypatch.setattr(machine, "throttled", lambda: bits)
    check = hardware.throttling()
    assert check.status == status
    assert check.remedy.endswith(told)


@pytest.mark.parametrize(("celsius", "status"), [(None, "ok"), (55.0, "ok"), (84.0, "warning")])
def test_a_hot_board_is_told(monkeypatch, celsius, status):
    """Above 80 degrees it is a warning."""
    monkeypatch.setattr(machine, "temperature_c", lambda: celsius)
    check = hardware.temperature()
    assert (check.status, bool(check.remedy)) == (status, status == "warning")


def test_little_space_is_told_by_the_configured_bound(tmp_path, monkeypatch):
    """Below log.min_free_mb the oldest files go, which somebody may want to know before."""
    usage = SimpleNamespace(total=10**10, used=10**10 - 3 * 10**8, free=3 * 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    fits = Config(log=LogConfig(dir=str(tmp_path / "logs")))
    assert hardware.log_directory(fits).status == "ok"
    tight = Config(log=LogConfig(dir=str(tmp_path / "logs"), min_free_mb=500.0))
    check = hardware.log_directory(tight)
    assert (check.status, "500 MB" in check.remedy) == ("warning", True)
    assert not (tmp_path / "logs").exists()


def test_a_check_that_breaks_is_a_finding(monkeypatch):
    """Whatever a check runs into, all the others are made."""

    def broken() -> Check:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(hardware, "groups", broken)
    found = {check.name: check for check in examine(config_for("demo"))}
    assert found["groups"].status == "failure"
    assert "ZeroDivisionError: oops" in found["groups"].detail
    assert found["model"].status == "ok"
    assert list(found)[-1] == "throttling"


def test_brackets_in_a_finding_are_shown_as_they_are(capsys):
    """A camera's name is text, not markup."""
    show([Check("camera", "ok", "Cam [red]x[/]")], as_json=False)
    assert "[red]x[/]" in capsys.readouterr().out
    show([Check("camera", "ok", "x")], as_json=True)
    (check,) = json.loads(capsys.readouterr().out)
    assert check == {"name": "camera", "status": "ok", "detail": "x", "remedy": ""}
