"""CSI cameras of a Raspberry Pi through picamera2, in a process that can be killed.

picamera2 waits for ever by default: for a request of a camera whose cable is loose, and for its
own ``stop`` behind that request (raspberrypi/picamera2 issues 1065 and 1264), and while libcamera
hangs it holds the interpreter's lock. So it lives in a child process, see ``cameras.ribbon``.
"""

import itertools
import logging
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import numpy as np

from edge.errors import CameraError
from edge.records import Frame
from edge.sources.cameras.ribbon import BUFFERS, RibbonProcess
from edge.sources.files.upright import Turn

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 20.0
"""A Zero 2 W loads picamera2 from a slow card in a third of it."""
_FRAME_TIMEOUT_S: Final = 5.0
_STOP_TIMEOUT_S: Final = 5.0
_SLOWEST_FPS: Final = 1.0
"""What a camera is asked for at least: its exposure would be too slow to follow otherwise, and its
pictures too rare to be told from those of a lost one."""
_OLDEST_NS: Final = 10 * 10**9
"""A picture that claims to be older has a clock of its own."""

FieldOfView = Literal["full", "fast"]


class PiCameraView(msgspec.Struct, frozen=True):
    """How a ribbon camera looks at the scene.

    Attributes:
        field_of_view: ``full`` takes a sensor mode that sees all that the sensor sees; ``fast``
            the mode nearest in size to the pictures, mostly a part of the middle, at higher rates.
        turn: what is done to pictures that are upright by what libcamera knows of the mounting.
        focus_m: distance in metres that the lens is set to; None follows the scene. Of cameras
            whose lens can be moved.
    """

    field_of_view: FieldOfView = "full"
    turn: Turn = Turn()
    focus_m: float | None = None


class PiCamera:
    """A CSI camera. Pictures are BGR: what picamera2 calls RGB888 is B, G, R in memory.

    Args:
        size_hw: wanted height and width in pixels.
        fps: wanted frames per second; a camera gives one at least.
        view: how it looks at the scene.
        frame_timeout_s: how long to wait for a frame, beyond what one takes.
        stop_timeout_s: how long to wait for the camera to stop.
        begun: its process, begun before for the same picture; by default one is begun now.

    Raises:
        NoRibbonCameraError: picamera2 is missing, or there is no CSI camera.
        CameraError: it is busy, or it refuses.
    """

    def __init__(
        self,
        size_hw: tuple[int, int] = (480, 640),
        fps: float = 30.0,
        view: PiCameraView | None = None,
        frame_timeout_s: float = _FRAME_TIMEOUT_S,
        stop_timeout_s: float = _STOP_TIMEOUT_S,
        begun: RibbonProcess | None = None,
    ) -> None:
        view = view or PiCameraView()
        self._stop_timeout_s = stop_timeout_s
        self._index = 0
        self._dropped = 0
        self._t_s = -math.inf
        process = begun or RibbonProcess(_wanted(size_hw, fps, view))
        process.finish(OPEN_TIMEOUT_S)
        self._process: RibbonProcess | None = process
        opened = process.opened
        self._size_hw = opened.size[1], opened.size[0]
        self._turn = _rest_of_turn(view.turn, Turn(*opened.turn))
        self._fps = opened.fps
        self._frame_timeout_s = frame_timeout_s + 2 / opened.fps
        self._told_timeout_s = frame_timeout_s
        self.description = str(opened)

    @property
    def fps(self) -> float | None:
        """Frames per second."""
        return self._fps

    @property
    def dropped(self) -> int:
        """Frames of the sensor that were faulty, or came while none was asked for."""
        return self._dropped

    def read(self) -> Frame | None:
        """Wait for the next frame; None once closed.

        Raises:
            CameraError: none came in time, or picamera2 failed.
        """
        process = self._process
        if process is None:
            return None
        process.ask()
        picture = process.wait(self._frame_timeout_s)
        if picture is None:
            raise CameraError(
                f"picamera: gave no frame for {self._told_timeout_s:g} s; "
                "is its ribbon cable loose?"
            )
        image = np.empty((*self._size_hw, 3), np.uint8)
        process.copy_to(image)
        self._dropped += picture.missed
        age_s = exposure_age_ns(picture.exposed_ns) / 1e9
        self._t_s = max(time.monotonic() - age_s, math.nextafter(self._t_s, math.inf))
        taken_at = datetime.now(UTC) - timedelta(seconds=age_s)
        frame = Frame(self._turn.apply(image), self._index, self._t_s, taken_at)
        self._index += 1
        return frame

    def close(self) -> None:
        """Stop and release the camera; harmless when repeated.

        Raises:
            CameraStuckError: it does not stop; see there.
        """
        process, self._process = self._process, None
        if process is not None:
            process.close(self._stop_timeout_s)


