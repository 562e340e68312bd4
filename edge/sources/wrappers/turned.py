"""A source whose camera is mounted askew, or seen in a mirror."""

import msgspec

from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.files.upright import Turn


class Turned:
    """Turns each picture of a source.

    Args:
        source: what is turned.
        turn: how.
    """

    def __init__(self, source: FrameSource, turn: Turn) -> None:
        self._source = source
        self._turn = turn

    @property
    def fps(self) -> float | None:
        """The source's own rate."""
        return self._source.fps

    @property
    def dropped(self) -> int:
        """Frames that the source left out."""
        return self._source.dropped

    def read(self) -> Frame | None:
        """Return the next frame, turned; None at the end.

        Raises:
            CameraError: the source failed.
        """
        frame = self._source.read()
        if frame is None:
            return None
        return msgspec.structs.replace(frame, image=self._turn.apply(frame.image))

    def close(self) -> None:
        """Release the source."""
        self._source.close()
