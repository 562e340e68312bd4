"""The running service, for whoever may watch it: a socket, and nothing to do while nobody is there.

The socket speaks the page's own events (``edge.view.messages``), so `edgeemo view` passes them on
as they come. All work is done in a thread of its own, once for all watchers. A watcher is sent the
newest event when it has taken the one before: a slow one misses some, a dead one is let go.
"""

import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from edge.contract.logrecord import CameraLost, CameraRestored, Health, LogRecord, ServiceStarted
from edge.errors import ConfigError, SinkError
from edge.files import open_to_group
from edge.records import FrameResult
from edge.runtime.build import Runtime
from edge.service.daemon import Listener
from edge.sinks.fan_out import MultiSink
from edge.sinks.unix_socket import clear_socket
from edge.view import messages
from edge.view.faults import Faults
from edge.view.vitals import VITALS_S, Vitals

MOST_WATCHERS: Final = 16
HISTORY_S: Final = 600.0

_EVENTS_PER_S: Final = 10.0
_HISTORY_STEP_S: Final = 0.5
_KEEP_ALIVE_S: Final = 10.0
_STALL_S: Final = 20.0
_SEND_BYTES: Final = 128 << 10
_JOIN_S: Final = 2.0
_ABOUT: Final = ("device", "session", "version", "source", "model", "mesher", "runtime", "labels")


