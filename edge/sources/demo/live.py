"""The demo as a camera would give it: without end, in real time, with the clock's own times."""

import time
from datetime import UTC, datetime

from edge.records import Frame
from edge.sources.demo.source import DemoSource


class DemoCamera:
    """A live source that needs no camera: for trying a service, and for its tests.

    Frames are due at a camera's steady rate; those that the reader was too late for are left out.

    Args:
        demo: renders the pictures, and tells size and rate.
    """

    def __init__(self, demo: DemoSource) -> None:
        self._demo = demo
        self.started_s = time.monotonic()
        self._next = 0
        self._closed = False

    @property
    def fps(self) -> float | None:
        """The clip's rate."""
        return self._demo.fps

    @property
    def dropped(self) -> int:
        """None: frames nobody came for in time were never rendered."""
        return 0

    def read(self) -> Frame | None:
        """Wait until the next frame is due and return it; None once closed."""
        if self._closed:
            return None
        wait_s = self.started_s + self._next / self._demo.fps - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)
        now_s = time.monotonic()
        index = max(self._next, int((now_s - self.started_s) * self._demo.fps))
        self._next = index + 1
        image = self._demo.render(index % self._demo.frames)
        return Frame(image, index, now_s, datetime.now(UTC))

    def close(self) -> None:
        """End it."""
        self._closed = True
