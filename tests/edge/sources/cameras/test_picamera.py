"""The ribbon camera, in its own process: on a picamera2 that is played, or on the real one.

Without $PLAY_CSI the played one of ``fake_picamera2`` is used; with it, what picamera2 there is, on
a libcamera with the camera of ``tests/hosts/play_csi.cpp`` (`make test-camera`). What only the
played one can be told to do is marked ``played``.
"""

import json
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from edge.config import Config, ModelConfig, SourceConfig
from edge.errors import BundleError, CameraError, CameraStuckError
from edge.runtime.build import build_runtime
from edge.sources.cameras import picamera, ribbon
from edge.sources.cameras.picamera import PiCamera, PiCameraView, RibbonCameraOpener, probe_ribbon
from edge.sources.cameras.ribbon import NoRibbonCameraError
from edge.sources.files.upright import Turn
from edge.sources.select import open_source
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.sources.wrappers.reconnect import BackOff, ReconnectingSource
from tests.helpers import children, until

pytestmark = pytest.mark.slow

FAKE = Path(__file__).parent / "fake_picamera2"
REAL = os.environ.get("PLAY_CSI")
ROOT = Path(__file__).parents[4]
PATIENCE_S = 60
FAULTS = ("frames", "loose", "error", "stuck", "absent")
RED_BGR = (10, 20, 250)

played = pytest.mark.skipif(REAL is not None, reason="a real libcamera cannot be told to do that")


class Play:
    """The remote control of the camera behind a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, name: str, text: str = "") -> None:
        """Let a fault begin."""
        (self._folder / name).write_text(text, "ascii")

    def end(self, name: str) -> None:
        """Let a fault end."""
        (self._folder / name).unlink()

    def show(self, picture: np.ndarray) -> None:
        """Let the camera see a picture, uint8 ``(height, width, 3)``, from its next start on."""
        head = struct.pack("<III", picture.shape[1], picture.shape[0], 1)
        (self._folder / "frames").write_bytes(head + picture.tobytes())

    @property
    def asked(self) -> dict:
        """What was configured."""
        return json.loads((self._folder / "asked").read_text("ascii"))


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    if REAL is None:
        monkeypatch.setenv("PLAY_CSI", str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKE), str(ROOT)]))
        monkeypatch.syspath_prepend(FAKE)  # to be found; only the child imports it
        folder = tmp_path
    else:
        folder = Path(REAL)
    for name in FAULTS:
        (folder / name).unlink(missing_ok=True)
    yield Play(folder)
    for name in FAULTS:
        (folder / name).unlink(missing_ok=True)
    assert "picamera2" not in sys.modules
    assert "libcamera" not in sys.modules


def read_on(latest: LatestFrame) -> None:
    for _ in range(100_000):
        latest.read()


@pytest.mark.parametrize("size_hw", [(48, 64), (50, 70), (480, 640)])
def test_pictures_are_bgr_without_padding(play: Play, size_hw) -> None:
    """A red scene is red in BGR, in exactly the size asked for, whatever is at the rows' ends."""
    camera = PiCamera(size_hw)
    frame = camera.read()
    camera.close()
    assert frame.size_hw == size_hw
    assert (frame.image >= RED_BGR).all()
    assert (frame.image <= np.add(RED_BGR, (0, 8, 0))).all()
    assert frame.image.flags.c_contiguous


def test_frames_are_numbered_and_stamped_by_the_sensor(play: Play) -> None:
    """Times rise, lie before the reading, and agree on both clocks; nothing is given twice."""
    camera = PiCamera((48, 64))
    frames = [camera.read() for _ in range(20)]
    now_s = time.monotonic()
    offset_s = time.time() - time.monotonic()
    camera.close()
    times = np.array([frame.t_s for frame in frames])
    assert [frame.index for frame in frames] == list(range(20))
    assert (np.diff(times) > 0.02).all()  # the sensor's period is 0.033 s
    assert times[-1] < now_s
    taken = np.array([frame.captured_at.timestamp() for frame in frames])
    assert taken - times == pytest.approx(offset_s, abs=0.05)
    assert len({frame.image.tobytes() for frame in frames}) == 20
    assert camera.read() is None
    camera.close()


@pytest.mark.parametrize(
    ("exposed_ago_s", "age_s"), [(0.1, 0.1), (-5.0, 0.0), (3600.0, 0.0)], ids=str
)
def test_a_stamp_that_cannot_be_is_not_believed(exposed_ago_s: float, age_s: float) -> None:
    """A picture from the future, or from an hour ago, was taken when it came."""
    exposed_ns = time.monotonic_ns() - round(exposed_ago_s * 1e9)
    assert picamera.exposure_age_ns(exposed_ns) / 1e9 == pytest.approx(age_s, abs=0.05)


