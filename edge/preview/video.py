"""An annotated video file: it appears whole, or not at all."""

import math
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, SinkError
from edge.sources.native import quieten

_CODECS: Final = {".mp4": "mp4v", ".avi": "MJPG"}


class VideoFile:
    """Writes pictures to an ``.mp4`` (MPEG-4) or ``.avi`` (MJPEG) file.

    The size is that of the first picture; others are fitted into it with black borders. The file
    grows under a hidden name beside the final one and is renamed when closed.

    Args:
        path: the file to make; an existing one is replaced at the end.
        fps: the rate it will play at.

    Raises:
        ConfigError: another suffix, a directory, no such folder, or a rate that is not positive.
        SinkError: the folder can not be written to.
    """

    def __init__(self, path: Path, fps: float) -> None:
        _check(path, fps)
        self.path = path
        self._fps = fps
        self._partial = path.with_name(f".{path.stem}.part{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._size_wh = (0, 0)
        try:
            self._partial.open("wb").close()
            self._partial.unlink()
        except OSError as error:
            raise SinkError(f"{path}: can not be written ({error.strerror})") from error

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Append a picture, BGR uint8 ``(H, W, 3)``.

        Raises:
            SinkError: OpenCV can not write such a video.
        """
        if self._writer is None:
            self._writer = self._open(picture)
        self._writer.write(_fitted(picture, self._size_wh))

    def close(self) -> None:
        """Finish the file and give it its name; without a picture there will be none.

        Raises:
            SinkError: the disk refused a part of it; nothing is left.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.release()
        try:
            _check_readable(self._partial)
            self._partial.replace(self.path)
        except OSError as error:
            raise SinkError(f"{self.path}: can not be written ({error.strerror})") from error
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self, picture: NDArray[np.uint8]) -> cv2.VideoWriter:
        quieten()
        height, width = picture.shape[:2]
        # MPEG-4 stores colour at half size: odd sizes lose their last row or column.
        self._size_wh = (max(2, width - width % 2), max(2, height - height % 2))
        code = cv2.VideoWriter.fourcc(*_CODECS[self.path.suffix.lower()])
        writer = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, code, self._fps, self._size_wh)
        if not writer.isOpened():
            self._partial.unlink(missing_ok=True)
            raise SinkError(
                f"{self.path}: OpenCV can not write {width}x{height} video here; "
                "try the other of .mp4 and .avi"
            )
        return writer


def _check(path: Path, fps: float) -> None:
    if path.suffix.lower() not in _CODECS:
        raise ConfigError(f"{path}: expected a video file name ending in {' or '.join(_CODECS)}")
    if path.is_dir():
        raise ConfigError(f"{path}: is a directory; name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no directory {path.parent}")
    if not (math.isfinite(fps) and fps > 0):
        raise ConfigError(f"{path}: the frame rate must be positive, got {fps}")


def _check_readable(path: Path) -> None:
    """Open what was written: OpenCV's writer does not tell of a full disk."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    readable = capture.isOpened() and capture.read()[0]
    capture.release()
    if not readable:
        raise OSError(0, "the video is damaged; is the disk full?")


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
