"""A picamera2 that behaves as the real one does, its traps included, for machines without it.

Follows picamera2 0.3.38 (``picamera2.py``: ``__init__``, ``create_video_configuration``,
``configure``, ``process_requests``, ``stop``, ``close``) and the camera that the project's own
pipeline handler plays under the real one, ``tests/hosts/play_csi.cpp``. The same suite runs on
both. The folder $PLAY_CSI is its remote control; a file there acts at once:

    frames   three 32-bit numbers (width, height, count), then pictures of B, G, R; else a red scene
    loose    no frame is completed any more: the cable is out
    error    frames are completed as faulty
    stuck    the stop does not come back, and holds the interpreter's lock
    absent   at the start: there is no camera

These have no counterpart there:

    usb      at the start: there is a webcam, too, or only it
    focus    at the start: its lens can be moved, as a Camera Module 3's
    mounted  at the start: its rotation in degrees, as a board's description has it
    format   what it makes of every wanted format
    raises   at the start: the import raises what stands there
    hangs    the opening does not come back
    crash    the next picture ends the process as a fault of native code does
    asked    written by it: what was configured, as JSON
"""

# ruff: noqa: ARG002, D101, D102 - it is picamera2's interface
import contextlib
import ctypes
import errno
import fcntl
import json
import logging
import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import libcamera
import numpy as np

with contextlib.suppress(ImportError):
    import simplejpeg  # noqa: F401 - where it was compiled for another NumPy, this raises

_PLAY = Path(os.environ["PLAY_CSI"])
_LOG = logging.getLogger("picamera2")
_SENSOR = (3280, 2464)
_MODES = {  # size: what it reads of the sensor, its shortest frame in us
    (640, 480): ((1000, 752, 1280, 960), 4_839),
    (1640, 1232): ((0, 0, 3280, 2464), 23_893),
    (1920, 1080): ((680, 692, 1920, 1080), 21_092),
    (3280, 2464): ((0, 0, 3280, 2464), 47_183),
}
_LONGEST_US = 11_767_556
_RED_BGR = (10, 20, 250)


def _is_there(name: str) -> bool:
    return (_PLAY / name).exists()


def _said(name: str, usual: str) -> str:
    return (_PLAY / name).read_text("ascii").strip() if _is_there(name) else usual


if _is_there("raises"):
    raise ValueError(_said("raises", ""))


class SensorFormat:
    def __init__(self, name: str) -> None:
        self.bit_depth = 10 if "10" in name else 8


class MappedArray:
    """A buffer on loan, in rows that are padded."""

    def __init__(self, request, stream: str, reshape: bool = True, write: bool = True) -> None:
        self._request, self._stream = request, stream

    def __enter__(self):
        if self._request.is_released:
            raise RuntimeError("failed to find buffer")
        stream = self._request.config[self._stream]
        width, height = stream["size"]
        self.array = self._request.rows[:, : width * 3].reshape(height, width, 3)
        return self

    def __exit__(self, *_):
        del self.array


class _Request:
    def __init__(self, camera: "Picamera2", number: int, rows: np.ndarray, status) -> None:
        self._camera, self.rows = camera, rows
        self.config, self.is_released = camera.camera_config, False
        exposed_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        about = SimpleNamespace(status=status, sequence=number, timestamp=exposed_ns)
        key = SimpleNamespace(name="SensorTimestamp")
        self.request = SimpleNamespace(
            buffers={"main": SimpleNamespace(metadata=about)},
            metadata=_Items([(key, exposed_ns)]),
        )

    def release(self) -> None:
        self.is_released = True
        self._camera.give_back()


class _Items:
    """libcamera's control list: its keys are objects with a name."""

    def __init__(self, pairs) -> None:
        self._pairs = pairs

    def items(self):
        return iter(self._pairs)


