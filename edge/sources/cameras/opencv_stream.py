"""A network stream through OpenCV, decoded so that no picture is made of two.

OpenCV converts every picture as it did the first and does not tell when the stream's size or pixel
format changes; its packets do. So they are read undecoded. A JPEG is decoded by itself. Packets of
other codecs go through a pipe to a second capture, as Matroska, and where their parameters change
to a new one: each capture sees pictures of one kind.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.media.opencv_errors import decoded
from edge.records import Frame
from edge.sources.cameras.opencv import open_capture, picture_of
from edge.sources.files.recording import FALLBACK_FPS, ArrivalClock, plausible_fps
from edge.sources.files.survey import MOST_FAILURES, codec_of, parameters_in, pixel_aspect
from edge.sources.files.upright import square_size_wh
from edge.text import without_secrets

TIMEOUT_MS: Final = 10_000
_EXTRA_DATA: Final = 1
"""What OpenCV calls the index of the codec's own data, sent before the stream itself."""
_MATROSKA: Final = {
    "h264": b"V_MPEG4/ISO/AVC",
    "hevc": b"V_MPEGH/ISO/HEVC",
    "mpg1": b"V_MPEG1",
    "mpg2": b"V_MPEG2",
    "FMP4": b"V_MPEG4/ISO/ASP",
    "VP80": b"V_VP8",
    "VP90": b"V_VP9",
}
"""RFC 9559's names for the codecs whose packets are known."""


class OpenCvStream:
    """A network stream, for instance RTSP, through FFmpeg, with timeouts on every wait.

    Pictures have square pixels; one of another size than the one before starts a new clip.

    Raises:
        CameraError: it cannot be opened; the message never holds the address's password.
    """

    dropped = 0
    """None that OpenCV tells of."""

    def __init__(self, url: str) -> None:
        self._name = without_secrets(url)
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC]
        params = [value for key in timeouts for value in (key, TIMEOUT_MS)]
        self._packets = open_capture(url, cv2.CAP_FFMPEG, [*params, cv2.CAP_PROP_FORMAT, -1])
        if not self._packets.isOpened():
            raise CameraError(
                f"{self._name}: no video stream (waited up to {TIMEOUT_MS // 1000} s); "
                "check the address, user and password, and that the camera is on"
            )
        self.fps = plausible_fps(self._packets.get(cv2.CAP_PROP_FPS))
        self._aspect = pixel_aspect(self._packets)
        self._next_image = self._decoder(codec_of(self._packets))
        self._clock = ArrivalClock()

    def read(self) -> Frame | None:
        """Wait for the next frame; see ``edge.protocols.FrameSource``."""
        image = self._next_image()
        if image is None:
            raise CameraError(
                f"{self._name}: gives no more frames (after {self._clock.index}); "
                "unplugged, switched off, or taken by another program?"
            )
        stored = image.shape[1], image.shape[0]
        square = square_size_wh(stored, self._aspect)
        if square != stored:
            image = np.asarray(cv2.resize(image, square, interpolation=cv2.INTER_LINEAR), np.uint8)
        return self._clock.frame(image)

    def close(self) -> None:
        """Do nothing: the process that reads it ends, and with it what its threads are at."""

    def _decoder(self, codec: str) -> Callable[[], NDArray[np.uint8] | None]:
        if codec == "MJPG":
            return self._next_jpeg
        if codec not in _MATROSKA:
            raise CameraError(
                f"{self._name}: a stream of {codec!r}, of which OpenCV does not tell when its "
                "pictures change; expected H.264, H.265, MPEG, VP8, VP9 or JPEG: install the extra "
                "edgeemo[video]"
            )
        return _Decoder(self._packets, codec, self.fps or FALLBACK_FPS).next

    def _next_jpeg(self) -> NDArray[np.uint8] | None:
        for _ in range(MOST_FAILURES):
            if not self._packets.grab():
                return None
            if (image := decoded(_packet(self._packets))) is not None:
                return image
        return None


class _Decoder:
    """Decodes packets in captures of their own, one for each kind of picture.

    A thread reads packets and fills a pipe, for a capture holds some packets back before it gives
    its first picture.
    """

    def __init__(self, packets: cv2.VideoCapture, codec: str, fps: float) -> None:
        self._packets = packets
        self._codec = codec
        self._step_ms = 1000 / fps
        self._pipes: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._capture: cv2.VideoCapture | None = None
        self._reading: int | None = None
        threading.Thread(target=self._feed, name="packets", daemon=True).start()

    def next(self) -> NDArray[np.uint8] | None:
        """Return the next picture, or None when there is no more packet."""
        while True:
            if self._capture is None:
                self._reading = self._pipes.get()
                if self._reading is None:
                    self._pipes.put(None)
                    return None
                self._capture = open_capture(f"pipe:{self._reading}", cv2.CAP_FFMPEG)
            if (image := picture_of(self._capture)) is not None:
                return image
            self._capture.release()
            self._capture = None
            if self._reading is not None:
                os.close(self._reading)

    def _feed(self) -> None:
        known, pipe, count = b"", -1, 0
        try:
            while self._packets.grab():
                packet = _packet(self._packets)
                if not count:
                    packet = self._leading() + packet
                found = parameters_in(self._codec, packet)
                if pipe < 0 or (found and known and found != known):
                    if pipe >= 0:
                        os.close(pipe)
                    reading, pipe = os.pipe()
                    self._pipes.put(reading)
                    _write(pipe, self._head())
                known = found or known
                _write(pipe, _cluster(round(count * self._step_ms), packet))
                count += 1
        except OSError:  # the other end was closed: nothing of it can be decoded any more
            pass
        finally:
            if pipe >= 0:
                with contextlib.suppress(OSError):
                    os.close(pipe)
            self._pipes.put(None)

    def _leading(self) -> bytes:
        """Return the parameters that were sent before the stream, where it may not repeat them."""
        there, data = self._packets.retrieve(flag=_EXTRA_DATA)
        leading = data.tobytes() if there and data is not None else b""
        return leading if leading.startswith(b"\0\0") else b""

    def _head(self) -> bytes:
        width, height = (
            round(self._packets.get(key))
            for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        video = _number("b0", max(width, 1)) + _number("ba", max(height, 1))
        track = b"".join(
            (
                *(_number(name, 1) for name in ("d7", "73c5", "83")),
                # With a rate, FFmpeg does not spend seconds on finding one.
                _number("23e383", round(self._step_ms * 1e6)),
                _element("86", _MATROSKA[self._codec]),
                _element("e0", video),
            )
        )
        segment = bytes.fromhex("18538067") + b"\x01" + b"\xff" * 7  # of unknown length
        kind = _element("1a45dfa3", _element("4282", b"matroska"))
        return kind + segment + _element("1654ae6b", _element("ae", track))


def _packet(packets: cv2.VideoCapture) -> bytes:
    """Return the packet that was grabbed."""
    there, data = packets.retrieve()
    return bytes(data.tobytes()) if there and data is not None else b""


def _element(name: str, content: bytes) -> bytes:
    """Return an element of Matroska (RFC 8794): name, length in eight bytes, content."""
    return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def _cluster(time_ms: int, packet: bytes) -> bytes:
    """Return a cluster of one packet."""
    return _element("1f43b675", _number("e7", time_ms) + _element("a3", b"\x81\0\0\x80" + packet))


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
