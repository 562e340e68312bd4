"""An annotated video file: it appears whole, or not at all."""

import contextlib
import math
import os
import time
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, SinkError
from edge.media.opencv_errors import quieten
from edge.preview.encoders import SUFFIXES, Encoder, open_encoder
from edge.system.native_path import NativePath

_LONGEST_GAP_S: Final = 60.0
"""A camera that was away for longer is not worth more of a film."""
_STILL_S: Final = 1.0
_ABANDONED_S: Final = 3600.0
"""A process of another container has no number here, but its film grows."""


class VideoFile:
    """Writes pictures to a film, each at its own time: ``.mp4``, ``.webm`` or ``.avi``.

    The size is that of the first picture; others are fitted into it with black borders. The first
    picture is at 0 s. The last one is seen for a frame's time. The film grows under a hidden name
    beside the final one and is renamed when closed.

    Args:
        path: the file to make; an existing one is replaced at the end.
        fps: the rate of its frames, where they have one.
        is_live: they do not wait until one is written.

    Attributes:
        description: what was written, in words; empty until then.

    Raises:
        ConfigError: another suffix, a directory, no such folder, or a rate that is not positive.
        SinkError: the folder cannot be written to.
    """

    def __init__(self, path: Path, fps: float | None = None, *, is_live: bool = False) -> None:
        check_video_path(path)
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ConfigError(f"{path}: the frame rate must be positive, got {fps}")
        self.path = path
        self.description = ""
        self._fps = fps
        self._is_live = is_live
        # Short and plain: a name of the longest length has no room for an addition.
        self._partial = path.with_name(f".edgeemo-{os.getpid()}.part{path.suffix.lower()}")
        self._encoder: Encoder | None = None
        self._size_wh = (0, 0)
        self._t_s: float | None = None
        self._film_s = 0.0
        self._step_s: float | None = None
        try:
            _remove_left_behind(path.parent)
            self._partial.open("wb").close()
            self._partial.unlink()
            self._folder = NativePath(path.parent)
        except OSError as error:
            raise SinkError(f"{path}: cannot be written ({error.strerror})") from error

    def write(self, picture: NDArray[np.uint8], t_s: float) -> None:
        """Append a picture, BGR uint8 ``(H, W, 3)``, of the moment ``t_s``; times rise.

        Raises:
            SinkError: such a film cannot be written, or the disk is full.
        """
        if self._encoder is None:
            height, width = picture.shape[:2]
            # Films store colour at half size: odd sizes lose their last row or column.
            self._size_wh = (max(2, width - width % 2), max(2, height - height % 2))
            name = f"{self._folder}/{self._partial.name}"
            self._encoder = open_encoder(
                self.path, name, self._size_wh, self._fps, is_live=self._is_live
            )
        if self._t_s is not None:
            self._step_s = min(max(t_s - self._t_s, 0.0), _LONGEST_GAP_S)
            self._film_s += self._step_s
        self._t_s = t_s
        self._encoder.add(_fitted(picture, self._size_wh), self._film_s)

    def close(self) -> None:
        """Finish the file and give it its name; without a picture there will be none.

        Raises:
            SinkError: the disk refused a part of it; nothing is left.
        """
        encoder, self._encoder = self._encoder, None
        try:
            if encoder is not None:
                self._finish(encoder)
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be written ({error.strerror})") from error
        finally:
            self._folder.close()
            self._partial.unlink(missing_ok=True)

    def _finish(self, encoder: Encoder) -> None:
        end_s = self._film_s + self._last_s()
        encoder.finish(end_s)
        readable = _frames_in(f"{self._folder}/{self._partial.name}")
        if readable < encoder.written:
            raise SinkError(
                f"{self.path}: only {readable} of {encoder.written} frames got to the disk; is the "
                "disk full? The film is removed: make room, or write it elsewhere"
            )
        self._partial.replace(self.path)
        width, height = self._size_wh
        self.description = f"{encoder.codec}, {width}x{height}, {end_s:.1f} s"

    def _last_s(self) -> float:
        """Return how long the last picture is seen."""
        return 1 / self._fps if self._fps else self._step_s or _STILL_S


def _remove_left_behind(folder: Path) -> None:
    """Remove hidden films of runs that were killed: of no process here, and not of late."""
    for left in folder.glob(".edgeemo-*.part.*"):
        number = left.name.split(".")[1].removeprefix("edgeemo-")
        with contextlib.suppress(OSError):
            is_ours = number.isdecimal() and not Path("/proc", number).exists()
            if is_ours and time.time() - left.stat().st_mtime > _ABANDONED_S:
                left.unlink()


def check_video_path(path: Path) -> None:
    """Make sure that a film can be written there.

    Raises:
        ConfigError: another suffix, a directory, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        expected = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise ConfigError(f"{path}: expected a video file name ending in {expected}")
    if path.is_dir():
        raise ConfigError(f"{path}: is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no directory {path.parent}")


def _frames_in(name: str) -> int:
    """Count what can be read of a film, undecoded: writers do not tell of every full disk."""
    quieten()
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    count = 0
    while capture.isOpened() and capture.grab():
        count += 1
    capture.release()
    return count


def _fitted(picture: NDArray[np.uint8], size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = picture.shape[:2]
    if (width, height) == size_wh:
        return picture
    if (width - width % 2, height - height % 2) == size_wh:
        return np.ascontiguousarray(picture[: size_wh[1], : size_wh[0]])
    scale = min(size_wh[0] / width, size_wh[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    x, y = (size_wh[0] - inner[0]) // 2, (size_wh[1] - inner[1]) // 2
    fitted = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    fitted[y : y + inner[1], x : x + inner[0]] = cv2.resize(picture, inner, interpolation=way)
    return fitted