@played
def test_what_is_asked_of_picamera2(play: Play) -> None:
    """RGB888, the frame rate, no raw stream and no request held back: small, and always new."""
    camera = PiCamera((480, 640), fps=20)
    camera.read()
    camera.close()
    asked = play.asked
    assert asked["main"]["format"] == "RGB888"
    assert asked["main"]["size"] == [640, 480]
    assert asked["controls"] == {"FrameDurationLimits": [50_000, 50_000]}
    assert (asked["raw"], asked["queue"], asked["buffer_count"]) == (None, False, 3)


@pytest.mark.parametrize(
    ("field_of_view", "fps", "told"),
    [
        ("full", 30, "mode 1640x1232 (up to 41.9 fps), sees 100% of the sensor's width and 100%"),
        ("full", 60, "mode 1640x1232 (up to 41.9 fps), sees 100% of the sensor's width and 100%"),
        ("fast", 30, "mode 640x480 (up to 207 fps), sees 39% of the sensor's width and 39%"),
    ],
)
def test_all_that_the_sensor_sees_is_shown(play: Play, field_of_view, fps, told) -> None:
    """The smallest mode that sees all is used, at its own rate where it is slower than asked."""
    said = probe_ribbon((480, 640), fps, PiCameraView(field_of_view))
    assert told in said
    assert said.startswith(
        f"imx219, 640x480 at {min(fps, 41.9) if field_of_view == 'full' else 30}"
    )


def test_a_size_beyond_all_modes_takes_the_largest(play: Play) -> None:
    """A picture of more pixels than the sensor has is enlarged from all of them."""
    assert "sensor mode 3280x2464" in probe_ribbon((2600, 3400), 5.0)


TURNS = [(r, f) for r in (0, 90, 180, 270) for f in ("none", "horizontal", "vertical")]


