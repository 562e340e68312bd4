"""The CSI camera, against a picamera2 that behaves as the real one does, its traps included.

The fake follows picamera2 0.3.31: ``picamera2.py`` (``dispatch_functions``, ``process_requests``,
``stop``, ``close``), ``job.py`` and ``request.py``.
"""

import logging
import sys
import threading
from concurrent.futures import CancelledError, Future
from types import SimpleNamespace

import numpy as np
import pytest

from edge.errors import CameraError, CameraStuckError
from edge.sources import picamera
from edge.sources.latest import LatestFrame
from edge.sources.picamera import BUFFERS, PiCamera, has_csi_camera
from edge.sources.reconnect import BackOff, ReconnectingSource
from edge.sources.select import SourceOptions, open_source

PATIENCE_S = 30
CSI = {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 1}  # fmt: skip # noqa: E501
USB = {"Model": "HD Webcam", "Id": "/base/scb/pcie@7d500000/usb@0,0-1.3:1.0-046d:0825", "Num": 0}
RED_RGB = (250, 20, 10)
_DEFAULT: dict = {}
"""As in picamera2, where None is no such stream and this one of picamera2's choice."""


class _Job:
    """picamera2's Job: functions that are tried until they say done."""

    def __init__(self, functions, signal_function) -> None:
        self._functions, self._signal_function = list(functions), signal_function
        self._future: Future = Future()
        self._future.set_running_or_notify_cancel()
        self._result = None

    def execute(self) -> bool:
        try:
            while self._functions:
                done, self._result = self._functions[0]()
                if not done:
                    break
                self._functions.pop(0)
        except Exception as error:
            self._future.set_exception(error)
            self._functions = []
        return not self._functions

    def signal(self) -> None:
        if not self._future.done():
            self._future.set_result(self._result)
        if self._signal_function:
            self._signal_function(self)

    def get_result(self, timeout=None):
        return self._future.result(timeout=timeout)

    def cancel(self) -> None:
        self._future.set_exception(CancelledError())


