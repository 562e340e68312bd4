"""FFmpeg through PyAV: pictures of a film or stream, with all that FFmpeg tells of them.

OpenCV's capture hides a film's display matrix in part, changes of size and of pixel format wholly,
and what it could not decode; PyAV tells. It is an extra, ``edgeemo[video]``.
"""

import os
from collections.abc import Generator, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.sources.files.recording import plausible_fps
from edge.sources.files.upright import Turn, square_size_wh

_MOST_PIXELS: Final = 64_000_000
"""A header may announce any size; decoding takes memory for it."""
_MOST_FAILURES: Final = 200
"""So many failures in a row, and nothing more is expected of a film."""
_RESUMABLE: Final = {
    ".ts": "mpegts",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".vob": "mpeg",
}
"""Forms that can be read from anywhere on, by the suffixes that they have."""
_DV_HEADER: Final = b"\x1f\x07\x00"
"""IEC 61834-2: how the header block begins that begins each frame."""
_NO_FILM: Final = frozenset({"tty", "cdg", "bin", "xbin", "adf", "idf"})
"""FFmpeg draws texts, and plays almost anything as karaoke; nobody means that."""


class NoFilmError(Exception):
    """There is nothing to decode; the message says why."""


class Shown(msgspec.Struct, frozen=True, eq=False):
    """A decoded picture, upright and with square pixels, and its time where it has one."""

    image: NDArray[np.uint8]
    position_s: float | None


