"""The newest frame of a live source: the one thread of the device package."""

import logging
import threading
import time
from typing import Final

from edge.errors import CameraError
from edge.protocols import FrameSource
from edge.records import Frame

_log = logging.getLogger(__name__)

STALL_S: Final = 20.0
"""A camera that gives nothing for so long has failed; OpenCV's own timeouts (10 s) come first."""
_JOIN_S: Final = 1.0
"""A service has 2 s to end in."""
_NAP_S: Final = 0.2
"""How long a waiting read may not notice ``interrupt``."""


class LatestFrame:
    """Reads a live source in a thread and keeps only its newest frame.

    A camera must be read as fast as it delivers: its driver queues frames, and a slow pipeline
    would otherwise work on ever older ones. Frames that nobody had time for are counted in
    ``dropped``. An error of the source reaches the reader, after the last good frame.

    Args:
        source: read and closed by the thread alone, for OpenCV's captures are not thread-safe.
        stall_s: how long ``read`` waits for a frame before it calls the source failed.
    """

    def __init__(self, source: FrameSource, stall_s: float = STALL_S) -> None:
        self._source = source
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._closing = False
        self._interrupted = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._grab, name="latest-frame", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that were replaced by a newer one before anybody read them."""
        with self._changed:
            return self._dropped

    def read(self) -> Frame | None:
        """Return the newest unseen frame, waiting for one; None at the end or once closed.

        Raises:
            CameraError: the source failed, or gave nothing for ``stall_s``.
        """
        with self._changed:
            self._wait()
            if self._closing or self._interrupted:
                return None
            if not self._is_ready():
                raise CameraError(
                    f"the camera gave no frame for {self._stall_s:g} s; "
                    "unplug it and plug it in again, or choose another --source"
                )
            frame, self._newest = self._newest, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    def interrupt(self) -> None:
        """Have ``read`` return None soon, now and ever after.

        For signal handlers: they run between two instructions of the reader, which may hold the
        lock, so this takes none and wakes nobody.
        """
        self._interrupted = True

    def close(self) -> None:
        """Stop the thread, which releases the source; returns soon even if the source hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_JOIN_S)
        if self._thread.is_alive():
            _log.warning("the camera does not answer: its thread is left behind")

    def _wait(self) -> None:
        """Wait, in naps, until there is something to return or the source counts as stalled."""
        until_s = time.monotonic() + self._stall_s
        while not self._is_ready() and (left_s := until_s - time.monotonic()) > 0:
            self._changed.wait(min(left_s, _NAP_S))

    def _is_ready(self) -> bool:
        return self._newest is not None or self._ended or self._closing or self._interrupted

    def _grab(self) -> None:
        error: BaseException | None = None
        try:
            while (frame := self._source.read()) is not None and self._publish(frame):
                pass
        except BaseException as caught:  # whatever it is, the reader must know
            error = caught
        try:
            self._source.close()
        except Exception:
            _log.exception("closing the camera failed")
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def _publish(self, frame: Frame) -> bool:
        with self._changed:
            self._dropped += self._newest is not None
            self._newest = frame
            self._changed.notify_all()
            return not self._closing