class _Request:
    """picamera2's CompletedRequest: a buffer on loan, in rows that are padded."""

    def __init__(self, camera: "_Camera", number: int) -> None:
        self._camera, self._number = camera, number
        self.ref_count = 1

    def release(self) -> None:
        self.ref_count -= 1
        if self.ref_count < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        if self.ref_count == 0:
            self._camera.give_back()

    def make_array(self, name: str) -> np.ndarray:
        if self.ref_count <= 0:
            raise RuntimeError("the buffer is the camera's again")
        world = self._camera.world
        if world.make_array_fails:
            raise RuntimeError("dma-buf sync failed")
        stream = self._camera.camera_configuration()[name]
        width, height = stream["size"]
        rows = np.full((height, stream["stride"]), 0xEE, np.uint8)  # padding holds rubbish
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[:] = RED_RGB[::-1]  # DRM's RGB888 is little-endian: blue comes first
        pixels[0, 0] = self._number % 256
        rows[:, : width * 3] = pixels.reshape(height, -1)
        if world.crops_padding:
            return np.asarray(rows[:, : width * 3], order="C").reshape(height, width, 3)
        return rows[:, : stream["stride"] // 3 * 3].reshape(height, -1, 3)


class _World:
    """The hardware behind all Picamera2 objects of a test."""

    def __init__(self) -> None:
        self.cameras = [CSI]
        self.holder: _Camera | None = None
        self.made: list[_Camera] = []
        self.frames = threading.Event()  # light on the sensor, cable in
        self.frames.set()
        self.crops_padding = True
        self.make_array_fails = False
        self.adjusted_format: str | None = None
        self.stop_hangs = threading.Event()
        self.has_cancel = True
        self.given_up = threading.Event()


class _Camera:
    """picamera2.Picamera2: what the adapter touches of it."""

    world: _World

    @staticmethod
    def global_camera_info() -> list:
        return sorted(_Camera.world.cameras, key=lambda c: ("/usb" not in c["Id"], c["Id"]), reverse=True)  # fmt: skip # noqa: E501

    def __init__(self, camera_num: int = 0) -> None:
        self.asked_for = self.global_camera_info()[camera_num]
        if self.world.holder is not None:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.world.holder = self
        self.world.made.append(self)
        self.started = False
        self.closed = False
        self._config: dict | None = None
        self._lock = threading.Lock()
        self._jobs: list[_Job] = []
        self._completed: list[_Request] = []
        self._nudge = threading.Event()
        self._running = False
        self._on_loan = 0
        self._shown = 0
        self.most_on_loan = 0
        if not self.world.has_cancel:
            self.cancel_all_and_flush = None

    def create_video_configuration(
        self, main=_DEFAULT, lores=None, raw=_DEFAULT, buffer_count=6, controls=_DEFAULT,
        display="main", encode="main", queue=True,
    ) -> dict:  # fmt: skip
        for key in main:
            if key not in {"format", "size", "stride", "preserve_ar"}:
                raise ValueError(f"Bad key {key!r}")
        main = {"format": "XBGR8888", "size": (1280, 720), "preserve_ar": True, **main}
        width, height = main["size"]
        main["size"] = (width - width % 2, height - height % 2)  # align_stream
        return {
            "main": main, "lores": lores, "raw": raw, "buffer_count": buffer_count, "queue": queue,
            "controls": {"FrameDurationLimits": (33333, 33333)} | controls,
            "display": display, "encode": encode,
        }  # fmt: skip

    def configure(self, config: dict) -> None:
        config = {**config, "main": dict(config["main"])}
        main = config["main"]
        main["format"] = self.world.adjusted_format or main["format"]
        main["stride"] = -(-main["size"][0] * 3 // 64) * 64  # the ISP wants rows of 64 bytes
        self._config = config

    def camera_configuration(self) -> dict:
        return self._config

    def start(self) -> None:
        self._running = True
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self.started = True
        self._thread.start()

    def capture_request(self, wait=None, signal_function=None):
        return self.dispatch_functions([self._capture_request], wait, signal_function)

    def dispatch_functions(self, functions, wait, signal_function=None, immediate=False):
        if wait is None:
            wait = signal_function is None
        with self._lock:
            job = _Job(functions, signal_function)
            self._jobs.append(job)
            if immediate:
                self._nudge.set()
        return job.get_result(timeout=None if wait is True else wait) if wait else job

    def cancel_all_and_flush(self) -> None:
        with self._lock:
            for job in self._jobs:
                job.cancel()
            self._jobs = []

    def stop_(self):
        if self.world.stop_hangs.is_set():
            self.world.given_up.wait(PATIENCE_S)
        self.started = False
        return (True, None)

    def stop(self) -> None:
        if self.started:
            self.dispatch_functions([self.stop_], wait=True, immediate=True)

    def close(self) -> None:
        if self._running:
            self._running = False
            self._thread.join()
        self.started = False
        self.world.holder = None
        self.closed = True

    def give_back(self) -> None:
        with self._lock:
            self._on_loan -= 1

    @property
    def on_loan(self) -> int:
        return self._on_loan

    def _capture_request(self):
        if not self._completed:
            return (False, None)
        return (True, self._completed.pop(0))

    def _loop(self) -> None:
        while self._running:
            there = self._expose()
            if not there and not self._nudge.wait(0.002):
                continue
            self._nudge.clear()
            self._process()

    def _expose(self) -> bool:
        """Fill a buffer, if there is light and a free one."""
        with self._lock:
            if not (self.started and self.world.frames.is_set()):
                return False
            if self._on_loan >= self._config["buffer_count"]:
                return False
            self._on_loan += 1
            self.most_on_loan = max(self.most_on_loan, self._on_loan)
            self._completed.append(_Request(self, self._shown))
            self._shown += 1
        threading.Event().wait(0.002)
        return True

    def _process(self) -> None:
        finished = []
        with self._lock:
            while self._jobs and self._jobs[0].execute():  # one that waits is in the others' way
                finished.append(self._jobs.pop(0))
            keep = 1 if self._config["queue"] else 0
            old = self._completed[: len(self._completed) - keep] if keep else self._completed
            self._completed = self._completed[len(old) :]
        for request in old:
            request.release()
        for job in finished:
            job.signal()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch):
    world = _World()
    _Camera.world = world
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=_Camera))
    yield world
    world.given_up.set()
    for camera in world.made:
        camera._running = False


