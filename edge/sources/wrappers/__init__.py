"""Sources around sources."""

from edge.protocols import FrameSource


class SourceWrapper:
    """What is the same of every source around another: its rate, its losses, its end.

    Args:
        source: what frames are read from.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source

    @property
    def fps(self) -> float | None:
        """The source's rate."""
        return self._source.fps

    @property
    def dropped(self) -> int:
        """Frames that the source had and did not give."""
        return self._source.dropped

    def close(self) -> None:
        """Release the source."""
        self._source.close()
