"""Between the pipeline's thread and the server's: the newest result, and nothing older.

The pipeline hands a reference over and goes on; all work for viewers is done in the server's
thread, once for all of them. There is no queue: a viewer is given the newest event when it is
ready for one, so a slow one misses events and a vanished one costs nothing.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any, Final

from edge.contract.logrecord import CameraLost, FaceEvent, Health, LogRecord, Marker
from edge.records import FrameResult
from edge.view import messages
from edge.view.faults import Faults
from edge.view.vitals import VITALS_S, Vitals

MAX_VIEWERS: Final = 64
HISTORY_S: Final = 60.0

_EVENTS_PER_S: Final = 10.0
_HISTORY_STEP_S: Final = 0.25
_KEEP_ALIVE_S: Final = 10.0
_MOST_NOTES: Final = 200
_NOTED_S: Final = 5.0
"""How long a note goes with every frame's event, for viewers that miss some."""


class Broadcast:
    """Gives any number of viewers the newest event; a slow one misses some.

    Attributes:
        faults: what went wrong, for the viewers only.
        viewers: how many are watching.
    """

    def __init__(self) -> None:
        self.faults = Faults()
        self.viewers = 0
        self._changed = asyncio.Condition()
        self._number = 0
        self._event = b""
        self._hellos = 0
        self._ended = False

    @property
    def is_full(self) -> bool:
        """Tell whether one more viewer is one too many."""
        return self.viewers >= MAX_VIEWERS

    def publish(self, result: FrameResult) -> None:
        """Take a result, where this process has any."""

    def end(self, reason: str) -> None:
        """Tell the viewers that there will be no more: ``reason`` is an error, or nothing."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make events inside the block."""
        work = asyncio.create_task(self._work())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Yield the events of one viewer: hello, then always the newest, until the run ends."""
        sent, greeted = self._number, 0
        self.viewers += 1
        self._join()
        try:
            while True:
                if self._hellos != greeted:
                    greeted = self._hellos
                    yield self._hello()
                if self._number != sent:
                    sent = self._number
                    if self._event:
                        yield self._event
                    continue
                if self._ended:
                    return
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_S), self._changed:
                        while self._number == sent:
                            await self._changed.wait()
                except TimeoutError:
                    yield messages.KEEP_ALIVE
        finally:
            self.viewers -= 1

    def _join(self) -> None:
        """Take note of a new viewer."""

    def _hello(self) -> bytes:
        """Return what a viewer is told first, and again when ``_hellos`` has risen."""
        raise NotImplementedError

    async def _work(self) -> None:
        """Post events until cancelled."""
        raise NotImplementedError

    async def _post(self, event: bytes, *, is_last: bool = False) -> None:
        async with self._changed:
            if not self._ended:  # a frame that was on its way does not hide the end
                self._number += 1
                self._event = event
                self._ended = is_last
                self._changed.notify_all()


class Hub(Broadcast):
    """Gives what the pipeline sees to any number of viewers; also a ``Sink``, see ``write``.

    Args:
        about: facts for the page: device, session, source, model and so on.
        frames: send the pictures, too.
        dropped: tells how many frames the source has dropped.
        lost_records: tells how many records the log has lost; None without a log.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        *,
        frames: bool,
        dropped: Callable[[], int] = lambda: 0,
        lost_records: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__()
        self._hellos = 1
        self._about = about
        self._frames = frames
        self._vitals = Vitals(dropped, lost_records, self.faults)
        self._lock = threading.Lock()
        self._history: deque[messages.Moment] = deque(maxlen=round(HISTORY_S / _HISTORY_STEP_S))
        self._notes: deque[messages.Note] = deque(maxlen=_MOST_NOTES)
        self._noted = 0
        self._newest: FrameResult | None = None
        self._outage: messages.Outage | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # In the pipeline's thread.

    def publish(self, result: FrameResult) -> None:
        """Take a result; never waits for a viewer or for the server."""
        self._vitals.frames += 1
        with self._lock:
            self._outage = None
            last_s = self._history[-1][0] if self._history else -_HISTORY_STEP_S
            if result.frame.t_s - last_s >= _HISTORY_STEP_S:
                self._history.append(messages.moment(result))
            # A picture is kept for as long as it takes to send it, and only while someone watches.
            self._newest = result if self.viewers else None
        if self.viewers:
            self._call(self._wake.set)

    def write(self, record: LogRecord) -> None:
        """Take note of what no frame's result tells: a lost camera, the heat's limit, events."""
        match record:
            case CameraLost():
                self.lose(record.reason)
            case Health():
                self.hold(record.fps_limit)
            case FaceEvent():
                end_s = record.monotonic_s + record.duration_s
                self.note("event", record.monotonic_s, end_s, record.event.replace("_", " "))
            case Marker():
                which = "" if record.phase == "point" else f" {record.phase}s"
                at_s = record.monotonic_s
                self.note("marker", at_s, at_s, f"{record.marker}{which}")
            case _:
                pass

    def close(self) -> None:
        """Close nothing: the server ends what viewers see."""

    def lose(self, reason: str) -> None:
        """Take note that the camera is lost, until a frame comes."""
        with self._lock:
            self._outage = messages.Outage(reason, time.monotonic())
            self._newest = None  # whatever was on its way is older
        self._call(self._wake.set)

    def note(self, kind: str, start_s: float, end_s: float, text: str) -> None:
        """Put an event or a marker onto the timeline; times are the frames'."""
        with self._lock:
            self._noted += 1
            self._notes.append((self._noted, round(start_s, 3), round(end_s, 3), kind, text))

    def hold(self, fps_limit: float | None) -> None:
        """Take note of how many frames a second the heat allows; None for as many as there are."""
        self._vitals.fps_limit = fps_limit

    def end(self, reason: str) -> None:
        """Tell the viewers that there will be no more: ``reason`` is an error, or nothing."""
        self._call(lambda: self._finish(reason))

    def _call(self, action: Callable[[], None]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                self._loop.call_soon_threadsafe(action)

    # In the server's thread.

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make events of results inside the block."""
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with super().running():
            yield

    def _hello(self) -> bytes:
        with self._lock:
            history, notes = list(self._history), list(self._notes)
        return messages.hello(self._about, frames=self._frames, history=history, notes=notes)

    async def _work(self) -> None:
        while not self._ended:
            await self._woken()
            try:
                await self._serve_newest()
            except Exception as error:
                self.faults.note(f"{type(error).__name__}: {error}")
                await asyncio.sleep(1 / _EVENTS_PER_S)

    async def _serve_newest(self) -> None:
        with self._lock:
            result, self._newest = self._newest, None
            outage, notes = self._outage, list(self._notes)
        if outage is not None and self.viewers:
            health = self._vitals.read(self.viewers)
            await self._post(messages.waiting(outage, time.monotonic(), health))
        elif result is not None:
            health = self._vitals.read(self.viewers)
            new = [note for note in notes if result.frame.t_s - note[2] <= _NOTED_S]
            await self._post(messages.seen(result, health, frames=self._frames, notes=new))
            del result  # or its picture would be kept for as long as nobody watches
            await asyncio.sleep(1 / _EVENTS_PER_S)

    async def _woken(self) -> None:
        """Wait for news; while the camera is lost, no longer than a second."""
        with self._lock:
            limit_s = VITALS_S if self._outage is not None else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._wake.wait()
        self._wake.clear()

    def _finish(self, reason: str) -> None:
        self._last = asyncio.ensure_future(self._post(messages.ended(reason), is_last=True))
