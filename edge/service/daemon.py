"""The loop: frames through the pipeline, records into the sink, until told to stop."""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from edge.config import ThermalConfig
from edge.contract.logrecord import LogRecord
from edge.errors import CameraError, EdgeEmoError, SinkError
from edge.protocols import CountingSink, FrameSource, LiveSource
from edge.records import Frame, FrameResult
from edge.runtime.pipeline import Pipeline
from edge.service.attend import is_capturing, read_frames
from edge.service.marks import MarkRequest
from edge.service.notify import Notifier
from edge.service.reporter import Reporter
from edge.service.thermal import ThermalThrottle
from edge.service.threads import ThreadChoice
from edge.text import one_line

_log = logging.getLogger(__name__)

_MOST_WARNINGS: Final = 8
"""Of different reasons why faces are skipped."""

_OLDEST_MARK_S: Final = 60.0
"""A marker that says to be older is taken to be as old as that."""
_MOST_WAITING: Final = 64
"""So many markers wait for a camera's first frame."""

Listener = Callable[[FrameResult], bool]
"""Sees every result (a window, a video file); returning False asks the service to stop."""


class Reloaded(msgspec.Struct, frozen=True):
    """What takes over when the configuration is read again: the source and the sink stay.

    Attributes:
        reporter: of a new session, for other settings may give other answers.
        facts: of its ``service_started``.
        thermal: how much heat is borne from then on; None to leave it as it is.
        threads: chooses how many threads find faces; None where that is fixed.
    """

    pipeline: Pipeline
    reporter: Reporter
    facts: Mapping[str, Any]
    thermal: ThermalConfig | None = None
    threads: ThreadChoice | None = None


def _not_renewable() -> Reloaded:
    raise EdgeEmoError("this run cannot read its configuration again")


class Supervision(msgspec.Struct, frozen=True):
    """What whoever manages the service hears, and may ask for.

    Attributes:
        notifier: is told of the start, of progress, of reloads and of the end.
        renew: reads the configuration again; raises an ``EdgeEmoError`` to refuse.
        governor: limits the rate while the board is hot.
        marks: returns the markers that have arrived.
        threads: chooses how many threads find faces; None where that is fixed.
    """

    notifier: Notifier = msgspec.field(default_factory=Notifier)
    renew: Callable[[], Reloaded] = _not_renewable
    governor: ThermalThrottle | None = None
    marks: Callable[[], Iterable[MarkRequest]] = tuple
    threads: ThreadChoice | None = None


