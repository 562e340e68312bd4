"""The ribbon camera's own process: picamera2, in the Python that its packages were made for.

libcamera's Python module never gives up the interpreter's lock: a stop that hangs would freeze
every thread of the process that it hangs in. So it runs here, where it can be killed. Started by
``edge.sources.cameras.ribbon``, as a file, for this may be another Python than edgeemo's: the
system's, with NumPy 1.24 or newer and without anything of edgeemo.

    python3 -s -P ribbon_process.py SOCKET MEMORY

``SOCKET`` is a SOCK_SEQPACKET. Its first packet says what is wanted, then each ``next`` asks for
a picture and ``stop`` for the end. What comes back is described where it is read. The picture
itself, B, G, R without padding, lies at the beginning of ``MEMORY``, a memfd, until the next
``next``. When the other end of the standard input closes, the kernel ends this process.
"""

import fcntl
import json
import logging
import mmap
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

_MOST_BYTES: Final = 65_536
_LONGEST_TEXT: Final = 1_000
_ALL_OF_IT: Final = 0.98
"""Of the sensor's area: modes leave out a few rows at the edges."""
_NEARLY: Final = 0.99
"""Of a rate: 29.97 is 30."""
_MANUAL_FOCUS: Final = 0
_CONTINUOUS_FOCUS: Final = 2
"""libcamera's AfMode."""

Sizes = tuple[int, int]