class RibbonCameraOpener:
    """Opens the ribbon camera, as often as needed, and logs what it gives when that is news.

    What takes long can begin before: the camera's libraries load while models do.
    """

    def __init__(self, size_hw: tuple[int, int], fps: float, view: PiCameraView) -> None:
        self._size_hw, self._fps, self._view = size_hw, fps, view
        self._told = ""
        self._begun: RibbonProcess | None = None

    def begin(self) -> None:
        """Begin to open the camera; what is wrong with it is told when it is opened."""
        self._begun = RibbonProcess(_wanted(self._size_hw, self._fps, self._view))

    def close(self) -> None:
        """End what was begun, if nobody asked for it."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.abandon()

    def __call__(self) -> PiCamera:
        """Open the camera; raises as ``PiCamera`` does."""
        begun, self._begun = self._begun, None
        camera = PiCamera(self._size_hw, self._fps, self._view, begun=begun)
        if camera.description != self._told:
            self._told = camera.description
            height, width = self._size_hw
            asked = f"asked for {width}x{height} at {self._fps:.3g} fps"
            _log.info("picamera: %s (%s)", self._told, asked)
        return camera


def probe_ribbon(
    size_hw: tuple[int, int] = (480, 640), fps: float = 30.0, view: PiCameraView | None = None
) -> str:
    """Open the ribbon camera, say what it gives, and close it: no picture is taken.

    Raises:
        NoRibbonCameraError: picamera2 is missing, or there is no CSI camera.
        CameraError: it is busy, or it refuses.
    """
    wanted = _wanted(size_hw, fps, view or PiCameraView()) | {"probe": True}
    process = RibbonProcess(wanted)
    process.finish(OPEN_TIMEOUT_S)
    process.close(_STOP_TIMEOUT_S)
    return str(process.opened)


def _wanted(size_hw: tuple[int, int], fps: float, view: PiCameraView) -> dict[str, Any]:
    """Return what ``ribbon_process.py`` is to ask of the camera, which cannot transpose."""
    turn = Turn() if view.turn.is_transposed else view.turn
    height, width = size_hw[::-1] if view.turn.is_transposed else size_hw
    return {
        "size": [width, height],
        "fps": max(fps, _SLOWEST_FPS),
        "field_of_view": view.field_of_view,
        "hflip": turn.is_mirrored_x,
        "vflip": turn.is_mirrored_y,
        "focus_m": view.focus_m,
        "buffers": BUFFERS,
        "probe": False,
    }


def _rest_of_turn(wanted: Turn, done: Turn) -> Turn:
    """Return the turn that makes ``wanted`` of what the camera has turned already."""
    corners = np.arange(4, dtype=np.uint8).reshape(2, 2)
    turns = (Turn(*flags) for flags in itertools.product((False, True), repeat=3))
    return next(
        rest
        for rest in turns
        if np.array_equal(rest.apply(done.apply(corners)), wanted.apply(corners))
    )


def exposure_age_ns(exposed_ns: int) -> int:
    """Return how long ago a picture was exposed.

    libcamera's clock goes on while the system is suspended, by its documentation; V4L2's drivers,
    where its times come from, use the one that does not. They agree where no one sleeps.
    """
    for clock in (time.CLOCK_MONOTONIC, time.CLOCK_BOOTTIME):
        age_ns = time.clock_gettime_ns(clock) - exposed_ns
        if 0 <= age_ns < _OLDEST_NS:
            return age_ns
    return 0
