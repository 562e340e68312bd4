"""A recording at the speed at which it was recorded, for somebody who looks on."""

import time
from collections.abc import Callable
from typing import Final

from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.wrappers import SourceWrapper

_LONGEST_S: Final = 1.0
"""No longer wait than this: a gap in a recording is not worth watching."""


class Paced(SourceWrapper):
    """Gives each frame when its ``t_s`` says so; frames themselves stay as they are.

    One that is late is given at once, and those after it are timed from there: nothing is dropped.

    Args:
        source: what is slowed down.
        clock, sleep: those of ``time``.
    """

    def __init__(
        self,
        source: FrameSource,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(source)
        self._clock = clock
        self._sleep = sleep
        self._offset_s: float | None = None

    def read(self) -> Frame | None:
        """Return the next frame, when it is time; None at the end.

        Raises:
            CameraError: the source failed.
        """
        frame = self._source.read()
        if frame is None:
            return None
        now_s = self._clock()
        wait_s = 0.0 if self._offset_s is None else self._offset_s + frame.t_s - now_s
        wait_s = min(max(wait_s, 0.0), _LONGEST_S)
        if wait_s > 0:
            self._sleep(wait_s)
        self._offset_s = now_s + wait_s - frame.t_s
        return frame
