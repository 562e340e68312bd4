"""Pictures that are none: a camera that delivers, but always the same frame, or only black."""

import logging
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.config import SourceConfig
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.wrappers import SourceWrapper

_log = logging.getLogger(__name__)

_STEP: Final = 16
"""One row in so many is looked at: four hundredths of a millisecond per frame, and a sensor's noise
is in every row."""
_BLACK: Final = 16
"""Video's black level (ITU-R BT.601); a dark room at a sensor's full gain is noisier than that."""


class PictureWatch:
    """Judges a camera's pictures, by the times that the frames carry.

    What it found stays found while pictures are as they were, also when the camera was opened
    afresh in between: one that is still black after that was not repaired.
    """

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._size_hw: tuple[int, int] | None = None
        self._digest: int | None = None
        self._same_since_s = 0.0
        self._black_since_s: float | None = None

    def reopened(self) -> None:
        """Accept another size: a camera that was opened afresh may negotiate one."""
        self._size_hw = None

    def judge(self, frame: Frame) -> str:
        """Return what is wrong with the pictures up to this one, or nothing."""
        # A source that knows of a change of size says so; any other has taken a wrong picture.
        if (
            self._size_hw is not None
            and frame.size_hw != self._size_hw
            and not frame.starts_new_clip
        ):
            expected = "x".join(map(str, reversed(self._size_hw)))
            return f"gave a picture of {frame.size_hw[1]}x{frame.size_hw[0]} among {expected}"
        self._size_hw = frame.size_hw
        rows = np.ascontiguousarray(frame.image[::_STEP])
        return self._black(rows, frame.t_s) or self._frozen(rows, frame.t_s)

    def _black(self, rows: NDArray[np.uint8], t_s: float) -> str:
        if int(rows.max()) > _BLACK:
            self._black_since_s = None
            return ""
        if self._black_since_s is None:
            self._black_since_s = t_s
        passed_s = t_s - self._black_since_s
        if not self._is_over(passed_s, self._config.black_s):
            return ""
        return f"gives black pictures only, for {passed_s:.0f} s: covered, or without light?"

    def _frozen(self, rows: NDArray[np.uint8], t_s: float) -> str:
        digest = zlib.crc32(rows.tobytes())
        if digest != self._digest:
            self._digest, self._same_since_s = digest, t_s
            return ""
        passed_s = t_s - self._same_since_s
        # In the dark pictures may well be equal; that is black's to judge.
        if self._black_since_s is not None or not self._is_over(passed_s, self._config.frozen_s):
            return ""
        return f"is frozen: one and the same picture for {passed_s:.0f} s"

    def _is_over(self, passed_s: float, limit_s: float) -> bool:
        return limit_s > 0 and passed_s >= limit_s


class WatchedSource(SourceWrapper):
    """A live source whose bad pictures are told of, once each, and let through.

    For runs that somebody watches; a service takes ``ReconnectingSource``.
    """

    def __init__(self, source: FrameSource, config: SourceConfig) -> None:
        super().__init__(source)
        self._watch = PictureWatch(config)
        self._is_ill = False

    def read(self) -> Frame | None:
        """Return the next frame; see ``edge.protocols.FrameSource``."""
        frame = self._source.read()
        if frame is not None:
            fault = self._watch.judge(frame)
            if fault and not self._is_ill:
                _log.warning("the camera %s", fault)
            self._is_ill = bool(fault)
        return frame