class _RefusedError(Exception):
    """The camera cannot be had: a kind, which ``ribbon.py`` knows, and the reason."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def main() -> None:
    """Serve one camera until the other side has had enough."""
    _end_with_parent()
    line = socket.socket(fileno=int(sys.argv[1]))
    logging.getLogger().addHandler(_Messages(line))
    logger = logging.getLogger("picamera2")
    if logger.level == logging.NOTSET:  # it reports each step of its work
        logger.setLevel(logging.WARNING)
    try:
        wanted = json.loads(line.recv(_MOST_BYTES))
        camera = _Camera(wanted)
        _tell(line, "opened", **camera.description)
        if not wanted["probe"]:
            camera.start(line, int(sys.argv[2]))
        camera.serve(line)
        camera.close()
    except _RefusedError as error:
        _tell(line, "refused", kind=error.kind, reason=str(error)[:_LONGEST_TEXT])
    except Exception as error:
        _tell(line, "refused", kind="failed", reason=_reason(error)[:_LONGEST_TEXT])
    os._exit(0)  # native threads and their destructors have nothing left to do


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent is gone, whatever it does then.

    By a signal: a thread would wait for the interpreter's lock.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to a whole service; the parent ends us
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # it has been gone for a while
        os._exit(1)


def _tell(line: socket.socket, what: str, **fields: Any) -> None:
    line.send(json.dumps({"type": what, **fields}).encode())


class _Messages(logging.Handler):
    """Hands on what picamera2 logs; a message that nobody has time for is lost."""

    def __init__(self, line: socket.socket) -> None:
        super().__init__()
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        text = json.dumps(
            {
                "type": "logged",
                "level": record.levelno,
                "text": record.getMessage()[:_LONGEST_TEXT],
            }
        )
        try:
            self._line.send(text.encode(), socket.MSG_DONTWAIT)
        except OSError:
            return


class _Camera:
    """The first ribbon camera that picamera2 sees, configured as wanted."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        library = _library()
        self._wanted = wanted
        self._picamera2 = library
        number = _number(library)
        try:
            self._camera: Any = library.Picamera2(number)
        except Exception as error:
            raise _RefusedError(*_why_not(error)) from error
        try:
            self._configure()
        except Exception as error:
            reason = _reason(error)
            self._camera.close()
            raise _RefusedError("refuses", reason) from error

    @property
    def description(self) -> dict[str, Any]:
        """What was agreed on."""
        camera = self._camera
        stream = camera.camera_configuration()["main"]
        sensor = camera.camera_configuration().get("sensor") or {}
        limits = camera.camera_controls.get("ScalerCrop")
        transform = camera.camera_configuration().get("transform")
        return {
            "model": str(camera.camera_properties.get("Model", "unknown")),
            "size": list(stream["size"]),
            "format": stream["format"],
            "stride": stream["stride"],
            "fps": 1e6 / self._frame_us(),
            "mode": sensor.get("output_size"),
            "mode_fps": self._most_fps(),
            "seen": limits[2][2:] if limits else None,
            "pixels": camera.camera_properties.get("PixelArraySize"),
            "turn": [getattr(transform, name) for name in ("transpose", "hflip", "vflip")],
            "has_focus": "AfMode" in camera.camera_controls,
        }

    def start(self, line: socket.socket, memory: int) -> None:
        """Let pictures come."""
        width, height = self._camera.camera_configuration()["main"]["size"]
        os.ftruncate(memory, width * height * 3)
        place = mmap.mmap(memory, width * height * 3)
        picture = np.frombuffer(place, np.uint8).reshape(height, width, 3)
        self._view = _View(self._picamera2.MappedArray, picture, line)
        self._camera.start(show_preview=None)  # without a thread for picamera2's event loop

    def serve(self, line: socket.socket) -> None:
        """Give a picture for each ``next``, until ``stop`` or the end of the line."""
        camera = self._camera
        news = camera.notifyme_r
        while True:
            ready = select.select([line, news], [], [])[0]
            if line in ready:
                word = line.recv(_MOST_BYTES)
                if word != b"next":
                    return
                self._view.is_wanted = True
            if news in ready:
                camera.notifymeread.read()
                camera.process_requests(self._view)

    def close(self) -> None:
        """Stop and release it; that may take for ever."""
        self._camera.stop()
        self._camera.close()

    def _configure(self) -> None:
        wanted = self._wanted
        if wanted["field_of_view"] == "fast":
            self._try(None)
        else:
            self._see_all()
        stream = self._camera.camera_configuration()["main"]
        if stream["format"] != "RGB888":  # little-endian: B, G, R in memory
            raise RuntimeError(f"it gives {stream['format']}, expected RGB888")
        self._camera.set_controls(self._controls())

    def _see_all(self) -> None:
        """Use the smallest sensor mode that sees all that the sensor sees, at the wanted rate."""
        best: tuple[tuple[bool, float, float], Any] | None = None
        last = None
        for mode in self._modes():
            self._try(mode)
            last = mode
            share, fps = self._share_seen(), self._most_fps() or 0.0
            is_all, is_fast = share >= _ALL_OF_IT, fps >= self._wanted["fps"] * _NEARLY
            if is_all and is_fast:
                return
            rank = (is_all, share if not is_all else 1.0, fps)
            if best is None or rank > best[0]:
                best = rank, mode
        if best is None or best[1] != last:
            self._try(best[1] if best else None)

    def _modes(self) -> Iterator[dict[str, Any]]:
        """Yield the sensor's modes that have enough pixels, small ones first."""
        libcamera = sys.modules["libcamera"]
        roles = [libcamera.StreamRole.Raw]
        if "ColorFilterArrangement" not in self._camera.camera_properties:
            return  # no Raspberry Pi's: its sensor is not ours to set
        known = self._camera.camera.generate_configuration(roles).at(0).formats
        depth_of = self._picamera2.SensorFormat
        modes = {
            (size.width, size.height, depth_of(str(pixel)).bit_depth)
            for pixel in known.pixel_formats
            for size in known.sizes(pixel)
        }
        width, height = self._wanted["size"]
        enough = {m for m in modes if m[0] >= width and m[1] >= height} or {max(modes)}
        for mode in sorted(enough, key=lambda m: (m[0] * m[1], -m[2])):
            yield {"output_size": mode[:2], "bit_depth": mode[2]}

    def _try(self, sensor: dict[str, Any] | None) -> None:
        """Configure the camera: no raw stream, no picture held back, three buffers."""
        camera, wanted = self._camera, self._wanted
        more = {} if sensor is None else {"sensor": sensor}
        configuration = camera.create_video_configuration(
            main={"format": "RGB888", "size": tuple(wanted["size"])},
            raw=None,
            transform=sys.modules["libcamera"].Transform(
                hflip=wanted["hflip"], vflip=wanted["vflip"]
            ),
            buffer_count=wanted["buffers"],
            queue=False,
            display="main",
            encode=None,
            **more,
        )
        camera.configure(configuration)

    def _controls(self) -> dict[str, Any]:
        frame_us = self._frame_us()
        controls: dict[str, Any] = {}
        if "FrameDurationLimits" in self._camera.camera_controls:
            controls["FrameDurationLimits"] = (frame_us, frame_us)
        if "AfMode" in self._camera.camera_controls:
            metres = self._wanted["focus_m"]
            controls["AfMode"] = _CONTINUOUS_FOCUS if metres is None else _MANUAL_FOCUS
            if metres is not None:
                controls["LensPosition"] = 1.0 / metres
        return controls

    def _frame_us(self) -> int:
        """Return how long a frame takes: as wanted, within what the mode can do."""
        least, most = self._frame_limits()
        return min(max(round(1e6 / float(self._wanted["fps"])), least), most)

    def _frame_limits(self) -> Sizes:
        least, most, *_ = self._camera.camera_controls.get("FrameDurationLimits", (1, 10**9))
        return int(least), int(most) if most else 10**9

    def _most_fps(self) -> float | None:
        least, _ = self._frame_limits()
        return 1e6 / least if least > 1 else None

    def _share_seen(self) -> float:
        """Return what share of the sensor's area the present mode reads."""
        limits = self._camera.camera_controls.get("ScalerCrop")
        pixels = self._camera.camera_properties.get("PixelArraySize")
        if not limits or not pixels:
            return 1.0
        _, _, width, height = limits[1]
        return min(1.0, float(width * height) / float(pixels[0] * pixels[1]))


