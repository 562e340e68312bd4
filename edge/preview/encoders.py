"""What turns pictures with times into a film: FFmpeg through PyAV, or OpenCV's writer."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SinkError
from edge.media.opencv_errors import quieten

Picture = NDArray[np.uint8]

GRID_FPS: Final = 25.0
"""Pictures per second of a film that has one rate, where its frames tell none."""
_FASTEST_FPS: Final = 120.0
_CLOCK: Final = Fraction(1, 90_000)

_OPENCV: Final = {
    ".mp4": (("avc1", "H.264"), ("vp09", "VP9"), ("mp4v", "MPEG-4, which browsers do not play")),
    ".webm": (("VP80", "VP8"), ("VP90", "VP9")),
    ".avi": (("MJPG", "Motion JPEG, which browsers do not play"),),
}
"""By suffix the codecs of OpenCV's builds, the first that is there; what browsers play first."""
_TOO_SLOW: Final = frozenset({"vp09"})
"""OpenCV sets no speed, and a picture of 640x480 takes 80 ms and more. With a live source each
picture is repeated for as long as the one before it took: that would grow without end."""
SUFFIXES: Final = tuple(_OPENCV)
_AV: Final = {
    ".mp4": ("libx264", "H.264", {"preset": "superfast", "tune": "zerolatency", "crf": "23"}),
    ".webm": (
        "libvpx-vp9",
        "VP9",
        {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "22", "b": "0"},
    ),
}


class Encoder(Protocol):
    """Writes one film.

    Attributes:
        codec: what it writes, in words.
        written: frames that the file must have.
    """

    codec: str
    written: int

    def add(self, picture: Picture, start_s: float) -> None:
        """Append a picture that is seen from ``start_s`` on; times rise.

        Raises:
            SinkError: it cannot be written.
        """

    def finish(self, end_s: float) -> None:
        """End the film; its last picture is seen until ``end_s``.

        Raises:
            SinkError: it cannot be written.
        """


def open_encoder(
    path: Path, name: str, size_wh: tuple[int, int], fps: float | None, *, is_live: bool = False
) -> Encoder:
    """Return the best encoder that there is for a path's suffix.

    Args:
        path: what the user called the film; one of ``SUFFIXES``.
        name: where it is to be made, as native code can open it.
        size_wh: width and height, both even.
        fps: the rate of its frames, where they have one.
        is_live: frames do not wait for the encoder.

    Raises:
        SinkError: none of them can write such a film.
    """
    wanted = _AV.get(path.suffix.lower())
    if wanted is not None:
        try:
            import av
        except ImportError:
            pass
        else:
            if wanted[0] in av.codecs_available:
                return _AvEncoder(path, name, size_wh)
    return _OpenCvEncoder(
        path, name, size_wh, fps, passed_over=_TOO_SLOW if is_live else frozenset()
    )


class _AvEncoder:
    """Frames at their own times: the rate varies as the source's did."""

    def __init__(self, path: Path, name: str, size_wh: tuple[int, int]) -> None:
        import av

        av.logging.set_level(None)
        self._library: Any = av
        self._path = path
        self._pending: Any = None
        self._last_pts = -1
        self.written = 0
        library, self.codec, options = _AV[path.suffix.lower()]
        with self._guarded():
            self._container: Any = av.open(
                name,
                "w",
                format=path.suffix.lower()[1:],
                # The index goes first: a browser plays it while it loads.
                options={"movflags": "+faststart"} if path.suffix.lower() == ".mp4" else {},
            )
            stream = self._container.add_stream(library, rate=30, options=options)
            stream.width, stream.height = size_wh
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = _CLOCK
            self._stream: Any = stream

    def add(self, picture: Picture, start_s: float) -> None:
        self._last_pts = max(round(start_s / _CLOCK), self._last_pts + 1)
        with self._guarded():
            frame = self._library.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = self._last_pts, _CLOCK
            self._take(self._stream.encode(frame))
        self.written += 1

    def finish(self, end_s: float) -> None:
        with self._guarded():
            self._take(self._stream.encode())
            self._send(max(round(end_s / _CLOCK), self._last_pts + 1))
            self._container.close()

    def _take(self, packets: list[Any]) -> None:
        """Hold each packet back until it is known how long it lasts."""
        for packet in packets:
            self._send(packet.pts)
            self._pending = packet

    def _send(self, until: int) -> None:
        packet, self._pending = self._pending, None
        if packet is not None:
            packet.duration = until - packet.pts
            self._container.mux(packet)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except self._library.FFmpegError as error:
            raise SinkError(
                f"{self._path}: cannot be written ({error.strerror}); is the disk full?"
            ) from error


class _OpenCvEncoder:
    """Frames on a grid of one rate: a picture is repeated, or left out, to keep the time."""

    def __init__(
        self, path: Path, name: str, size_wh: tuple[int, int], fps: float | None,
        *, passed_over: frozenset[str],
    ) -> None:  # fmt: skip
        quieten()
        self._fps = min(fps or GRID_FPS, _FASTEST_FPS)
        self._pending: Picture | None = None
        self._slot = 0
        self.written = 0
        for code, self.codec in _OPENCV[path.suffix.lower()]:
            if code in passed_over:
                continue
            fourcc = cv2.VideoWriter.fourcc(*code)
            self._writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, fourcc, self._fps, size_wh)
            if self._writer.isOpened():
                return
        raise SinkError(
            f"{path}: OpenCV cannot write {size_wh[0]}x{size_wh[1]} video here; "
            f"try another of {', '.join(SUFFIXES)}, or install the extra: edgeemo[video]"
        )

    def add(self, picture: Picture, start_s: float) -> None:
        self._fill(round(start_s * self._fps))
        self._pending = picture

    def finish(self, end_s: float) -> None:
        self._fill(max(round(end_s * self._fps), self._slot + 1))
        self._writer.release()

    def _fill(self, until: int) -> None:
        """Show the pending picture up to a slot; a newer one in its own slot takes its place."""
        if self._pending is not None:
            for _ in range(until - self._slot):
                self._writer.write(self._pending)
            self.written += until - self._slot
        self._slot = until