def wait_until(condition) -> None:
    for _ in range(PATIENCE_S * 200):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came true")


def read_on(latest: LatestFrame) -> None:
    for _ in range(100_000):
        latest.read()


@pytest.mark.parametrize("crops_padding", [True, False], ids=["cropped", "padded"])
@pytest.mark.parametrize("size_hw", [(48, 64), (50, 70), (480, 640)])
def test_pictures_are_bgr_without_padding(world: _World, size_hw, crops_padding) -> None:
    """A red scene is red in BGR, in exactly the size asked for, whatever is at the rows' ends."""
    world.crops_padding = crops_padding
    camera = PiCamera(size_hw)
    frame = camera.read()
    assert frame.size_hw == size_hw
    assert (frame.image[1:] == RED_RGB[::-1]).all()
    assert frame.image.flags.c_contiguous
    camera.close()


def test_frames_are_numbered_in_rising_time_and_given_back(world: _World) -> None:
    """A hundred frames need no more than three buffers, and none is kept."""
    camera = PiCamera((48, 64))
    frames = [camera.read() for _ in range(100)]
    assert [frame.index for frame in frames] == list(range(100))
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()
    [made] = world.made
    assert made.camera_configuration()["buffer_count"] == BUFFERS == 3
    assert made.most_on_loan <= 3
    camera.close()
    wait_until(lambda: made.on_loan <= 1)
    assert made.closed
    assert camera.read() is None
    camera.close()


def test_what_is_asked_of_picamera2(world: _World) -> None:
    """RGB888, the frame rate, no raw stream and no request held back: small, and always new."""
    PiCamera((480, 640), fps=20).close()
    config = world.made[0].camera_configuration()
    assert config["main"]["format"] == "RGB888"
    assert config["main"]["size"] == (640, 480)
    assert config["controls"]["FrameDurationLimits"] == (50_000, 50_000)
    assert (config["raw"], config["queue"], config["display"], config["encode"]) == (
        None, False, None, None,
    )  # fmt: skip


def test_a_loose_cable_is_a_lost_camera_not_a_hang(world: _World) -> None:
    """No frame in time is a CameraError; the camera closes all the same and can be had again."""
    camera = PiCamera((48, 64), frame_timeout_s=0.05)
    assert camera.read() is not None
    world.frames.clear()
    wait_until(lambda: world.made[0].on_loan == 0)
    with pytest.raises(CameraError, match=r"no frame for 0\.05 s; is its ribbon cable loose"):
        camera.read()
    camera.close()
    assert world.holder is None
    world.frames.set()
    again = PiCamera((48, 64))
    assert again.read() is not None
    again.close()


def test_a_frame_that_comes_too_late_is_given_back(world: _World) -> None:
    """A request that nobody waits for any more does not stay on loan."""
    world.frames.clear()
    camera = PiCamera((48, 64), frame_timeout_s=0.02)
    for _ in range(5):
        with pytest.raises(CameraError):
            camera.read()
    world.frames.set()  # the five late requests arrive
    wait_until(lambda: world.made[0]._shown > 20)
    assert camera.read() is not None
    assert world.made[0].on_loan <= 2
    camera.close()


def test_a_picture_that_fails_is_given_back(world: _World) -> None:
    """Whatever goes wrong with a request, it is released, and the error is ours."""
    camera = PiCamera((48, 64))
    world.make_array_fails = True
    for _ in range(10):
        with pytest.raises(CameraError, match="dma-buf sync failed"):
            camera.read()
    world.make_array_fails = False
    assert camera.read() is not None
    camera.close()


@pytest.mark.parametrize("has_cancel", [True, False], ids=["picamera2 now", "before 2024-07"])
def test_a_stop_that_hangs_is_not_waited_for(world: _World, has_cancel: bool) -> None:
    """A camera that does not stop is reported as lost to this process, within the time-out."""
    world.has_cancel = has_cancel
    camera = PiCamera((48, 64), frame_timeout_s=0.05, stop_timeout_s=0.1)
    world.frames.clear()
    world.stop_hangs.set()
    wait_until(lambda: world.made[0].on_loan == 0)
    with pytest.raises(CameraError):
        camera.read()
    with pytest.raises(CameraStuckError, match=r"does not stop within 0\.1 s"):
        camera.close()
    camera.close()


