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
    ``service_stopped`` is written, with the reason.
    """

    def __init__(
        self,
        source: FrameSource,
        pipeline: Pipeline,
        sink: Sink,
        reporter: Reporter,
        listeners: Sequence[Listener] = (),
    ) -> None:
        self._source = source
        self._pipeline = pipeline
        self._sink = sink
        self._reporter = reporter
        self._listeners = listeners
        self._stop_reason = ""
        self._dropped_records = 0
        self._first_frame_s: float | None = None
        self._t_s = 0.0

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
            self._write(self._reporter.frame(result, dropped, self._lost()))
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
        while not self._stop_reason and (frame := self._source.read()) is not None:
            yield frame
            del frame

    def _end(self, reason: str) -> RunSummary:
        elapsed_s = (
            time.perf_counter() - self._first_frame_s if self._first_frame_s is not None else 0.0
        )
        reporter = self._reporter
        self._write(reporter.finish(self._pipeline.finish()))
        self._write([reporter.stopped(_now(), self._t_s, reason)])
        self._sink.close()  # only then is it known what got to the disk
        lost = self._lost()
        return RunSummary(
            reason=reason,
            frames=reporter.frames,
            tracks=reporter.tracks,
            records=reporter.records - lost,
            dropped_records=lost,
            seconds=dict(reporter.seconds),
            elapsed_s=elapsed_s,
        )

    def _lost(self) -> int:
        """Return how many records were refused by the sink, or dropped inside it."""
        return self._dropped_records + int(getattr(self._sink, "dropped", 0))

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