class LiveSocket:
    """Sends what the pipeline sees to all who are connected.

    Args:
        path: of the socket, mode 0660.
        pictures: send the pictures, too.
        dropped: tells how many frames the source has dropped.
        lost_records: tells how many records the log has lost.
    """

    def __init__(
        self,
        path: Path,
        *,
        pictures: bool = False,
        dropped: Callable[[], int] = lambda: 0,
        lost_records: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Listen.

        Raises:
            SinkError: the path is taken, or no socket can be made there.
        """
        self._path = path
        self._pictures = pictures
        self._faults = Faults()
        self._vitals = Vitals(dropped, lost_records, self._faults)
        self._lock = threading.Lock()
        self._history: deque[messages.Moment] = deque(maxlen=round(HISTORY_S / _HISTORY_STEP_S))
        self._newest: FrameResult | None = None
        self._outage: messages.Outage | None = None
        self._about: dict[str, Any] = {}
        self._is_ending = False
        self._watchers: list[_Watcher] = []  # changed by the thread alone
        # Below is the thread's own.
        self._sent_s = 0.0
        self._server = _listening(path)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="live-socket", daemon=True)
        self._thread.start()

    @property
    def watchers(self) -> int:
        """Pages that are attached."""
        return len(self._watchers)

    # In the pipeline's thread.

    def show(self, result: FrameResult) -> bool:
        """Take a result, as a listener of the service does; nothing here ends the run."""
        try:
            self._take(result)
        except Exception as error:
            self._faults.note(f"{type(error).__name__}: {error}")
        return True

    def _take(self, result: FrameResult) -> None:
        self._vitals.frames += 1
        last_s = self._history[-1][0] if self._history else -_HISTORY_STEP_S
        if result.frame.t_s - last_s >= _HISTORY_STEP_S or result.frame.t_s < last_s:
            self._history.append(messages.moment(result))
        if self._watchers:
            with self._lock:
                self._newest, self._outage = result, None
            self._call()

    def write(self, record: LogRecord) -> None:
        """Take note of what a record says of the service and its camera."""
        match record:
            case CameraLost():
                with self._lock:
                    self._outage = messages.Outage(record.reason, time.monotonic())
                    self._newest = None
            case CameraRestored():
                with self._lock:
                    self._outage = None
            case Health():
                self._vitals.fps_limit = record.fps_limit
                return
            case ServiceStarted():
                with self._lock:
                    self._about = {name: getattr(record, name) for name in _ABOUT}
                for watcher in list(self._watchers):
                    watcher.is_new = True  # a session has begun: hello once more
            case _:
                return
        self._call()

    def close(self) -> None:
        """Tell the watchers that this is the end, and go; harmless when repeated."""
        if self._is_ending:
            return
        self._is_ending = True
        self._call()
        self._thread.join(_JOIN_S)
        with suppress(OSError):
            self._path.unlink()

    def _call(self) -> None:
        with suppress(OSError):
            os.eventfd_write(self._wake, 1)

    # In the thread.

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._is_ending:
                try:
                    self._turn(selector)
                except Exception as error:  # a fault of the page must not end the service
                    self._faults.note(f"{type(error).__name__}: {error}")
                    time.sleep(1 / _EVENTS_PER_S)
            for watcher in list(self._watchers):
                watcher.offer(messages.ended(""))
                self._let_go(watcher, selector)
        self._server.close()
        os.close(self._wake)

    def _turn(self, selector: selectors.BaseSelector) -> None:
        """Wait for something, and do what it asks for."""
        for key, events in selector.select(self._patience_s()):
            if key.fileobj is self._server:
                self._let_in(selector)
            elif key.fileobj == self._wake:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
            else:
                self._attend(key.data, events, selector)
        self._send_newest()
        now_s = time.monotonic()
        for watcher in list(self._watchers):
            if watcher.has_stalled(now_s):
                self._let_go(watcher, selector)
                continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if watcher.rest else 0)
            if watcher.wanted != wanted:
                watcher.wanted = wanted
                selector.modify(watcher.socket, wanted, watcher)

    def _patience_s(self) -> float | None:
        """Return how long to wait: for ever while nobody watches."""
        if not self._watchers:
            return None
        rest_s = self._sent_s + 1 / _EVENTS_PER_S - time.monotonic()
        with self._lock:
            if self._newest is not None:
                return max(rest_s, 0.0)
        return VITALS_S

    def _send_newest(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            result, outage = self._newest, self._outage
            due_s = self._sent_s + (VITALS_S if outage else 1 / _EVENTS_PER_S)
            if now_s < due_s and not any(watcher.is_new for watcher in self._watchers):
                return
            self._newest = None
        if not self._watchers:
            return
        self._welcome()
        health = self._vitals.read(len(self._watchers))
        if outage is not None:
            event = messages.waiting(outage, now_s, health)
        elif result is not None:
            event = messages.seen(result, health, frames=self._pictures)
        elif now_s - self._sent_s >= _KEEP_ALIVE_S:
            event = messages.KEEP_ALIVE
        else:
            return
        self._sent_s = now_s
        for watcher in self._watchers:
            watcher.offer(event)

    def _welcome(self) -> None:
        with self._lock:
            about = dict(self._about)
        if not about:
            return  # nothing runs yet
        for watcher in self._watchers:
            if watcher.is_new and not watcher.rest:
                history = list(self._history)
                watcher.offer(messages.hello(about, frames=self._pictures, history=history))
                watcher.is_new = False

    def _let_in(self, selector: selectors.BaseSelector) -> None:
        with suppress(OSError):
            accepted, _ = self._server.accept()
            if len(self._watchers) >= MOST_WATCHERS:
                accepted.close()
                return
            watcher = _Watcher(accepted)
            self._watchers.append(watcher)
            selector.register(accepted, selectors.EVENT_READ, watcher)

    def _attend(self, watcher: "_Watcher", events: int, selector: selectors.BaseSelector) -> None:
        is_here = watcher.push() if events & selectors.EVENT_WRITE else True
        if events & selectors.EVENT_READ:
            is_here = is_here and watcher.is_here()
        if not is_here:
            self._let_go(watcher, selector)

    def _let_go(self, watcher: "_Watcher", selector: selectors.BaseSelector) -> None:
        if watcher in self._watchers:
            self._watchers.remove(watcher)
            selector.unregister(watcher.socket)
            watcher.socket.close()


class _Watcher:
    """One connection; it has at most one event on its way.

    Attributes:
        rest: what the other end has not taken yet.
        is_new: it has not been told what runs.
        wanted: the events that it is registered for.
    """

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
        self.socket = accepted
        self.rest = memoryview(b"")
        self.is_new = True
        self.wanted = selectors.EVENT_READ
        self._moved_s = time.monotonic()

    def offer(self, event: bytes) -> None:
        """Send an event, unless an earlier one is still on its way."""
        if not self.rest:
            self.rest = memoryview(event)
            self.push()

    def push(self) -> bool:
        """Send what the other end has room for; False: it has gone."""
        try:
            while self.rest:
                self.rest = self.rest[self.socket.send(self.rest) :]
                self._moved_s = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self.rest = memoryview(b"")
            return False
        return True

    def is_here(self) -> bool:
        """Tell whether the other end is still there, and silent: one that talks is let go.

        It could talk without end, and keep a core of the board busy with listening.
        """
        try:
            self.socket.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def has_stalled(self, now_s: float) -> bool:
        """Tell whether it has taken nothing for long, though there was something."""
        return bool(self.rest) and now_s - self._moved_s > _STALL_S


def open_live_socket(
    path: Path, parts: Runtime, stack: ExitStack
) -> tuple[Runtime, Sequence[Listener]]:
    """Put a socket beside opened parts; return them with it, and what it is to see.

    Raises:
        ConfigError: this system has none.
        SinkError: it cannot be made.
    """
    if sys.platform != "linux":
        raise ConfigError('live.socket: is for a service on Linux; leave it at "auto"')
    source, log = parts.source, parts.log
    live = LiveSocket(
        path,
        pictures=parts.config.live.pictures,
        dropped=lambda: source.dropped,
        lost_records=lambda: None if log is None else log.dropped,
    )
    stack.callback(live.close)
    sink = MultiSink(parts.sink, {"live": live})
    return msgspec.structs.replace(parts, sink=sink), [live.show]


def _listening(path: Path) -> socket.socket:
    clear_socket(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        server.bind(str(path))
        open_to_group(path)
        server.listen(MOST_WATCHERS)
        server.setblocking(False)
    except OSError as error:
        server.close()
        told = error.strerror or error  # a path that is too long has no number
        raise SinkError(f"live.socket {path}: no socket can be made there ({told})") from error
    return server