class ServiceSummary(msgspec.Struct, frozen=True):
    """What a run did.

    Attributes:
        reason: why it ended: ``end of source``, ``frame limit``, ``signal``, ``viewer``, or
            ``closed`` for one whose results nobody wants any more.
        seconds: time by label, over all tracks; unrelated pictures take none.
        faces: faces that took no time, as in pictures, by label.
        dropped_faces: faces that were found but made no sense.
        elapsed_s: wall-clock time from the first frame to the end.
    """

    reason: str
    frames: int
    tracks: int
    records: int
    dropped_records: int
    seconds: Mapping[str, float]
    faces: Mapping[str, int]
    dropped_faces: int
    elapsed_s: float

    @property
    def fps(self) -> float:
        """Frames processed per second of wall-clock time."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Service:
    """Runs a source through a pipeline into a sink.

    Whatever ends it (the source, a limit, a signal, an error), the open tracks end and
    ``service_stopped`` is written, with the reason. A loss that the source will recover from ends
    the tracks only.

    Args:
        source: where frames come from.
        pipeline: what happens to them.
        sink: where records go.
        reporter: makes the records.
        listeners: see every result.
        supervision: hears of the progress, as long as the capture is alive.

    Attributes:
        summary: what the run did; there when it has ended without an error.
    """

    summary: ServiceSummary

    def __init__(
        self,
        source: FrameSource,
        pipeline: Pipeline,
        sink: CountingSink,
        reporter: Reporter,
        listeners: Sequence[Listener] = (),
        supervision: Supervision | None = None,
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._sink = sink
        self._reporter = reporter
        self._listeners = listeners
        supervision = supervision or Supervision()
        self._notifier, self._renew = supervision.notifier, supervision.renew
        self._governor = supervision.governor or ThermalThrottle(ThermalConfig(high_c=0))
        self._marks = supervision.marks
        self._waiting: deque[MarkRequest] = deque(maxlen=_MOST_WAITING)
        self._threads = supervision.threads
        self._began_s = 0.0
        self._totals = _Totals()
        self._told_frames = 0
        self._faces_now = 0
        self._reload_asked = False
        self._refusal = ""
        self._stop_reason = ""
        self._warned: set[str] = set()
        self._dropped_records = 0
        self._first_frame_s: float | None = None
        self._t_s = 0.0
        self._captured_at: datetime | None = None
        self._lost_s: float | None = None

    def stop(self, reason: str) -> None:
        """Ask the loop to end after the current frame, or soon if none comes."""
        self._stop_reason = self._stop_reason or reason

    def reload(self) -> None:
        """Ask for the configuration to be read again before the next frame, or while none comes."""
        self._reload_asked = True

    def run(self, facts: Mapping[str, Any], max_frames: int | None = None) -> ServiceSummary:
        """Process frames until the end; see ``results``.

        Raises:
            CameraError: the source failed; ``camera_lost`` and ``service_stopped`` are written.
            BaseException: whatever else ended the loop, foreseen or not, an interrupt included;
                ``service_stopped`` is written with it.
        """
        # No result is kept, or two pictures would be in memory while the next one is made.
        deque(self.results(facts, max_frames), maxlen=0)
        return self.summary

    def results(
        self, facts: Mapping[str, Any], max_frames: int | None = None
    ) -> Generator[FrameResult, None, None]:
        """Process frames until the end; yield each result when its records are written.

        Closing the generator ends the run: its log says so. ``summary`` is there at its end.

        Args:
            facts: the fields of ``service_started`` that only the composition root knows.
            max_frames: stop after so many; None means no limit.

        Raises:
            CameraError: as ``run``.
            BaseException: as ``run``.
        """
        try:
            self._write([self._reporter.started(_now(), self._t_s, facts)])
            self._notifier.ready("waiting for the first frame")
            yield from self._loop(max_frames)
        except GeneratorExit:
            self.summary = self._end("closed")
            raise
        except BaseException as error:  # whatever it is, the log says why it ends here
            if isinstance(error, CameraError):
                self._write([self._reporter.camera_lost(_now(), self._t_s, _told(error))])
            try:
                self._end(f"error: {_told(error)}")
            except Exception as later:  # the first one is what must be known
                _log.error("and while it ended: %s", _told(later))
            raise
        self.summary = self._end(self._stop_reason or "end of source")

    def _loop(self, max_frames: int | None) -> Iterator[FrameResult]:
        for frame in self._frames():
            if self._first_frame_s is None:
                self._first_frame_s = time.perf_counter()
            self._began_s = time.monotonic()
            result = self._pipeline.process(frame)
            self._t_s, self._captured_at = frame.t_s, frame.captured_at
            dropped = self._source.dropped
            limit = self._governor.fps_limit
            self._write(self._reporter.frame(result, dropped, self._lost(), limit))
            self._warn_once(result.passed_over)
            for listener in self._listeners:
                if not listener(result):
                    self.stop("viewer")
            self._faces_now = len(result.faces)
            self._choose_threads()
            yield result
            if max_frames is not None and self._frames_seen >= max_frames:
                self.stop("frame limit")
            if self._stop_reason:
                return
            del frame, result  # or two pictures would be in memory while the next one is made

    def _choose_threads(self) -> None:
        """Take more threads, or fewer, where a camera's frames have shown the need."""
        if self._threads is None or not isinstance(self._source, LiveSource):
            return
        now_s = time.monotonic()
        is_hot = self._governor.fps_limit is not None
        if self._threads.note(now_s, now_s - self._began_s, is_hot=is_hot):
            self._pipeline.use_threads(self._threads.count)

    def _warn_once(self, reasons: Iterable[str]) -> None:
        for reason in set(reasons) - self._warned:
            if len(self._warned) == _MOST_WARNINGS:
                return
            self._warned.add(reason)
            _log.warning("a face is skipped, and so are others like it: %s", one_line(reason))

    def _frames(self) -> Iterator[Frame]:
        for event in read_frames(self._source, lambda: bool(self._stop_reason), self._due_s):
            self._governor.look(time.monotonic())
            if is_capturing(self._source, time.monotonic()):
                self._notifier.progress(self._status)
            if self._reload_asked:
                self._reload()
            self._take_marks()
            if isinstance(event, CameraError):
                self._lose(event)
            elif event is not None:
                self._restore(event)
                yield event
            del event

    def _take_marks(self, *, is_last: bool = False) -> None:
        """Write the markers that have arrived; what comes before the first frame waits for it."""
        now_s = time.monotonic()
        for mark in self._marks():
            made_s = min(max(mark.monotonic_s, now_s - _OLDEST_MARK_S), now_s)
            self._waiting.append(msgspec.structs.replace(mark, monotonic_s=made_s))
        if self._waiting and (self._captured_at is not None or is_last):
            self._write(map(self._marked, self._waiting))
            self._waiting.clear()

    def _marked(self, mark: MarkRequest) -> LogRecord:
        """Return a marker's record, dated by the last frame and by how much later it was made.

        A recording that is read as fast as it goes stands still meanwhile.
        """
        t_s, moment = self._t_s, self._captured_at or _now()
        if isinstance(self._source, LiveSource) and self._captured_at is not None:
            later_s = mark.monotonic_s - self._began_s
            t_s, moment = t_s + later_s, moment + timedelta(seconds=later_s)
        return self._reporter.marked(moment, t_s, mark.marker, mark.phase)

    def _due_s(self) -> float:
        return self._governor.due_s(self._began_s)

    def _lose(self, error: CameraError) -> None:
        """Record a loss that the source will recover from: whoever was in view is gone."""
        _log.warning("camera lost: %s", error)
        if self._lost_s is None:
            self._lost_s = time.monotonic()
        self._faces_now = 0
        self._write([self._reporter.camera_lost(_now(), self._t_s, _told(error))])
        self._write(self._reporter.finish(self._pipeline.finish()))

    def _restore(self, frame: Frame) -> None:
        if self._lost_s is not None:
            # From the last frame, where there was one: a stall is noticed late.
            since_s = self._t_s or self._lost_s
            self._lost_s = None
            self._write([self._reporter.camera_restored(frame, frame.t_s - since_s)])

    def _reload(self) -> None:
        """Change over to what the configuration says now; what it says wrongly changes nothing."""
        self._reload_asked = False
        self._notifier.reloading()
        try:
            renewal = self._renew()
        except Exception as error:  # the old configuration is better than none, whatever it is
            told = _told(error)
            _log.error("the configuration is refused, the old one stays: %s", told)
            _log.debug("", exc_info=error)
            # It stays in the status line: whoever asked for the reload may look later.
            self._refusal = f"; reload refused, going on as before: {told}"
            self._notifier.ready(self._refusal.removeprefix("; "))
            return
        self._refusal = ""
        self._end_session("reload")
        self._totals.add(self._reporter)
        renewal.reporter.continue_from(self._reporter)
        self._close_pipeline()
        self._pipeline, self._reporter = renewal.pipeline, renewal.reporter
        if renewal.threads is not None and self._threads is not None and self._threads.count > 1:
            self._pipeline.use_threads(renewal.threads.count)  # the mesher may be the old one
        self._threads = renewal.threads
        if renewal.thermal is not None:
            self._governor.reconfigure(renewal.thermal)
        self._write([self._reporter.started(_now(), self._t_s, renewal.facts)])
        _log.info("reloaded")
        self._notifier.ready("reloaded")

    def _close_pipeline(self) -> None:
        try:
            self._pipeline.close()
        except Exception as error:  # the new one is here, and the old one's models go anyhow
            _log.warning("the old models were not closed: %s", _told(error))

    @property
    def _frames_seen(self) -> int:
        return self._totals.frames + self._reporter.frames

    def _status(self, pause_s: float) -> str:
        frames = self._frames_seen
        rate = (frames - self._told_frames) / pause_s
        self._told_frames = frames
        lost = f", {count} records lost" if (count := self._lost()) else ""
        if self._lost_s is not None:
            return f"waiting for the camera, {frames} frames so far{lost}{self._refusal}"
        limit = self._governor.fps_limit
        hot = f" (at most {limit:g}, for its heat)" if limit else ""
        seen = f"{frames} frames, {rate:.1f} a second{hot}, {self._faces_now} faces now"
        return f"{seen}{lost}{self._refusal}"

    def _end_session(self, reason: str) -> None:
        try:
            self._write(self._reporter.finish(self._pipeline.finish()))
        finally:
            self._write([self._reporter.stopped(_now(), self._t_s, reason)])

    def _end(self, reason: str) -> ServiceSummary:
        self._notifier.stopping(reason)
        self._take_marks(is_last=True)
        elapsed_s = (
            time.perf_counter() - self._first_frame_s if self._first_frame_s is not None else 0.0
        )
        try:
            self._end_session(reason)
        finally:
            self._sink.close()  # only then is it known what got to the disk
        totals, lost = self._totals, self._lost()
        totals.add(self._reporter)
        return ServiceSummary(
            reason=reason,
            frames=totals.frames,
            tracks=totals.tracks,
            records=totals.records - lost,
            dropped_records=lost,
            seconds=dict(totals.seconds),
            faces=dict(totals.faces),
            dropped_faces=totals.dropped_faces,
            elapsed_s=elapsed_s,
        )

    def _lost(self) -> int:
        """Return how many records were refused by the sink, or dropped inside it."""
        return self._dropped_records + self._sink.dropped

    def _write(self, records: Iterable[LogRecord]) -> None:
        """Write records; one that the disk refuses is counted, and the camera goes on."""
        for record in records:
            try:
                self._sink.write(record)
            except SinkError as error:
                if not self._dropped_records:
                    _log.error("records are being lost: %s", error)
                self._dropped_records += 1


class _Totals(msgspec.Struct):
    """What the sessions of a run add up to."""

    frames: int = 0
    tracks: int = 0
    records: int = 0
    dropped_faces: int = 0
    seconds: Counter[str] = msgspec.field(default_factory=Counter)
    faces: Counter[str] = msgspec.field(default_factory=Counter)

    def add(self, reporter: Reporter) -> None:
        self.frames += reporter.frames
        self.tracks += reporter.tracks
        self.records += reporter.records
        self.dropped_faces += reporter.dropped_faces
        self.seconds.update(reporter.seconds)
        self.faces.update(reporter.faces)


def _told(error: BaseException) -> str:
    """Return an error in one line, with its kind where it is not one of ours."""
    told = str(error) if isinstance(error, EdgeEmoError) else f"{type(error).__name__}: {error}"
    return one_line(told)


def _now() -> datetime:
    return datetime.now(UTC)
