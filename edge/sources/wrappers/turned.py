"""A source whose camera is mounted askew, or seen in a mirror."""

import msgspec

from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.files.upright import Turn
from edge.sources.wrappers import SourceWrapper


class Turned(SourceWrapper):
    """Turns each picture of a source.

    Args:
        source: what is turned.
        turn: how.
    """

    def __init__(self, source: FrameSource, turn: Turn) -> None:
        super().__init__(source)
        self._turn = turn

    def read(self) -> Frame | None:
        """Return the next frame, turned; None at the end.

        Raises:
            CameraError: the source failed.
        """
        frame = self._source.read()
        if frame is None:
            return None
        return msgspec.structs.replace(frame, image=self._turn.apply(frame.image))
