"""Every n-th frame of a source, for boards that cannot keep up and questions that need no more."""

import msgspec

from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.wrappers import SourceWrapper


class EveryNth(SourceWrapper):
    """Gives the first frame of a source and then every n-th; their numbers and times stay.

    Args:
        source: whose frames are skipped.
        n: 2 or more; one frame of so many is given.
    """

    def __init__(self, source: FrameSource, n: int) -> None:
        super().__init__(source)
        self._n = n
        self._has_begun = False

    @property
    def fps(self) -> float | None:
        """Frames given per second, where the source tells its own rate."""
        return None if self._source.fps is None else self._source.fps / self._n

    def read(self) -> Frame | None:
        """Return the next frame that is not left out; None at the end.

        If a frame left out starts a new clip, the next frame given starts it.

        Raises:
            CameraError: the source failed.
        """
        is_new_clip = False
        for _ in range(self._n - 1 if self._has_begun else 0):
            skipped = self._source.read()
            if skipped is None:
                return None
            is_new_clip = is_new_clip or skipped.starts_new_clip
        self._has_begun = True
        frame = self._source.read()
        if frame is not None and is_new_clip and not frame.starts_new_clip:
            return msgspec.structs.replace(frame, starts_new_clip=True)
        return frame