class _View:
    """Sees each picture before its buffer goes back; picamera2 takes it for a preview."""

    def __init__(self, mapped: Any, picture: Any, line: socket.socket) -> None:
        self._mapped = mapped
        self._picture = picture
        self._line = line
        self._sequence: int | None = None
        self.is_wanted = False

    def render_request(self, request: Any) -> None:
        """Hand a picture on, if one is waited for and it is sound."""
        about = next(iter(request.request.buffers.values())).metadata
        if not self.is_wanted or str(about.status).rpartition(".")[2] != "Success":
            return
        height, width, _ = self._picture.shape
        with self._mapped(request, "main", write=False) as mapped:
            self._picture[:] = mapped.array[:height, :width]
        metadata = request.request.metadata.items()
        exposed_ns = next((v for k, v in metadata if k.name == "SensorTimestamp"), about.timestamp)
        before, self._sequence = self._sequence, int(about.sequence)
        missed = 0 if before is None else max(0, self._sequence - before - 1)
        self.is_wanted = False
        _tell(self._line, "picture", exposed_ns=int(exposed_ns), missed=missed)


def _library() -> Any:
    try:
        import libcamera  # noqa: F401 - picamera2's own import of it would be told less clearly
        import picamera2
    except ImportError as error:
        raise _RefusedError("missing", _reason(error)) from error
    except Exception as error:  # wheels of another NumPy, a broken libcamera
        raise _RefusedError("broken", _reason(error)) from error
    return picamera2


def _number(library: Any) -> int:
    """Return the first camera that is not a USB one, by picamera2's own order."""
    try:
        cameras = library.Picamera2.global_camera_info()
    except Exception as error:
        raise _RefusedError("failed", _reason(error)) from error
    for number, camera in enumerate(cameras):
        if "/usb" not in camera["Id"]:
            return number
    raise _RefusedError("absent", "")


def _why_not(error: Exception) -> tuple[str, str]:
    reason = _reason(error)
    return ("busy" if "busy" in reason.lower() else "refuses"), reason


def _reason(error: BaseException) -> str:
    """Return what an error says, and what caused it: picamera2 hides the truth in there."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = (str(cause) or type(cause).__name__).strip().rstrip(".")
        if text not in told:
            told.append(text)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return ": ".join(told)


if __name__ == "__main__":
    main()
