"""Webcams through OpenCV (V4L2)."""

import logging
import math
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.media.opencv_errors import quieten, to_bgr
from edge.records import Frame
from edge.sources.cameras.v4l2 import holders
from edge.sources.files.recording import plausible_fps
from edge.text import without_secrets

_log = logging.getLogger(__name__)

_VIDEO4LINUX_MAJOR: Final = 81


class Live:
    """Frames stamped on arrival, and an error when they stop."""

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self.fps = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        self._name = name
        self._capture = capture
        self._index = 0
        self._t_s = -math.inf

    @property
    def dropped(self) -> int:
        """None that OpenCV tells of."""
        return 0

    def read(self) -> Frame | None:
        """Wait for the next frame; see ``edge.protocols.FrameSource``."""
        image = picture_of(self._capture)
        if image is None:
            raise CameraError(
                f"{self._name}: gives no more frames (after {self._index}); "
                "unplugged, switched off, or taken by another program?"
            )
        if min(image.shape[:2]) == 1:
            raise CameraError(
                f"{self._name}: gives bytes in a format that OpenCV does not decode "
                f"({image.shape[1]}x{image.shape[0]}); choose another size or camera"
            )
        self._t_s = max(time.monotonic(), math.nextafter(self._t_s, math.inf))
        frame = Frame(image, self._index, self._t_s, datetime.now(UTC))
        self._index += 1
        return frame

    def close(self) -> None:
        """Release the device or the connection."""
        self._capture.release()


class CaptureMode(msgspec.Struct, frozen=True):
    """What a camera gives: height and width in pixels, frames per second, its pixel format."""

    size_hw: tuple[int, int]
    fps: float
    fourcc: str


class OpenCvCamera(Live):
    """A V4L2 camera. What it really gives is logged, for it may not be what was asked for.

    Attributes:
        mode: what was negotiated.

    Args:
        device: an index (``0`` is ``/dev/video0``) or a path, best one of ``/dev/v4l/by-id``.
        size_hw: wanted height and width in pixels.
        fps: wanted frames per second.

    Raises:
        CameraError: absent, not allowed, busy, or not a camera.
    """

    def __init__(
        self, device: int | str, size_hw: tuple[int, int] = (480, 640), fps: float = 30.0
    ) -> None:
        path = Path(f"/dev/video{device}") if isinstance(device, int) else Path(device)
        _check_device(path)
        # By the real path: OpenCV takes only names that look like a device.
        capture = open_capture(os.path.realpath(path), cv2.CAP_V4L2)
        if not capture.isOpened():
            held = " and ".join(map(str, holders(path))) or "another program"
            raise CameraError(
                f"{path}: cannot be opened as a camera; it is busy ({held} holds it) "
                "or gives no pictures (many cameras have a second node, for metadata); "
                f"{_present()}"
            )
        self.mode = negotiate(capture, size_hw, fps)
        report_mode(path, self.mode, size_hw, fps)
        super().__init__(str(path), capture)


def open_capture(target: str, backend: int, params: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open what OpenCV captures from, quietly; whether it is open, it tells itself.

    Raises:
        CameraError: OpenCV failed.
    """
    quieten()
    try:
        return cv2.VideoCapture(target, backend, list(params))
    except cv2.error as error:
        raise CameraError(f"{without_secrets(target)}: OpenCV failed ({error.err})") from error


def picture_of(capture: cv2.VideoCapture) -> NDArray[np.uint8] | None:
    """Return the next picture, or None when there is none; damaged packets are skipped by FFmpeg.

    ``CAP_PROP_CONVERT_RGB`` stays at its default, so cameras give BGR whatever they deliver.
    """
    try:
        there, image = capture.read()
    except cv2.error:
        return None
    if not there or image is None or not image.size:
        return None
    try:
        return to_bgr(image)
    except ValueError as error:
        raise CameraError(f"the camera gave something that is not a picture: {error}") from error


def _check_device(path: Path) -> None:
    """Tell an absent camera from a forbidden one, which OpenCV does not."""
    if not path.exists():
        raise CameraError(f"{path}: no such camera; {_present()}")
    if not path.is_char_device() or os.major(path.stat().st_rdev) != _VIDEO4LINUX_MAJOR:
        raise CameraError(f"{path}: not a camera device; {_present()}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(
            f"{path}: not allowed; add the user to its group with "
            "`sudo usermod -aG video $USER` and log in again"
        )


def _present() -> str:
    found = sorted(Path("/dev/v4l/by-id").glob("*")) or sorted(Path("/dev").glob("video*"))
    listing = ", ".join(map(str, found)) or "none"
    return f"present: {listing}; try `--source demo` without a camera"


def negotiate(capture: cv2.VideoCapture, size_hw: tuple[int, int], fps: float) -> CaptureMode:
    """Ask a driver for a format, a size and a rate, and return what it gives."""
    # MJPG first: raw YUYV fills USB 2 at 640x480 and 30 fps, and larger sizes get fewer frames.
    # YUYV next, which all others have: left alone, OpenCV 4 prefers BGR where a driver offers it,
    # and then hands out its bytes in one row instead of a picture.
    for name in ("MJPG", "YUYV"):
        wanted = cv2.VideoWriter.fourcc(*name)
        capture.set(cv2.CAP_PROP_FOURCC, wanted)
        if int(capture.get(cv2.CAP_PROP_FOURCC)) == wanted:
            break
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_hw[1])
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_hw[0])
    capture.set(cv2.CAP_PROP_FPS, fps)
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return CaptureMode(
        (height, int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))),
        capture.get(cv2.CAP_PROP_FPS),
        code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace"),
    )


def report_mode(path: Path, mode: CaptureMode, size_hw: tuple[int, int], fps: float) -> None:
    """Log what a camera gives, as a warning where it is less than was asked for."""
    as_asked = mode.size_hw == size_hw and mode.fps >= 0.9 * fps
    _log.log(
        logging.INFO if as_asked else logging.WARNING,
        "%s: %dx%d, %.3g fps, %s (asked for %dx%d, %.3g fps, MJPG)",
        path,
        mode.size_hw[1],
        mode.size_hw[0],
        mode.fps,
        mode.fourcc,
        size_hw[1],
        size_hw[0],
        fps,
    )
