"""The sink: a bounded queue, and the thread that writes."""

import errno
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Final

from edge.config import LogConfig
from edge.contract.logrecord import LogRecord, encode_record
from edge.errors import SinkError
from edge.files import NotRegularError
from edge.sinks.jsonl.appender import Appender
from edge.sinks.jsonl.tidy import Archiver

_log = logging.getLogger(__name__)

_FSYNC_INTERVAL_S: Final = 1.0
QUEUE_RECORDS: Final = 4096
GRACE_S: Final = 10.0
"""How long the end of a run waits for a disk that hangs."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DEFAULTS: Final = LogConfig()

_Line = tuple[int, bytes]
"""A record's number, and the record."""


class JsonlSink:
    """Writes records to a log directory without ever keeping the caller waiting.

    A record that the disk does not take is dropped, counted and told of; the next one is tried
    again. The queue holds what comes while the disk is slow; what does not fit is dropped, too.

    Attributes:
        path: the file that is being written.
        recovered_bytes: bytes of a torn last line that were cut off at the start.
        next_seq: the sequence number that continues those of earlier runs.
    """

    def __init__(self, directory: Path, config: LogConfig = _DEFAULTS) -> None:
        """Open or make the directory and its file, and repair it.

        Args:
            directory: where the files are.
            config: how they are written and kept.

        Raises:
            SinkError: it cannot be made, written or repaired, or another process writes there.
        """
        self._appender = Appender(directory, config.rotate_bytes)
        self.path = self._appender.path
        try:
            self._appender.open()
        except (OSError, SinkError) as error:
            self._appender.close()
            if isinstance(error, SinkError):
                raise
            if isinstance(error, NotRegularError):
                raise SinkError(
                    f"{error.filename}: {error.strerror}; {error.remedy}, or choose another "
                    "--log-dir"
                ) from error
            raise SinkError(
                f"{self.path}: cannot be written ({error.strerror}); choose another --log-dir"
            ) from error
        self.recovered_bytes = self._appender.recovered_bytes
        self.next_seq = self._appender.next_seq
        self._fsync = config.fsync
        self._queue: queue.SimpleQueue[_Line | threading.Event | None] = queue.SimpleQueue()
        self._taken = self._written = self.next_seq - 1  # the highest numbers so far
        self._losses = Losses(self.path)
        self._overflow = 0
        self._synced_s = time.monotonic()
        self._is_dirty = False
        self._is_closed = False
        self._failure: BaseException | None = None
        self._archiver = Archiver(directory, config)
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Records that were lost since the start, for want of space or of time."""
        return self._overflow + self._losses.count

    @property
    def waiting(self) -> int:
        """Records that were taken and not given to the disk yet."""
        return self._queue.qsize()

    def write(self, record: LogRecord) -> None:
        """Take one record; it is on its way to the file when this returns.

        Raises:
            SinkError: the sink is closed.
            RuntimeError: the writing thread died of a defect.
        """
        if self._failure is not None:
            raise RuntimeError(f"{self.path}: the writer died") from self._failure
        if self._is_closed:
            raise SinkError(f"{self.path}: is closed")
        self._taken = max(self._taken, record.seq)
        if self.waiting >= QUEUE_RECORDS:
            self._overflow += 1
            return
        self._queue.put((record.seq, encode_record(record)))

    def flush(self, timeout_s: float = GRACE_S) -> bool:
        """Wait until what was written so far is on the disk; False when that takes too long."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(timeout_s)

    def close(self) -> None:
        """Bring everything to the disk and give the directory free; harmless when repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self._queue.put(None)
        self._thread.join(GRACE_S)
        if self._thread.is_alive():
            waiting = self.waiting
            self._overflow += waiting
            _log.error("%s: the disk hangs; %d records are lost", self.path, waiting)
        self._archiver.close(GRACE_S)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._losses.end(self.dropped)
            if self._taken > self._written:
                self._appender.leave_out(self._taken + 1)
            self._appender.close()

    def _step(self) -> bool:
        """Do the next thing: write a record, or sync; False at the end."""
        try:
            item = self._queue.get(timeout=self._wait_s())
        except queue.Empty:
            self._sync()
            return True
        if isinstance(item, tuple):
            self._append(*item)
            # Records that came while the disk was busy share one sync.
            is_caught_up = self._fsync == "always" and self._queue.empty()
            if is_caught_up or self._wait_s() == 0:
                self._sync()
            return True
        self._sync()
        if item is not None:
            item.set()
        return item is not None

    def _wait_s(self) -> float | None:
        """Return the seconds until a sync is due, or None without one."""
        if self._fsync == "never" or not self._is_dirty:
            return None
        return max(0.0, self._synced_s + _FSYNC_INTERVAL_S - time.monotonic())

    def _append(self, number: int, line: bytes) -> None:
        try:
            if self._appender.append(line):
                self._archiver.wake()
        except (OSError, SinkError) as error:
            self._losses.add(error)
            self._appender.leave_out(self._taken + 1)
            if isinstance(error, OSError) and error.errno in _FULL:
                self._archiver.wake()
            return
        self._is_dirty = True
        self._written = max(self._written, number)
        self._losses.over(self.dropped)

    def _sync(self) -> None:
        if not self._is_dirty:
            return
        try:
            self._appender.sync()
        except OSError as error:
            _log.error("%s: could not be synced (%s)", self.path, error.strerror)
        self._synced_s = time.monotonic()
        self._is_dirty = False


_INTERVAL_S: Final = 10.0


class Losses:
    """What the disk refused; ``dropped`` in its methods is the count that a reader is told.

    Attributes:
        count: records refused since the start.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path
        self._told = 0
        self._is_open = False
        self._spoke_s = -_INTERVAL_S

    def add(self, error: OSError | SinkError) -> None:
        """Count a refused record; the first of an outage is told, but never many in a row."""
        self.count += 1
        if not self._is_open and self._may_speak():
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error("%s: records are being lost: %s", self._path, reason)
            self._is_open = True

    def over(self, dropped: int) -> None:
        """Note that a record was taken, after ``dropped`` were lost since the start."""
        if dropped > self._told and (self._is_open or self._may_speak()):
            lost = dropped - self._told
            _log.warning("%s: records are written again; %d were lost", self._path, lost)
            self._told, self._is_open = dropped, False

    def end(self, dropped: int) -> None:
        """Tell how many were lost since that was last told."""
        if dropped > self._told:
            _log.warning("%s: %d records were lost", self._path, dropped - self._told)
            self._told = dropped

    def _may_speak(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._spoke_s < _INTERVAL_S:
            return False
        self._spoke_s = now_s
        return True