@pytest.mark.parametrize(("rotation", "flip"), TURNS)
def test_pictures_are_turned_and_flipped(play: Play, rotation: int, flip: str) -> None:
    """As asked, by the sensor where it can and by us where it cannot; the size stays as asked."""
    scene = np.zeros((48, 64, 3), np.uint8)
    scene[:24, :32] = 200  # the corner that tells where up and left are
    scene[:24, 32:, 1] = 120
    play.show(scene if rotation % 180 == 0 else np.ascontiguousarray(scene[:, 8:56]))
    turn = Turn.of_camera(rotation, flip)
    size_hw = (48, 64) if rotation % 180 == 0 else (64, 48)
    camera = PiCamera(size_hw, view=PiCameraView(turn=turn))
    frame = camera.read()
    camera.close()
    assert frame.size_hw == size_hw
    small = scene[12::24, 16::32].copy()
    assert np.array_equal(
        frame.image[size_hw[0] // 4 :: size_hw[0] // 2, size_hw[1] // 4 :: size_hw[1] // 2],
        turn.apply(small),
    )


@played
@pytest.mark.parametrize("mounted", [0, 90, 180, 270])
@pytest.mark.parametrize("turn", [Turn(), Turn.of_camera(180, "none"), Turn.of_camera(90, "none")])
def test_a_camera_that_is_mounted_askew_is_upright(play: Play, mounted: int, turn: Turn) -> None:
    """A quarter turn is beyond libcamera: what is left of a mounting is turned here."""
    scene = np.zeros((48, 48, 3), np.uint8)
    scene[:24, :24] = 200
    play.show(scene)
    play.begin("mounted", str(mounted))
    camera = PiCamera((48, 48), view=PiCameraView(turn=turn))
    frame = camera.read()
    camera.close()
    assert np.array_equal(frame.image[12::24, 12::24], turn.apply(scene[12::24, 12::24].copy()))


@played
@pytest.mark.parametrize(
    ("focus_m", "controls"),
    [(None, {"AfMode": 2}), (0.5, {"AfMode": 0, "LensPosition": 2.0})],
)
def test_a_lens_that_moves_follows_or_is_set(play: Play, focus_m, controls) -> None:
    """Continuous autofocus by default; a distance in metres is set in dioptres."""
    play.begin("focus")
    camera = PiCamera((48, 64), view=PiCameraView(focus_m=focus_m))
    camera.read()
    camera.close()
    asked = play.asked["controls"]
    asked.pop("FrameDurationLimits")
    assert asked == controls


def test_a_loose_cable_is_a_lost_camera_not_a_hang(play: Play) -> None:
    """No frame in time is a CameraError; the camera closes all the same and can be had again."""
    camera = PiCamera((48, 64), frame_timeout_s=2.0)
    assert camera.read() is not None
    play.begin("loose")
    with pytest.raises(CameraError, match=r"no frame for 2 s; is its ribbon cable loose"):
        read_on(camera)
    camera.close()
    play.end("loose")
    again = PiCamera((48, 64))
    assert again.read() is not None
    again.close()


def test_a_frame_that_comes_too_late_is_the_next_one(play: Play) -> None:
    """A frame that nobody waits for any more is given whole when frames are asked for again."""
    play.begin("loose")
    camera = PiCamera((48, 64), frame_timeout_s=1.0)
    for _ in range(2):
        with pytest.raises(CameraError):
            camera.read()
    play.end("loose")
    time.sleep(0.2)
    frames = [camera.read() for _ in range(5)]
    assert [frame.index for frame in frames] == list(range(5))
    camera.close()


def test_faulty_frames_are_dropped_and_counted(play: Play) -> None:
    """A frame with an error status is never given, and no secret."""
    camera = PiCamera((48, 64), frame_timeout_s=PATIENCE_S)
    frames = [camera.read()]
    before = camera.dropped
    play.begin("error")
    threading.Timer(0.5, play.end, ["error"]).start()
    frames += [camera.read() for _ in range(5)]
    assert camera.dropped - before >= 5  # 15 at 30 a second
    assert max(np.diff([frame.t_s for frame in frames])) > 0.2
    camera.close()


def test_a_slow_rate_is_not_a_lost_camera(play: Play) -> None:
    """A camera is asked for one frame a second at least, and waited for accordingly."""
    camera = PiCamera((48, 64), fps=0.05, frame_timeout_s=0.1)
    assert camera.fps == 1.0
    assert [camera.read().index for _ in range(3)] == [0, 1, 2]
    camera.close()


def test_a_stop_that_hangs_is_killed_and_replaced(play: Play) -> None:
    """The process that hangs is ended, other threads go on, and the camera is free."""
    camera = PiCamera((48, 64), stop_timeout_s=1.0)
    camera.read()
    play.begin("stuck")
    beats, done = [], threading.Event()

    def beat() -> None:
        while not done.wait(0.05):
            beats.append("here")

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.raises(CameraStuckError, match=r"does not stop within 1 s") as caught:
        camera.close()
    done.set()
    thread.join()
    assert caught.value.is_ended
    assert len(beats) >= 5  # of 20
    assert not children()
    camera.close()
    again = PiCamera((48, 64))
    assert again.read() is not None
    play.end("stuck")
    again.close()


def test_a_run_goes_on_after_a_stop_that_hung(play: Play) -> None:
    """A reconnecting source gets frames again, from another process."""
    latest = LatestFrame(
        ReconnectingSource(
            lambda: PiCamera((48, 64), frame_timeout_s=2.0, stop_timeout_s=1.0),
            back_off=BackOff(0.01, 0.01),
        )
    )
    assert latest.read() is not None
    play.begin("stuck")
    play.begin("loose")
    with pytest.raises(CameraError, match="no frame"):
        read_on(latest)
    play.end("loose")
    assert latest.wait(PATIENCE_S)
    assert latest.read() is not None
    play.end("stuck")
    latest.close()
    assert not children()


def test_a_process_that_cannot_be_killed_ends_the_run(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the kernel's driver hangs, only a restart helps, and the error says so."""
    camera = PiCamera((48, 64), stop_timeout_s=0.1)
    left: list[subprocess.Popen[bytes]] = []
    play.begin("stuck")
    with monkeypatch.context() as patched:
        patched.setattr(subprocess.Popen, "kill", lambda child: left.append(child))  # noqa: PLW0108 - a method has its object
        patched.setattr(ribbon, "KILL_TIMEOUT_S", 0.1)
        with pytest.raises(CameraStuckError, match="cannot be killed") as caught:
            camera.close()
    assert not caught.value.is_ended
    left[0].wait(PATIENCE_S)  # for its lifeline was closed


_HOLDER = """
import sys, time
from pathlib import Path
from edge.sources.cameras.picamera import PiCamera
camera = PiCamera((48, 64))
camera.read()
print(camera._process._child.pid, flush=True)
sys.stdin.read(1)
camera.close()
"""


def test_it_ends_with_its_parent_even_while_it_hangs(play: Play) -> None:
    """A parent that is killed leaves no process behind, not even one that holds its lock."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
    )
    pid = int(parent.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    play.begin("stuck")
    parent.stdin.write(b"\n")
    parent.stdin.flush()  # it stops the camera now, which hangs
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    until(lambda: not _is_running(pid))


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_it_comes_back(play: Play) -> None:
    """A cable that is put in again gives frames again, through the whole chain."""
    latest = LatestFrame(
        ReconnectingSource(
            lambda: PiCamera((48, 64), frame_timeout_s=2.0), back_off=BackOff(0.01, 0.01)
        )
    )
    assert latest.read() is not None
    play.begin("loose")
    with pytest.raises(CameraError):
        read_on(latest)
    play.end("loose")
    assert latest.wait(PATIENCE_S)
    assert latest.read() is not None
    latest.close()
    assert not children()


def test_eleven_openings_leave_nothing(play: Play) -> None:
    """Neither descriptors nor processes nor threads are kept."""
    PiCamera((48, 64)).close()
    before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    for _ in range(11):
        camera = PiCamera((48, 64))
        camera.read()
        camera.close()
    assert (len(list(Path("/proc/self/fd").iterdir())), threading.active_count()) == before
    assert not children()


def test_no_csi_camera_is_one_line(play: Play) -> None:
    """Without a ribbon camera the error says how to look for one."""
    play.begin("absent")
    with pytest.raises(NoRibbonCameraError, match="no CSI camera found") as caught:
        PiCamera()
    assert "\n" not in str(caught.value)
    assert caught.value.why == "absent"


@played
@pytest.mark.parametrize("absent", [True, False])
def test_a_webcam_is_not_taken_for_a_ribbon_camera(play: Play, absent: bool) -> None:
    """Its place in picamera2's list is used, which is not libcamera's number."""
    play.begin("usb")
    if absent:
        play.begin("absent")
        with pytest.raises(NoRibbonCameraError):
            PiCamera((48, 64))
    else:
        assert probe_ribbon().startswith("imx219")


def test_a_busy_camera_is_one_line(play: Play, capfd: pytest.CaptureFixture[str]) -> None:
    """A camera that another process holds is told with its true cause, and nothing but that."""
    first = PiCamera((48, 64))
    with pytest.raises(CameraError, match=r"another program is using .*busy") as caught:
        probe_ribbon()
    first.close()
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@played
def test_another_format_is_refused_and_released(play: Play) -> None:
    """Pixels in an unexpected order would be wrong colours: refused, and the camera is free."""
    play.begin("format", "XBGR8888")
    with pytest.raises(CameraError, match="gives XBGR8888, expected RGB888"):
        PiCamera((48, 64))
    play.end("format")
    PiCamera((48, 64)).close()


@played
def test_an_opening_that_hangs_has_a_remedy(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up in time; the line says what to try, and no process stays."""
    monkeypatch.setattr(picamera, "OPEN_TIMEOUT_S", 1.0)
    play.begin("hangs")
    with pytest.raises(CameraError, match=r"within 1 s; `rpicam-hello --list-cameras`"):
        probe_ribbon()
    assert not children()


@played
def test_a_crash_of_native_code_is_a_lost_camera(play: Play) -> None:
    """What crashes is the child; the error names the signal, and the camera can be had again."""
    camera = PiCamera((48, 64))
    camera.read()
    play.begin("crash")
    with pytest.raises(CameraError, match=r"crashed \(SIGSEGV\)"):
        read_on(camera)
    camera.close()
    play.end("crash")
    again = PiCamera((48, 64))
    assert again.read() is not None
    again.close()


def test_missing_picamera2_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without picamera2 the one line says what to install."""
    monkeypatch.setattr(ribbon, "candidate_pythons", lambda: iter(()))
    with pytest.raises(CameraError) as caught:
        open_source(SourceConfig("picamera"))
    assert "sudo apt install python3-picamera2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_python_without_picamera2_is_told(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the import fails, the reason and the Python that was asked stand in the line."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(ribbon, "candidate_pythons", lambda: iter([sys.executable]))
    with pytest.raises(NoRibbonCameraError, match="No module named 'libcamera'") as caught:
        PiCamera()
    assert sys.executable in str(caught.value)


@played
def test_broken_picamera2_is_told(play: Play) -> None:
    """An import that fails otherwise, as with packages of another NumPy, is one line, too."""
    play.begin("raises", "numpy.dtype size changed")
    with pytest.raises(NoRibbonCameraError, match=r"\(numpy\.dtype size changed\)") as caught:
        PiCamera()
    assert caught.value.why == "broken"
    assert "python3-simplejpeg" in str(caught.value)


@played
def test_another_python_may_have_what_one_lacks(
    play: Play, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The system's Python goes first; where its picamera2 is broken, our own is tried."""
    lacking = tmp_path / "python3"
    lacking.write_text(f'#!/bin/sh\nPYTHONPATH= exec {sys.executable} "$@"\n', "ascii")
    lacking.chmod(0o755)
    monkeypatch.setattr(ribbon, "candidate_pythons", lambda: iter([str(lacking), sys.executable]))
    camera = PiCamera((48, 64))
    assert camera.read() is not None
    camera.close()


def test_auto_prefers_csi(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` opens the CSI camera where there is one, and says what it looked for otherwise."""
    source = open_source(SourceConfig("auto", height=48, width=64))
    assert source.read().size_hw == (48, 64)
    source.close()
    play.begin("absent")
    monkeypatch.setattr("edge.sources.cameras.identity.first_camera", lambda: None)
    with pytest.raises(CameraError, match=r"neither CSI \(picamera: no CSI camera found"):
        open_source(SourceConfig("auto"))


@played
def test_auto_tells_why_the_ribbon_camera_is_out_of_reach(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken picamera2 is no missing camera."""
    play.begin("raises", "numpy.dtype size changed")
    monkeypatch.setattr("edge.sources.cameras.identity.first_camera", lambda: None)
    with pytest.raises(CameraError, match=r"numpy\.dtype size changed"):
        open_source(SourceConfig("auto"))


def test_what_the_camera_gives_is_logged_when_it_is_news(play: Play, caplog) -> None:
    """Once, not at each opening."""
    caplog.set_level(logging.INFO, "edge")
    opener = RibbonCameraOpener((48, 64), 30.0, PiCameraView())
    for _ in range(3):
        opener().close()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert "sensor mode 640x480" in told[0] or "sensor mode 1640x1232" in told[0]
    assert "asked for 64x48 at 30 fps" in told[0]


def test_an_opening_that_begins_early_is_the_one_that_is_used(play: Play) -> None:
    """One process, begun before the rest is loaded; what nobody opens is ended."""
    opener = RibbonCameraOpener((48, 64), 30.0, PiCameraView())
    opener.begin()
    [child] = children()
    camera = opener()
    assert children() == {child}
    assert camera.read() is not None
    opener.close()  # it is the camera's by now
    assert camera.read() is not None
    camera.close()
    assert children() == set()
    opener.begin()
    opener.close()
    opener.close()
    assert children() == set()


def test_what_is_wrong_early_is_told_when_the_camera_is_opened(play: Play) -> None:
    """Beginning raises nothing: the model's own faults come first, then the camera's."""
    play.begin("absent")
    opener = RibbonCameraOpener((48, 64), 30.0, PiCameraView())
    opener.begin()
    with pytest.raises(NoRibbonCameraError, match="no CSI camera found"):
        opener()
    assert children() == set()
    play.end("absent")
    opener().close()


def test_a_run_whose_model_fails_ends_the_camera_that_it_began(play: Play, tmp_path: Path) -> None:
    """Nothing is left behind, and no log is made."""
    config = Config(
        source=SourceConfig(spec="picamera"), model=ModelConfig(bundle=str(tmp_path / "none"))
    )
    with pytest.raises(BundleError), ExitStack() as stack:
        build_runtime(config, stack)
    assert children() == set()


def test_the_program_needs_the_system_python_only() -> None:
    """It is one file that imports the standard library and NumPy, and picamera2 where it must."""
    found = subprocess.run(
        [sys.executable, "-s", "-P", "-c", _IMPORTS, str(ribbon.PROGRAM)],
        capture_output=True,
        text=True,
        check=True,
    )
    foreign = set(found.stdout.split()) - set(sys.stdlib_module_names)
    assert foreign == {"libcamera", "numpy", "picamera2"}


_IMPORTS = """
import ast, sys
for node in ast.walk(ast.parse(open(sys.argv[1]).read())):
    if isinstance(node, ast.Import):
        print(*(alias.name.partition(".")[0] for alias in node.names))
    if isinstance(node, ast.ImportFrom):
        print(node.module.partition(".")[0])
"""


def test_sigterm_ends_a_run_whose_camera_hangs(play: Play, tmp_path: Path) -> None:
    """A hanging stop keeps nobody: the run ends by the signal, with its records whole."""
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "edgeemo",
            "run",
            "--source",
            "picamera",
            "--log-dir",
            tmp_path / "log",
        ],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log = tmp_path / "log" / "edgeemo.jsonl"
    until(lambda: log.exists() and b"service_started" in log.read_bytes())
    play.begin("stuck")
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, output
    assert json.loads(log.read_bytes().splitlines()[-1])["reason"] == "signal"