class Picamera2:
    @staticmethod
    def global_camera_info() -> list:
        csi = {"Model": "imx219", "Location": 2, "Id": "/base/soc/i2c0mux/i2c@1/imx219@10"}
        usb = {"Model": "HD Webcam", "Id": "/base/scb/pcie@7d500000/usb@0,0-1.3:1.0-046d:0825"}
        cameras = [] if _is_there("absent") else [csi]
        return [usb] * _is_there("usb") + cameras

    def __init__(self, camera_num: int = 0) -> None:
        while _is_there("hangs"):
            time.sleep(0.01)
        if "/usb" in self.global_camera_info()[camera_num]["Id"]:
            raise RuntimeError("the wrong camera was opened")
        self._lock_file = os.open(_PLAY / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _LOG.error("Camera __init__ sequence did not complete.")
            raise RuntimeError("Camera __init__ sequence did not complete.") from RuntimeError(
                f"Failed to acquire camera: {os.strerror(errno.EBUSY)}"
            )
        self.notifyme_r, self._notifyme_w = os.pipe2(os.O_NONBLOCK)
        self.notifymeread = os.fdopen(self.notifyme_r, "rb")
        self.camera_properties = {
            "Model": "imx219",
            "Rotation": int(_said("mounted", "180")),
            "PixelArraySize": _SENSOR,
            "ColorFilterArrangement": 0,
        }
        self.camera = SimpleNamespace(generate_configuration=_raw_formats)
        self.camera_config: dict = {}
        self._requests: list[_Request] = []
        self._requestslock = threading.Lock()
        self._on_loan = 0
        self.started = False
        self._mode = _SENSOR
        self._controls: dict = {}

    @property
    def camera_controls(self) -> dict:
        crop, least_us = _MODES[self._mode]
        known = {
            "FrameDurationLimits": (least_us, _LONGEST_US, 33_333),
            "ScalerCrop": ((0, 0, 64, 64), crop, crop),
        }
        if _is_there("focus"):
            known |= {"AfMode": (0, 2, 0), "LensPosition": (0.0, 32.0, 1.0)}
        return known

    def create_video_configuration(
        self, main=(), lores=None, raw=(), transform=None, colour_space=None, buffer_count=6,
        controls=None, display="main", encode="main", queue=True, sensor=None, use_case="video",
    ) -> dict:  # fmt: skip
        if bad := set(main) - {"format", "size", "stride", "preserve_ar"}:
            raise ValueError(f"Bad key {bad}")
        width, height = main["size"]
        return {
            "main": {**main, "size": (width - width % 2, height - height % 2)},  # align_stream
            "raw": raw, "transform": transform or libcamera.Transform(), "display": display,
            "buffer_count": buffer_count, "queue": queue, "encode": encode, "sensor": sensor,
        }  # fmt: skip

    def configure(self, config: dict) -> None:
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        main = dict(config["main"])
        main["format"] = _said("format", main["format"])
        main["stride"] = -(-main["size"][0] * 3 // 64) * 64  # the ISP wants rows of 64 bytes
        self._mode = (config["sensor"] or {}).get("output_size") or _nearest(main["size"])
        sensor = {"output_size": self._mode, "bit_depth": 10}
        transform = config["transform"]
        if (quarters := (self.camera_properties["Rotation"] // 90) % 4) % 2:
            # libcamera cannot transpose: the picture stays as it is mounted, and it says how.
            transform = libcamera.Transform(quarters == 1, quarters == 3, True)
        self.camera_config = {**config, "main": main, "sensor": sensor, "transform": transform}

    def camera_configuration(self) -> dict:
        return self.camera_config

    def set_controls(self, controls: dict) -> None:
        if unknown := set(controls) - set(self.camera_controls):
            raise RuntimeError(f"Control {unknown} is not advertised by libcamera")
        self._controls = controls

    def start(self, config=None, show_preview=False) -> None:
        if show_preview is not None:
            raise RuntimeError("an event loop in a thread was asked for")
        told = {
            key: self.camera_config[key]
            for key in ("main", "raw", "queue", "buffer_count", "sensor")
        }
        (_PLAY / "asked").write_text(json.dumps(told | {"controls": self._controls}), "ascii")
        self.started = True
        self._scene = _scene()
        self._thread = threading.Thread(target=self._expose, daemon=True)
        self._thread.start()

    def process_requests(self, display) -> None:
        with self._requestslock:
            new, self._requests = self._requests, []
        good = [r for r in new if _status(r) is libcamera.FrameMetadata.Status.Success]
        if good and self.camera_config["display"] is not None:
            display.render_request(good[-1])
        for request in new:
            request.release()

    def stop(self) -> None:
        if not self.started:
            return
        _hold_while(_PLAY / "stuck")
        self.started = False
        self._thread.join()

    def close(self) -> None:
        self.stop()
        os.close(self._lock_file)
        self.notifymeread.close()
        os.close(self._notifyme_w)

    def give_back(self) -> None:
        with self._requestslock:
            self._on_loan -= 1

    def _expose(self) -> None:
        """Be the sensor: a frame each period, while there is a free buffer and a cable."""
        period_s = self._controls["FrameDurationLimits"][0] / 1e6
        number = 0
        while self.started:
            time.sleep(period_s)
            if _is_there("loose"):
                continue
            if _is_there("crash"):
                ctypes.string_at(0)
            status = libcamera.FrameMetadata.Status
            is_bad = _is_there("error")
            with self._requestslock:
                if self._on_loan < self.camera_config["buffer_count"]:
                    self._on_loan += 1
                    rows = self._rows(number)
                    self._requests.append(
                        _Request(self, number, rows, status.Error if is_bad else status.Success)
                    )
            number += 1
            os.write(self._notifyme_w, b"\0")

    def _rows(self, number: int) -> np.ndarray:
        main, transform = self.camera_config["main"], self.camera_config["transform"]
        width, height = main["size"]
        if transform.transpose:
            pixels = self._scene(number, (width, height)).swapaxes(0, 1)
        else:
            pixels = self._scene(number, (height, width))
        pixels = pixels[:: -1 if transform.vflip else 1, :: -1 if transform.hflip else 1]
        rows = np.full((height, main["stride"]), 0xEE, np.uint8)  # padding holds rubbish
        rows[:, : width * 3] = pixels.reshape(height, -1)
        return rows


def _status(request: _Request):
    return next(iter(request.request.buffers.values())).metadata.status


def _nearest(size) -> tuple[int, int]:
    return min(_MODES, key=lambda mode: abs(mode[0] - size[0]) + abs(mode[1] - size[1]))


def _raw_formats(_roles):
    sizes = [SimpleNamespace(width=w, height=h) for w, h in _MODES]
    formats = SimpleNamespace(
        pixel_formats=["SRGGB10_CSI2P", "SRGGB8"], sizes=lambda _format: sizes
    )
    return SimpleNamespace(at=lambda _index: SimpleNamespace(formats=formats))


def _scene():
    """Return what the camera sees, by number and size: pictures of the file, or noise on red."""
    if not _is_there("frames"):
        return _red
    with (_PLAY / "frames").open("rb") as file:
        film = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    width, height, count = struct.unpack("<III", film[:12])
    pictures = np.frombuffer(film, np.uint8, offset=12).reshape(count, height, width, 3)

    def filmed(number: int, size_hw) -> np.ndarray:
        rows = np.arange(size_hw[0]) * height // size_hw[0]
        columns = np.arange(size_hw[1]) * width // size_hw[1]
        return pictures[number % count][rows][:, columns]

    return filmed


def _red(number: int, size_hw) -> np.ndarray:
    pixels = np.empty((*size_hw, 3), np.uint8)
    pixels[:] = _RED_BGR
    pixels[..., 1] += np.random.default_rng(number).integers(0, 8, size_hw, np.uint8)
    return pixels


def _hold_while(path: Path) -> None:
    """Wait while a file is there, and hold the interpreter's lock, as libcamera's stop does."""
    library, name = ctypes.PyDLL(None), os.fsencode(path)  # PyDLL: calls that keep the lock
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(1e6)
    while library.access(name, 0) == 0:
        library.usleep(10_000)
    sys.setswitchinterval(usual_s)