def test_the_service_ends_when_the_camera_can_not_be_had_again(world: _World) -> None:
    """A stuck camera ends a reconnecting source, for a new process to begin afresh."""
    world.stop_hangs.set()
    latest = LatestFrame(
        ReconnectingSource(
            lambda: PiCamera((48, 64), frame_timeout_s=0.05, stop_timeout_s=0.1),
            back_off=BackOff(0.01, 0.01),
        )
    )
    assert latest.read() is not None
    world.frames.clear()
    with pytest.raises(CameraStuckError):
        read_on(latest)
    latest.close()


def test_it_comes_back(world: _World) -> None:
    """A cable that is put in again gives frames again, through the whole chain."""
    latest = LatestFrame(
        ReconnectingSource(
            lambda: PiCamera((48, 64), frame_timeout_s=0.05), back_off=BackOff(0.01, 0.01)
        )
    )
    assert latest.read() is not None
    world.frames.clear()
    with pytest.raises(CameraError):
        read_on(latest)
    wait_until(lambda: len(world.made) >= 3)  # opened in vain, at least once
    world.frames.set()
    assert latest.wait(PATIENCE_S)
    assert latest.read() is not None
    latest.close()
    assert world.holder is None


@pytest.mark.parametrize(
    ("cameras", "message"),
    [([], "no CSI camera found"), ([USB], "no CSI camera found")],
    ids=["none", "a webcam only"],
)
def test_no_csi_camera_is_one_line(world: _World, cameras, message) -> None:
    """Without a ribbon camera the error says how to look for one; a webcam is not taken for it."""
    world.cameras = cameras
    with pytest.raises(CameraError, match=message) as caught:
        PiCamera()
    assert "\n" not in str(caught.value)
    assert not has_csi_camera()


def test_the_csi_camera_is_chosen_among_others(world: _World) -> None:
    """Its place in picamera2's list is used, which is not libcamera's number."""
    world.cameras = [USB, CSI]
    PiCamera((48, 64)).close()
    assert world.made[0].asked_for is CSI


def test_a_busy_camera_is_one_line(world: _World) -> None:
    """A camera that another process holds is told with the likely cause."""
    first = PiCamera((48, 64))
    with pytest.raises(CameraError, match="another program"):
        PiCamera((48, 64))
    first.close()


def test_another_format_is_refused_and_released(world: _World) -> None:
    """Pixels in an unexpected order would be wrong colours: refused, and the camera is free."""
    world.adjusted_format = "XBGR8888"
    with pytest.raises(CameraError, match="gives XBGR8888, expected RGB888"):
        PiCamera((48, 64))
    assert world.holder is None


def test_missing_picamera2_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without picamera2 the one line says what to install, and how the environment must be made."""
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError) as caught:
        open_source("picamera")
    assert "sudo apt install python3-picamera2" in str(caught.value)
    assert "--system-site-packages" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_broken_picamera2_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that fails otherwise, as with wheels of another numpy, is one line, too."""

    def broken(_: str):
        raise ValueError("numpy.dtype size changed")

    monkeypatch.setattr(picamera.importlib, "import_module", broken)
    with pytest.raises(CameraError, match=r"cannot be loaded \(numpy\.dtype size changed\)"):
        PiCamera()


def test_auto_prefers_csi(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """``auto`` opens the CSI camera where there is one, and says what it looked for otherwise."""
    source = open_source("auto", SourceOptions(size_hw=(48, 64)))
    assert source.read().size_hw == (48, 64)
    source.close()
    world.cameras = []
    monkeypatch.setattr("edge.sources.cards.first_camera", lambda: None)
    with pytest.raises(CameraError, match="neither CSI"):
        open_source("auto")


def test_picamera2_keeps_its_chatter(world: _World) -> None:
    """Its steps are not told at INFO; a level that somebody set is left alone."""
    logger = logging.getLogger("picamera2")
    logger.setLevel(logging.NOTSET)
    PiCamera((48, 64)).close()
    assert logger.level == logging.WARNING
    logger.setLevel(logging.DEBUG)
    PiCamera((48, 64)).close()
    assert logger.level == logging.DEBUG
    logger.setLevel(logging.NOTSET)
