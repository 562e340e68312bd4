"""A camera that comes back: opened again for ever, at growing intervals."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from edge.config import SourceConfig
from edge.errors import CameraError, CameraStuckError
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.wrappers.frame_health import PictureWatch

_log = logging.getLogger(__name__)

_NAP_S: Final = 1.0
"""While it waits for the next attempt it shows signs of life this often."""
_WARM_UP_S: Final = 5.0
"""A camera opened again may begin with black or stale pictures: so long they are skipped."""


class BackOff(msgspec.Struct, frozen=True):
    """When to try again: after ``first_s``, then twice as long each time, up to ``cap_s``.

    A camera must have given pictures for ``steady_s`` before the next loss starts from
    ``first_s`` again; one that comes and goes would fill the log otherwise.
    """

    first_s: float = 0.5
    cap_s: float = 30.0
    steady_s: float = 30.0

    def delay_s(self, attempt: int) -> float:
        """Return the pause before an attempt, which counts from 0."""
        return min(self.first_s * 2.0 ** min(attempt, 32), self.cap_s)


class Pauser:
    """Waits, unless told to stop; the seam where tests put their own time."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def pause(self, seconds: float) -> None:
        """Wait for ``seconds``, or until ``stop``."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        """End this pause and all later ones."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether ``stop`` was called."""
        return self._stopping.is_set()


class ReconnectingSource:
    """A live source that is opened again whenever it fails, and never given up.

    ``read`` raises once when the camera is lost (also when it is absent at the start, or its
    pictures are frozen, black or of a wrong size), then, asked again, waits for the first good
    frame. Frames are numbered through; one of another size than before carries ``starts_new_clip``.

    Args:
        open_camera: opens the source, wherever it is by now.
        config: what pictures count as none.
        back_off: when to try again.
        pauser: who waits.
    """

    def __init__(
        self,
        open_camera: Callable[[], FrameSource],
        config: SourceConfig | None = None,
        back_off: BackOff | None = None,
        pauser: Pauser | None = None,
    ) -> None:
        self._open_camera = open_camera
        self._watch = PictureWatch(config or SourceConfig())
        self._back_off = back_off or BackOff()
        self._pauser = pauser or Pauser()
        self._source: FrameSource | None = None
        self._is_lost = False
        self._attempts = 0
        self._steady_since_s: float | None = None
        self._index = 0
        self._t_s = -math.inf
        self._size_hw: tuple[int, int] | None = None
        self._opened_s: float | None = None
        self._reason = ""
        self._dropped = 0
        self.progress_s = time.monotonic()
        """When it last did anything but wait for native code; monotonic seconds."""

    @property
    def fps(self) -> float | None:
        """The rate of the camera that is open now; None while there is none."""
        source = self._source
        return source.fps if source is not None else None

    @property
    def dropped(self) -> int:
        """Frames that the camera left out, however often it was opened."""
        source = self._source
        return self._dropped + (source.dropped if source is not None else 0)

    def read(self) -> Frame | None:
        """Return the next good frame, however long that takes; None once stopped.

        Raises:
            CameraError: the camera was lost just now; reading on waits for it.
            CameraStuckError: it cannot come back in this process.
        """
        while not self._pauser.is_stopping:
            try:
                frame = self._good_frame()
            except CameraStuckError:
                self._drop()
                raise
            except CameraError as error:
                self._drop()
                if self._note_loss(str(error)):
                    raise
                continue
            if frame is not None:
                return self._renumbered(frame)
        return None

    def stop(self) -> None:
        """End ``read`` soon, unless native code holds it; may be called by any thread."""
        self._pauser.stop()

    def close(self) -> None:
        """Release the camera."""
        self.stop()
        self._drop()

    def _good_frame(self) -> Frame | None:
        """Return a good frame; None for one that is still as bad as when the camera was lost."""
        if self._source is None:
            self._wait()
            if self._pauser.is_stopping:
                return None
            self._attempts += 1
            self._source = self._open_camera()
            self._opened_s = None
            self._watch.reopened()
        frame = self._source.read()
        self.progress_s = time.monotonic()
        if frame is None:
            raise CameraError("the camera ended")
        if self._opened_s is None:
            self._opened_s = frame.t_s
        fault = self._watch.judge(frame)
        if fault and self._is_lost and frame.t_s - self._opened_s < _WARM_UP_S:
            return None
        if fault:
            raise CameraError(f"the camera {fault}")
        return frame

    def _note_loss(self, reason: str) -> bool:
        """Return whether this is news: the first failure of an outage."""
        self.progress_s = time.monotonic()
        was_lost, self._is_lost = self._is_lost, True
        if was_lost and reason != self._reason:
            _log.warning("still no camera: %s", reason)
        self._reason = reason
        self._steady_since_s = None
        return not was_lost

    def _renumbered(self, frame: Frame) -> Frame:
        if self._is_lost:
            _log.info("the camera is back, after %d attempts", self._attempts)
            self._is_lost = False
        if self._steady_since_s is None:
            self._steady_since_s = frame.t_s
        elif frame.t_s - self._steady_since_s >= self._back_off.steady_s:
            self._attempts = 0
        self._t_s = max(frame.t_s, math.nextafter(self._t_s, math.inf))
        is_new_clip = self._size_hw not in {None, frame.size_hw}
        self._size_hw = frame.size_hw
        index, self._index = self._index, self._index + 1
        return msgspec.structs.replace(
            frame, index=index, t_s=self._t_s, starts_new_clip=frame.starts_new_clip or is_new_clip
        )

    def _wait(self) -> None:
        """Wait for the turn of the next attempt; the very first one has none to wait for."""
        remaining_s = self._back_off.delay_s(self._attempts - 1) if self._attempts else 0.0
        while remaining_s > 0 and not self._pauser.is_stopping:
            nap_s = min(remaining_s, _NAP_S)
            self._pauser.pause(nap_s)
            remaining_s -= nap_s
            self.progress_s = time.monotonic()

    def _drop(self) -> None:
        source, self._source = self._source, None
        if source is None:
            return
        self._dropped += source.dropped
        try:
            source.close()
        except CameraStuckError as error:
            if not error.is_ended:
                raise
            _log.warning("%s", error)
        except Exception:  # it is broken anyway
            _log.exception("closing the lost camera failed")
