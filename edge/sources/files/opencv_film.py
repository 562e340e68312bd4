"""Films through OpenCV: the lean way, where PyAV is not installed."""

import math
from datetime import datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.media.opencv_errors import MOST_PIXELS, decoded, quieten, to_bgr
from edge.records import Frame
from edge.sources.files.recording import (
    FALLBACK_FPS,
    Extent,
    FilmClock,
    FilmEnd,
    check_content,
    head_of,
    plausible_fps,
    recorded_at,
    unplayable,
)
from edge.sources.files.survey import MOST_FAILURES, Survey, survey
from edge.sources.files.upright import square_size_wh
from edge.system.native_path import NativePath

EXTRA: Final = "install the extra edgeemo[video]"
_UNKNOWN: Final = {"AV01": "AV1", "av01": "AV1"}
"""Codecs that OpenCV's wheels open and do not decode."""


class OpenCvFilm:
    """A film in a file, as fast as it is read; ``FilmClock`` says how it is timed.

    Frames are upright, with square pixels. What cannot be decoded is skipped and counted. A
    film whose pictures become others midway is refused, for OpenCV would mix them up; a motion
    JPEG is not: its pictures are decoded one by one.

    Args:
        path: the file.
        shown: what it is called in messages; by default as its path.
        recorded: when it was; by default when the file was last changed.

    Raises:
        CameraError: no such file, no film, one that changes, a huge one, or not one frame of it is
            decoded.
    """

    def __init__(self, path: Path, shown: str = "", recorded: datetime | None = None) -> None:
        quieten()
        name = shown or path
        self._end = FilmEnd(name)
        self._clock_from = recorded or recorded_at(path)
        check_content(name, head_of(path))
        self._name = NativePath(path)
        try:
            self._survey = self._surveyed(name)
        except CameraError:
            self._name.close()
            raise
        self._is_jpeg = self._survey.codec == "MJPG"
        options = [cv2.CAP_PROP_FORMAT, -1] if self._is_jpeg else []
        self._capture = cv2.VideoCapture(str(self._name), cv2.CAP_FFMPEG, options)
        self._check_size(name)
        # OpenCV's own turning differs between its versions, and knows no mirror.
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
        fps = plausible_fps(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps: float = fps or FALLBACK_FPS
        self._clock = FilmClock(self._clock_from, self.fps)
        self._damaged = 0
        self._pending = self._decode()
        if self._pending is None:
            self.close()
            codec = _UNKNOWN.get(self._survey.codec)
            raise unplayable(
                name,
                path.stat().st_size,
                f"its codec is {codec}, which this OpenCV does not decode: {EXTRA}, or convert it "
                "with ffmpeg"
                if codec
                else "",
            )

    @property
    def dropped(self) -> int:
        """Frames that could not be decoded, or fell into a hole."""
        return max(self._damaged, self._in_holes)

    def read(self) -> Frame | None:
        """Return the next frame, or None at the end; damage is logged then."""
        frame, self._pending = self._pending, None
        return frame or self._decode()

    def close(self) -> None:
        """Release the file."""
        self._pending = None
        self._capture.release()
        self._name.close()

    def _surveyed(self, name: object) -> Survey:
        found = survey(str(self._name))
        if found is None:
            raise unplayable(name, Path(str(self._name)).stat().st_size)
        if found.changes_at is not None:
            raise CameraError(
                f"{name}: its pictures become others at frame {found.changes_at} (their size or "
                f"their format), which OpenCV cannot follow; {EXTRA}, or convert it with ffmpeg"
            )
        return found

    def _check_size(self, name: object) -> None:
        """Refuse, before a picture is decoded, a film whose pictures would take too much memory."""
        properties = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(one)) for one in properties)
        if width * height > MOST_PIXELS:
            self.close()
            raise CameraError(
                f"{name}: too large: {width}x{height} pixels, at most "
                f"{MOST_PIXELS / 1e6:g} megapixels; scale it down with ffmpeg"
            )

    def _decode(self) -> Frame | None:
        failures = 0
        while failures < MOST_FAILURES:
            image = self._next_image()
            if image is not None:
                self._damaged += failures
                return self._clock.frame(self._shown(image), self._position_s())
            failures += 1
            if self._clock.index + self._damaged + failures > self._survey.packets:
                break
        extent = Extent(
            self._survey.packets, self._survey.announced, broken_at=self._survey.broken_at
        )
        self._end.tell(self._clock.index, self._damaged, self._in_holes, extent)
        return None

    @property
    def _in_holes(self) -> int:
        return 0 if self._survey.announced else self._clock.in_holes

    def _next_image(self) -> NDArray[np.uint8] | None:
        try:
            there, image = self._capture.read()
            if not there or image is None or not image.size:
                return None
            return decoded(image.tobytes()) if self._is_jpeg else to_bgr(image)
        except (cv2.error, ValueError):
            return None

    def _shown(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        stored = image.shape[1], image.shape[0]
        square = square_size_wh(stored, self._survey.aspect)
        if square != stored:
            image = np.asarray(cv2.resize(image, square, interpolation=cv2.INTER_LINEAR), np.uint8)
        return self._survey.turn.apply(image)

    def _position_s(self) -> float | None:
        position_s = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return position_s if math.isfinite(position_s) and position_s >= 0 else None