class AvDecoder:
    """Decodes the film in a file, or behind an address.

    Args:
        target: what FFmpeg opens.
        options: of FFmpeg, for opening it.
        timeout_s: for opening and for each packet; None waits for ever.
        is_live: as few frames as possible are held back.

    Attributes:
        fps: nominal frames per second; None where nobody tells.
        codec: its name.
        damaged: packets that could not be decoded.
        has_holes: FFmpeg noticed that some of it is missing, which takes whole packets along.
        announced: frames that the header announces; 0 where it does not.
        duration_s: that the header announces; 0 where it does not.
        packets: of the film that were read.
        reached_s: the end of the latest packet, sound included.

    Raises:
        NoFilmError: it cannot be opened, it is none, or it holds only sound.
    """

    def __init__(
        self,
        target: str,
        options: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        *,
        is_live: bool = False,
    ) -> None:
        import av

        self._library: Any = av
        av.logging.set_level(None)
        timeout = None if timeout_s is None else (timeout_s, timeout_s)
        settings = {"options": dict(options or {}), "timeout": timeout}
        try:
            self._container: Any = self._opened(target, settings)
        except (av.InvalidDataError, av.EOFError) as error:
            raise NoFilmError("") from error
        except av.FFmpegError as error:
            raise NoFilmError(str(error.strerror)) from error
        try:
            self._stream = self._choose()
        except NoFilmError:
            self._container.close()
            raise
        context = self._stream.codec_context
        # Frame threads hold a frame back each.
        context.thread_type = "SLICE" if is_live else "AUTO"
        # Else FFmpeg keeps silent about pictures of which it knows that they are damaged.
        context.options = {"max_pixels": str(_MOST_PIXELS), "flags": "+output_corrupt"}
        self.codec: str = context.codec.name
        rate = self._stream.guessed_rate or self._stream.average_rate
        self.fps = plausible_fps(float(rate) if rate else None)
        self.damaged = 0
        self.has_holes = False
        self.announced: int = self._stream.frames
        if self._container.format.name.startswith("mxf") and rate:
            # It tells a duration in its edit rate, which is a number of frames.
            units = self._stream.duration or 0
            self.announced = self.announced or round(units * self._stream.time_base * rate)
        duration = self._container.duration
        self.duration_s = duration / self._library.time_base if duration else 0.0
        self.reached_s = 0.0
        self.packets = 0
        self._starts_s: float | None = None
        self._aspect: Fraction | None = self._stream.sample_aspect_ratio
        self._coded_aspect: Fraction | None = None
        self._pictures = self._shown(is_live=is_live)

    def next(self) -> Shown | None:
        """Return the next picture, or None at the end.

        Raises:
            NoFilmError: a live source failed.
        """
        try:
            return next(self._pictures, None)
        except self._library.FFmpegError as error:
            raise NoFilmError(str(error.strerror)) from error

    def close(self) -> None:
        """Release it; harmless when repeated."""
        self._pictures.close()
        self._container.close()

    def _opened(self, target: str, settings: dict[str, Any]) -> Any:
        """Open by content or, where that is damaged at its beginning, by what the name says."""
        library = self._library
        try:
            return library.open(target, **settings)
        except (library.InvalidDataError, library.EOFError):
            form = _RESUMABLE.get(os.path.splitext(target)[1].lower())  # noqa: PTH122 - may be a URL
            if form is None:
                raise
            return library.open(target, format=form, **settings)

    def _choose(self) -> Any:
        """Return the stream to decode: no cover of a piece of music, but the best of the films."""
        disposition = self._library.stream.Disposition.attached_pic
        films = [s for s in self._container.streams.video if not s.disposition & disposition]
        if self._container.format.name in _NO_FILM:
            raise NoFilmError("")
        if not films:
            sound = "only sound" if self._container.streams.audio else "no pictures"
            raise NoFilmError(f"it holds {sound} ({self._container.format.name})")
        best = self._container.streams.best("video")
        chosen = best if best in films else films[0]
        if chosen.codec_context is None:
            raise NoFilmError("its codec is not known")
        return chosen

    def _shown(self, *, is_live: bool) -> Generator[Shown, None, None]:
        for packet in self._live_packets() if is_live else self._packets():
            for frame in self._decoded(packet):
                yield self._picture(frame)

    def _live_packets(self) -> Iterator[Any]:
        return self._container.demux(self._stream)  # type: ignore[no-any-return]

    def _packets(self) -> Iterator[Any]:
        """Yield the film's packets; going on after what cannot be read, while there is hope."""
        failures = 0
        while failures < _MOST_FAILURES:
            try:
                for packet in self._container.demux():
                    if packet.dts is not None:
                        self._note_time(packet)
                    if packet.stream is self._stream:
                        failures = 0
                        self.packets += packet.size > 0
                        yield packet
            except (self._library.FFmpegError, ValueError):
                failures += 1
                self.damaged += failures == 1
                continue
            return

    def _note_time(self, packet: Any) -> None:
        """Note where it ends; of some containers the duration counts from 0, of some from start."""
        start = min(packet.stream.start_time or 0, 0)
        shown = packet.dts if packet.pts is None else packet.pts
        ends = (shown - start + (packet.duration or 0)) * packet.time_base
        self.reached_s = max(self.reached_s, float(ends))

    def _decoded(self, packet: Any) -> list[Any]:
        self.has_holes |= packet.is_corrupt
        if self.codec == "dvvideo" and packet.size and bytes(memoryview(packet)[:3]) != _DV_HEADER:
            self.damaged += 1  # its decoder makes pictures of anything
            return []
        try:
            frames = list(packet.decode())
        except self._library.EOFError:
            return []
        except self._library.FFmpegError:
            self.damaged += 1
            return []
        whole = [frame for frame in frames if not frame.is_corrupt]
        self.has_holes |= len(whole) < len(frames)
        self.damaged += len(frames) - len(whole)
        return whole

    def _picture(self, frame: Any) -> Shown:
        self._look_at_aspect(is_key=frame.key_frame)
        width, height = square_size_wh((frame.width, frame.height), self._aspect)
        image = frame.reformat(width=width, height=height, format="bgr24").to_ndarray()
        matrix = frame.side_data.get("DISPLAYMATRIX")
        if matrix is not None:
            image = Turn.of_matrix(bytes(matrix)).apply(image)
        position_s = frame.time
        if position_s is not None:
            if self._starts_s is None:
                self._starts_s = position_s
            position_s -= self._starts_s
        return Shown(image, position_s)

    def _look_at_aspect(self, *, is_key: bool) -> None:
        """Take the pixels' aspect over when the film changes it; the container's stands at first.

        It can change with a key frame only. The decoder may be some frames ahead of its output.
        """
        coded = self._stream.codec_context.sample_aspect_ratio
        if not self._aspect:
            self._aspect = coded
        if self._coded_aspect is None:
            self._coded_aspect = coded
        elif is_key and coded and coded != self._coded_aspect:
            self._aspect = self._coded_aspect = coded


def stream_options() -> dict[str, str]:
    """Return FFmpeg's options for network streams: RTSP over TCP, and what the user sets.

    ``OPENCV_FFMPEG_CAPTURE_OPTIONS`` (``name;value|name;value``) is OpenCV's own variable.
    """
    asked = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    pairs = (option.partition(";") for option in asked.split("|") if ";" in option)
    return {name: value for name, _, value in pairs}
