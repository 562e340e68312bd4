"""The newest frame of a live source: the one thread of the device package."""

import logging
import threading
import time
from typing import Final

import msgspec

from edge.errors import CameraError, CameraStuckError
from edge.protocols import FrameSource, RecoveringSource
from edge.records import Frame

_log = logging.getLogger(__name__)

STALL_S: Final = 25.0
"""A camera that gives nothing for so long has failed; OpenCV's own timeouts come first, of 10 s
for opening and 10 s for a picture."""
JOIN_S: Final = 1.0
"""A service has 2 s to end in."""


class LatestFrame:
    """Reads a live source in a thread and keeps only its newest frame.

    A camera must be read as fast as it delivers: its driver queues frames, and a slow pipeline
    would otherwise work on ever older ones. Frames that nobody had time for are counted in
    ``dropped``. An error of the source reaches the reader, after the last good frame. It ends the
    thread, unless the source is a ``RecoveringSource``: then reading goes on.

    Args:
        source: read and closed by the thread alone, for OpenCV's captures are not thread-safe.
        stall_s: how long the source may give no frame before ``read`` calls it failed.
        every_n: only every n-th frame is given; those between are nobody's loss, and signs of life.
    """

    def __init__(self, source: FrameSource, stall_s: float = STALL_S, every_n: int = 1) -> None:
        self._source = source
        self._every_n = every_n
        self._to_skip = 0
        self._is_new_clip = False
        self._recovering = source if isinstance(source, RecoveringSource) else None
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._is_error_older = False
        self._is_lost = False
        self._progress_s = time.monotonic()
        self._ended = False
        self._closing = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._grab, name="latest-frame", daemon=True)
        self._thread.start()

    @property
    def fps(self) -> float | None:
        """The rate at which frames are given, nominally."""
        return self._source.fps and self._source.fps / self._every_n

    @property
    def dropped(self) -> int:
        """Frames that were replaced by a newer one before anybody read them, and the source's."""
        with self._changed:
            return self._dropped + self._source.dropped

    @property
    def recovers(self) -> bool:
        """Whether reading may go on after a CameraError."""
        return self._recovering is not None

    @property
    def progress_s(self) -> float:
        """When the capture last did anything, on ``time.monotonic``: a frame, a failed attempt.

        It stands still while native code holds the thread, and that only: a camera that is away,
        and looked for, is progress. Who restarts the process goes by it.
        """
        with self._changed:
            inner_s = self._recovering.progress_s if self._recovering is not None else 0.0
            return max(self._progress_s, inner_s)

    def wait(self, timeout_s: float) -> bool:
        """Return whether ``read`` has something to tell, waiting for it up to ``timeout_s``."""
        with self._changed:
            if not self._changed.wait_for(self._is_ready, timeout_s):
                self._note_stall()
            return self._is_ready()

    def read(self) -> Frame | None:
        """Return the newest unseen frame, waiting for one; None at the end or once closed.

        Raises:
            CameraError: the source failed, or gave nothing for ``stall_s``.
        """
        with self._changed:
            while not self._changed.wait_for(self._is_ready, self._stall_s):
                if time.monotonic() - self._progress_s >= self._stall_s:
                    raise self._stalled()
            if self._closing:
                return None
            if self._error is not None and (self._newest is None or self._is_error_older):
                error = self._error
                if not self._ended:
                    self._error = None  # told once, the source goes on
                raise error
            frame, self._newest = self._newest, None
            return frame

    def close(self) -> None:
        """Stop the thread, which releases the source; returns soon even if the source hangs."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._recovering is not None:
            self._recovering.stop()
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            _log.warning("the camera does not answer: its thread is left behind")

    def _is_ready(self) -> bool:
        return self._newest is not None or self._error is not None or self._ended or self._closing

    def _note_stall(self) -> None:
        """Make a silence of ``stall_s`` a loss, which a source may recover from."""
        silent_s = time.monotonic() - self._progress_s
        if not self._is_lost and silent_s >= self._stall_s:
            self._is_lost, self._error = True, self._stalled()

    def _stalled(self) -> CameraError:
        return CameraError(
            f"the camera gave no frame for {self._stall_s:g} s; "
            "unplug it and plug it in again, or choose another --source"
        )

    def _grab(self) -> None:
        error: BaseException | None = None
        try:
            while self._step():
                pass
        except BaseException as caught:  # whatever it is, the reader must know
            error = caught
        try:
            self._source.close()
        except CameraError as told:
            _log.warning("%s", told)
        except Exception:
            _log.exception("closing the camera failed")
        with self._changed:
            self._error, self._ended = error or self._error, True
            self._changed.notify_all()

    def _step(self) -> bool:
        """Read once; return whether to go on."""
        try:
            frame = self._source.read()
        except CameraStuckError:
            raise
        except CameraError as error:
            if not self.recovers:
                raise
            self._to_skip = 0  # what comes back is shown at once
            return self._publish_loss(error)
        if frame is None:
            return False
        if self._to_skip > 0:
            return self._skip(frame)
        if self._is_new_clip and not frame.starts_new_clip:
            frame = msgspec.structs.replace(frame, starts_new_clip=True)
        self._to_skip, self._is_new_clip = self._every_n - 1, False
        return self._publish(frame)

    def _skip(self, frame: Frame) -> bool:
        """Leave a frame out; if it starts a new clip, the next frame given starts it."""
        self._to_skip -= 1
        self._is_new_clip = self._is_new_clip or frame.starts_new_clip
        with self._changed:
            self._is_lost = False
            self._progress_s = time.monotonic()
            return not self._closing

    def _publish(self, frame: Frame) -> bool:
        with self._changed:
            unread = self._newest
            self._dropped += unread is not None
            if unread is not None and unread.starts_new_clip and not frame.starts_new_clip:
                frame = msgspec.structs.replace(frame, starts_new_clip=True)
            self._newest = frame
            self._is_error_older = self._error is not None
            self._is_lost = False
            self._progress_s = time.monotonic()
            self._changed.notify_all()
            return not self._closing

    def _publish_loss(self, error: CameraError) -> bool:
        with self._changed:
            self._progress_s = time.monotonic()
            if not self._is_lost:  # a stall that was told already has this as its end
                self._error, self._is_error_older, self._is_lost = error, False, True
            self._changed.notify_all()
            return not self._closing
