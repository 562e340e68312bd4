"""The loop: frames through the pipeline, records into the sink, until told to stop."""

import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from edge.contract.logrecord import LogRecord
from edge.errors import CameraError, EdgeEmoError, SinkError
from edge.pipeline import Pipeline
from edge.protocols import FrameSource, Sink
from edge.records import Frame, FrameResult
from edge.service.attend import attended, is_capturing
from edge.service.reporter import Reporter

_log = logging.getLogger(__name__)

Listener = Callable[[FrameResult], bool]
"""Sees every result (a window, a video file); returning False asks the service to stop."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did.

    Attributes:
        reason: why it ended: ``end of source``, ``frame limit``, ``signal`` or ``viewer``.
        seconds: time by label, over all tracks.
        elapsed_s: wall-clock time from the first frame to the end.
    """

    reason: str
    frames: int
    tracks: int
    records: int
    dropped_records: int
    seconds: Mapping[str, float]
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
        heartbeat: called a few times a second, as long as the capture is alive.
    """

    def __init__(
        self,
        source: FrameSource,
        pipeline: Pipeline,
        sink: Sink,
        reporter: Reporter,
        listeners: Sequence[Listener] = (),
        heartbeat: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._sink = sink
        self._reporter = reporter
        self._listeners = listeners
        self._heartbeat = heartbeat
        self._stop_reason = ""
        self._dropped_records = 0
        self._first_frame_s: float | None = None
        self._t_s = 0.0
        self._lost_s: float | None = None

    def stop(self, reason: str) -> None:
        """Ask the loop to end after the current frame."""
        self._stop_reason = self._stop_reason or reason

    def run(self, facts: Mapping[str, Any], max_frames: int | None = None) -> RunSummary:
        """Process frames until the end.

        Args:
            facts: the fields of ``service_started`` that only the composition root knows.
            max_frames: stop after so many; None means no limit.

        Raises:
            CameraError: the source failed; ``camera_lost`` and ``service_stopped`` are written.
            InferenceError: the mesher or the classifier failed; ``service_stopped`` is written.
        """
        self._write([self._reporter.started(_now(), self._t_s, facts)])
        try:
            reason = self._loop(max_frames)
        except EdgeEmoError as error:
            if isinstance(error, CameraError):
                self._write([self._reporter.camera_lost(_now(), self._t_s, str(error))])
            self._end(f"error: {error}")
            raise
        return self._end(reason)

    def _loop(self, max_frames: int | None) -> str:
        for frame in self._frames():
            if self._first_frame_s is None:
                self._first_frame_s = time.perf_counter()
            result = self._pipeline.process(frame)
            self._t_s = frame.t_s
            dropped = getattr(self._source, "dropped", 0)
            self._write(self._reporter.frame(result, dropped, self._dropped_records))
            for listener in self._listeners:
                if not listener(result):
                    self.stop("viewer")
            if max_frames is not None and self._reporter.frames >= max_frames:
                return "frame limit"
            if self._stop_reason:
                break
            del frame, result  # or two pictures would be in memory while the next one is made
        return self._stop_reason or "end of source"

    def _frames(self) -> Iterator[Frame]:
        for event in attended(self._source, lambda: bool(self._stop_reason)):
            if is_capturing(self._source, time.monotonic()):
                self._heartbeat()
            if isinstance(event, CameraError):
                self._lose(event)
            elif event is not None:
                self._restore(event)
                yield event
            del event

    def _lose(self, error: CameraError) -> None:
        """Record a loss that the source will recover from: whoever was in view is gone."""
        _log.warning("camera lost: %s", error)
        if self._lost_s is None:
            self._lost_s = time.monotonic()
        self._write([self._reporter.camera_lost(_now(), self._t_s, str(error))])
        self._write(self._reporter.finish(self._pipeline.finish()))

    def _restore(self, frame: Frame) -> None:
        if self._lost_s is not None:
            # From the last frame, where there was one: a stall is noticed late.
            since_s = self._t_s or self._lost_s
            self._lost_s = None
            self._write([self._reporter.camera_restored(frame, frame.t_s - since_s)])

    def _end(self, reason: str) -> RunSummary:
        elapsed_s = (
            time.perf_counter() - self._first_frame_s if self._first_frame_s is not None else 0.0
        )
        reporter = self._reporter
        self._write(reporter.finish(self._pipeline.finish()))
        self._write([reporter.stopped(_now(), self._t_s, reason)])
        return RunSummary(
            reason=reason,
            frames=reporter.frames,
            tracks=reporter.tracks,
            records=reporter.records - self._dropped_records,
            dropped_records=self._dropped_records,
            seconds=dict(reporter.seconds),
            elapsed_s=elapsed_s,
        )

    def _write(self, records: Iterable[LogRecord]) -> None:
        """Write records; one that the disk refuses is counted, and the camera goes on."""
        for record in records:
            try:
                self._sink.write(record)
            except SinkError as error:
                if not self._dropped_records:
                    _log.error("records are being lost: %s", error)
                self._dropped_records += 1


@contextmanager
def stop_on_signals(service: Service) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the service cleanly inside the block.

    The first signal asks; a second one of SIGINT interrupts at once, for a camera that hangs.
    """

    def on_signal(number: int, _: FrameType | None) -> None:
        service.stop("signal")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _log.info("stopping on %s", signal.Signals(number).name)

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> datetime:
    return datetime.now(UTC)
