"""CSI cameras of a Raspberry Pi through picamera2, with a timeout on every wait.

picamera2 waits for ever by default: for a request of a camera whose cable is loose, and for its
own ``stop`` behind that request (raspberrypi/picamera2 issues 1065 and 1264). So every job is
dispatched without waiting, and waited for here.
"""

import importlib
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, CameraStuckError
from edge.records import Frame

_log = logging.getLogger(__name__)

BUFFERS: Final = 3
"""One being filled, one queued, one being copied: 2.8 MB at 640x480. picamera2's six, and a raw
stream of the sensor's size, would be tens: of CMA memory, which is scarce on a 512 MB board."""

_FRAME_TIMEOUT_S: Final = 5.0
_STOP_TIMEOUT_S: Final = 5.0
_APT: Final = (
    "install it with `sudo apt install python3-picamera2`, and make the virtual environment with "
    "`python3 -m venv --system-site-packages`, since pip's picamera2 lacks libcamera"
)


class PiCamera:
    """A CSI camera. Pictures are BGR: what picamera2 calls RGB888 is B, G, R in memory.

    Args:
        size_hw: wanted height and width in pixels.
        fps: wanted frames per second.
        frame_timeout_s: how long to wait for a frame.
        stop_timeout_s: how long to wait for the camera to stop.

    Raises:
        CameraError: picamera2 is missing, there is no CSI camera, it is busy, or it refuses.
    """

    def __init__(
        self,
        size_hw: tuple[int, int] = (480, 640),
        fps: float = 30.0,
        frame_timeout_s: float = _FRAME_TIMEOUT_S,
        stop_timeout_s: float = _STOP_TIMEOUT_S,
    ) -> None:
        self._frame_timeout_s = frame_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._fps = fps
        self._index = 0
        self._t_s = -math.inf
        library = _library()
        number = _csi_number(library)
        if number is None:
            raise CameraError(
                "picamera: no CSI camera found; check its ribbon cable, and with "
                "`rpicam-hello --list-cameras` whether the system sees it"
            )
        self._camera: Any = _guarded("cannot be opened", lambda: library.Picamera2(number))
        try:
            _guarded("refuses", lambda: self._start(size_hw, fps))
        except CameraError:
            self.close()
            raise

    @property
    def fps(self) -> float | None:
        """Frames per second that were asked for."""
        return self._fps

    @property
    def dropped(self) -> int:
        """None that is known of."""
        return 0

    def read(self) -> Frame | None:
        """Wait for the next frame; None once closed.

        Raises:
            CameraError: none came in time, or picamera2 failed.
        """
        if self._camera is None:
            return None
        image = self._picture()
        self._t_s = max(time.monotonic(), math.nextafter(self._t_s, math.inf))
        frame = Frame(image, self._index, self._t_s, datetime.now(UTC))
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop and release the camera; harmless when repeated.

        Raises:
            CameraStuckError: it does not stop. It is left as it is: its own ``close`` would wait
                for ever.
        """
        camera, self._camera = self._camera, None
        if camera is None:
            return
        # Requests that never came are in the way of the stop.
        cancel = getattr(camera, "cancel_all_and_flush", None)
        if cancel is not None:
            cancel()
        if camera.started:
            stopped = _Answer()
            camera.dispatch_functions(
                [camera.stop_], wait=False, signal_function=stopped.put, immediate=True
            )
            if not stopped.arrives(self._stop_timeout_s):
                raise CameraStuckError(
                    f"picamera: does not stop within {self._stop_timeout_s:g} s; "
                    "edgeemo must be started again, and the camera's cable checked"
                )
        _guarded("cannot be closed", camera.close)

    def _start(self, size_hw: tuple[int, int], fps: float) -> None:
        camera, frame_us = self._camera, round(1e6 / fps)
        # No raw stream, and no request held back: the next frame is always a new one.
        wanted = camera.create_video_configuration(
            main={"format": "RGB888", "size": (size_hw[1], size_hw[0])},
            raw=None,
            buffer_count=BUFFERS,
            queue=False,
            display=None,
            encode=None,
            controls={"FrameDurationLimits": (frame_us, frame_us)},
        )
        camera.configure(wanted)
        stream = camera.camera_configuration()["main"]
        if stream["format"] != "RGB888":
            raise CameraError(f"picamera: gives {stream['format']}, expected RGB888")
        self._size = stream["size"]
        camera.start()
        _log.info(
            "picamera: %dx%d, RGB888 in rows of %d bytes, %d buffers (asked for %dx%d, %.3g fps)",
            *self._size,
            stream["stride"],
            BUFFERS,
            size_hw[1],
            size_hw[0],
            fps,
        )

    def _picture(self) -> NDArray[np.uint8]:
        answer = _Answer()
        camera = self._camera
        _guarded("failed", lambda: camera.capture_request(wait=False, signal_function=answer.put))
        if not answer.arrives(self._frame_timeout_s):
            raise CameraError(
                f"picamera: gave no frame for {self._frame_timeout_s:g} s; "
                "is its ribbon cable loose?"
            )
        request = _guarded("failed", answer.result)
        try:
            padded = _guarded("failed", lambda: request.make_array("main"))
        finally:
            request.release()
        width, height = self._size
        return np.ascontiguousarray(padded[:height, :width], np.uint8)  # a copy where padded


def has_csi_camera() -> bool:
    """Tell whether picamera2 is installed and sees a CSI camera."""
    try:
        return _csi_number(_library()) is not None
    except CameraError:
        return False


class _Answer:
    """The outcome of one job of picamera2; a request that comes too late is released at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._is_given_up = False
        self._job: Any = None

    def put(self, job: Any) -> None:
        """Take the finished job; picamera2's event loop calls this."""
        with self._lock:
            self._job = job
            self._came.set()
            is_late = self._is_given_up
        if is_late:
            _release(job)

    def arrives(self, timeout_s: float) -> bool:
        """Wait for the job; after False it is given up."""
        if self._came.wait(timeout_s):
            return True
        with self._lock:
            self._is_given_up = not self._came.is_set()
            return not self._is_given_up

    def result(self) -> Any:
        """Return what the job gave, or raise what it raised."""
        return self._job.get_result()


def _release(job: Any) -> None:
    try:
        request = job.get_result()
    except Exception:  # the job failed: there is nothing to release
        _log.debug("a late job of picamera2 failed", exc_info=True)
        return
    if hasattr(request, "release"):
        request.release()


def _library() -> Any:
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "*:ERROR")  # read when it is loaded
    logger = logging.getLogger("picamera2")
    if logger.level == logging.NOTSET:  # it tells of each step of its work
        logger.setLevel(logging.WARNING)
    try:
        return importlib.import_module("picamera2")
    except ImportError as error:
        raise CameraError(f"picamera: picamera2 is missing ({error}); {_APT}") from error
    except Exception as error:  # wheels of another numpy, a broken libcamera
        raise CameraError(f"picamera: picamera2 cannot be loaded ({error}); {_APT}") from error


def _csi_number(library: Any) -> int | None:
    """Return the first camera that is not a USB one, by picamera2's own order."""
    cameras = _guarded("cannot be listed", library.Picamera2.global_camera_info)
    return next((i for i, camera in enumerate(cameras) if "/usb" not in camera["Id"]), None)


def _guarded(what: str, action: Callable[[], Any]) -> Any:
    """Run a call into picamera2, which raises whatever it likes."""
    try:
        return action()
    except CameraError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise CameraError(
            f"picamera: {what} ({reason}); is another program using the camera?"
        ) from error
