"""From frame results to log records: what is worth writing, and when."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.config import LogConfig
from edge.contract import logrecord
from edge.contract.logrecord import LogRecord, Phase, Quality
from edge.records import EndedTrack, FaceEvent, FaceResult, Frame, FrameResult
from edge.service.emotion_fields import box_of, emotion_fields
from edge.system import machine
from edge.text import escaped, utc_text


class Stay(msgspec.Struct):
    """How long a face showed each emotion: one definition, for the run that sees it and its log.

    A label holds from the frame in which it was taken on until the frame in which the next one was,
    and the last one until the frame in which the face was last seen: what follows, until the face
    is known to have left, is nobody's. A face that was seen in one frame only, as in a picture,
    spent no time; it counts as one face, wholly for its label. ``edgeemo.analysis.held`` is the
    same in SQL.

    Attributes:
        label: what it shows now.
        seen_s: when it was last seen.
        seconds: how long it has shown each label.
    """

    label: str
    seen_s: float
    seconds: dict[str, float] = msgspec.field(default_factory=dict)

    def see(self, label: str, t_s: float) -> None:
        """Take note of the face's next frame."""
        shown_s = self.seconds.get(self.label, 0.0)
        self.seconds[self.label] = shown_s + t_s - self.seen_s
        self.label, self.seen_s = label, t_s

    def shares(self) -> dict[str, float]:
        """Return each label's share of the time, which sum to 1."""
        total_s = sum(self.seconds.values())
        if total_s <= 0:
            return {self.label: 1.0}
        return {label: s / total_s for label, s in self.seconds.items()}


_log = logging.getLogger(__name__)


class _TrackDiary(msgspec.Struct):
    """What a ``track_ended`` record needs."""

    stay: Stay
    quality: Quality
    seen_at: datetime
    written_s: float = -math.inf


class Reporter:
    """Turns results into records, with sequence numbers.

    Times come from the frames. The one thing read from the machine is the health of this process.

    Args:
        session: its id.
        device: its name in every record.
        config: what is reported, and how often.
        first_seq: the number of the first record, which continues those of earlier runs.
        log_dir: where the log is; None without one.

    Attributes:
        frames: frames seen.
        tracks: tracks started.
        records: records made.
        seconds: time by label over all tracks that have ended.
        faces: those of them that spent no time, as in pictures, by label.
        dropped_faces: faces that were found but made no sense, over all frames.
        failed_readings: how often the machine's memory could not be read.
    """

    def __init__(
        self,
        session: str,
        device: str,
        config: LogConfig,
        *,
        first_seq: int = 0,
        log_dir: Path | None = None,
    ) -> None:
        self._session = session
        self._device = device
        self._config = config
        self._first_seq = first_seq
        self._log_dir = log_dir
        self._diaries: dict[int, _TrackDiary] = {}
        self._health_s: float | None = None
        self._health_frames = 0
        self._fps_limit: float | None = None
        self._stage_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.frames = 0
        self.tracks = 0
        self.records = 0
        self.seconds: Counter[str] = Counter()
        self.faces: Counter[str] = Counter()
        self.dropped_faces = 0
        self.failed_readings = 0
        self._rss_mb = 0.0

    @property
    def next_seq(self) -> int:
        """The number of the next record."""
        return self._first_seq + self.records

    def continue_from(self, earlier: "Reporter") -> None:
        """Number the records on from those of an earlier session of the same log."""
        self._first_seq = earlier.next_seq

    def started(self, moment: datetime, t_s: float, facts: Mapping[str, Any]) -> LogRecord:
        """Return the ``service_started`` record."""
        return logrecord.ServiceStarted(**self._header(moment, t_s), **facts)

    def frame(
        self,
        result: FrameResult,
        dropped_frames: int = 0,
        dropped_records: int = 0,
        fps_limit: float | None = None,
    ) -> Iterator[LogRecord]:
        """Yield the records that a frame gives rise to."""
        self.frames += 1
        self.dropped_faces += len(result.passed_over)
        yield from self.finish(result.ended)
        for face in result.faces:
            yield from self._face(result, face)
        for event in result.events:
            yield self._event(event)
        for stage, ms in result.stage_ms.items():
            self._stage_ms[stage].append(ms)
        has_changed, self._fps_limit = fps_limit != self._fps_limit, fps_limit
        if self._health_due(result.frame.t_s) or has_changed:
            yield self._health(result.frame, dropped_frames, dropped_records)

    def camera_lost(self, moment: datetime, t_s: float, reason: str) -> LogRecord:
        """Return the record of a source that failed."""
        return logrecord.CameraLost(**self._header(moment, t_s), reason=reason)

    def camera_restored(self, frame: Frame, outage_s: float) -> LogRecord:
        """Return the record of a source that gives frames again, dated by the first of them."""
        header = self._header(frame.captured_at, frame.t_s)
        return logrecord.CameraRestored(**header, outage_s=round(max(outage_s, 0.0), 3))

    def finish(self, ended: tuple[EndedTrack, ...]) -> Iterator[LogRecord]:
        """Yield the ends of tracks; of one whose faces were all skipped nothing is said."""
        for track in ended:
            if track.track_id in self._diaries:
                for event in track.events:
                    yield self._event(event)
                yield self._ended(track)

    def marked(self, moment: datetime, t_s: float, text: str, phase: Phase) -> LogRecord:
        """Return the record of a marker."""
        return logrecord.Marker(**self._header(moment, t_s), marker=text, phase=phase)

    def stopped(self, moment: datetime, t_s: float, reason: str) -> LogRecord:
        """Return the ``service_stopped`` record, which counts itself."""
        header = self._header(moment, t_s)
        return logrecord.ServiceStopped(
            **header,
            reason=reason,
            frames=self.frames,
            tracks=self.tracks,
            records=self.records,
        )

    def _face(self, result: FrameResult, face: FaceResult) -> Iterator[LogRecord]:
        track_id, t_s = face.track.track_id, result.frame.t_s
        label = face.state.label
        diary = self._diaries.get(track_id)
        if diary is None:
            self.tracks += 1
            diary = self._diaries[track_id] = _TrackDiary(
                Stay(label, t_s), face.quality, result.frame.captured_at
            )
            yield self._started_track(result.frame, face)
        due = t_s - diary.written_s >= self._config.interval_s
        changed = (label, face.quality) != (diary.stay.label, diary.quality)
        diary.stay.see(label, t_s)
        diary.quality, diary.seen_at = face.quality, result.frame.captured_at
        if changed or due or self._config.emit == "frame":
            diary.written_s = t_s
            yield self._emotion(result, face)

    def _started_track(self, frame: Frame, face: FaceResult) -> LogRecord:
        return logrecord.TrackStarted(
            **self._header(frame.captured_at, frame.t_s),
            track=face.track.track_id,
            box=box_of(face),
            frame=frame.index,
            file=escaped(frame.name) if frame.name is not None else None,
        )

    def _emotion(self, result: FrameResult, face: FaceResult) -> LogRecord:
        frame, details = result.frame, self._config.details
        return logrecord.Emotion(
            **self._header(frame.captured_at, frame.t_s),
            **emotion_fields(frame, result.latency_ms, face, details),
        )

    def _event(self, event: FaceEvent) -> LogRecord:
        return logrecord.FaceEvent(
            **self._header(event.started_at, event.start_s),
            track=event.track_id,
            event=event.name,
            duration_s=round(event.end_s - event.start_s, 4),
            intensity=None if event.intensity is None else round(event.intensity, 3),
            degrees=None if event.degrees is None else round(event.degrees, 1),
            frame=event.frame,
            complete=event.complete,
        )

    def _ended(self, track: EndedTrack) -> LogRecord:
        diary = self._diaries.pop(track.track_id)
        stay = diary.stay
        self.seconds.update(stay.seconds)
        if not any(stay.seconds.values()):
            self.faces[stay.label] += 1
        return logrecord.TrackEnded(
            **self._header(diary.seen_at, stay.seen_s),
            track=track.track_id,
            duration_s=round(track.last_seen_s - track.started_s, 3),
            shares={label: round(share, 4) for label, share in stay.shares().items()},
        )

    def _health_due(self, t_s: float) -> bool:
        if self._health_s is None:
            self._health_s = t_s
        return t_s - self._health_s >= self._config.health_interval_s

    def _health(self, frame: Frame, dropped_frames: int, dropped_records: int) -> LogRecord:
        elapsed_s = frame.t_s - (self._health_s or 0.0)
        fps = (self.frames - self._health_frames) / elapsed_s if elapsed_s > 0 else 0.0
        stage_ms = {stage: round(float(np.median(ms)), 2) for stage, ms in self._stage_ms.items()}
        self._health_s, self._health_frames = frame.t_s, self.frames
        self._stage_ms.clear()
        return logrecord.Health(
            **self._header(frame.captured_at, frame.t_s),
            fps=round(fps, 2),
            stage_ms=stage_ms,
            frames=self.frames,
            dropped_frames=dropped_frames,
            dropped_records=dropped_records,
            dropped_faces=self.dropped_faces,
            rss_mb=self._rss(),
            temperature_c=machine.temperature_c(),
            throttled=machine.throttled(),
            fps_limit=self._fps_limit,
            disk_free_mb=self._disk_free(),
        )

    def _disk_free(self) -> float | None:
        free_mb = machine.free_mb(self._log_dir) if self._log_dir else None
        return None if free_mb is None else round(free_mb)

    def _rss(self) -> float:
        """Return the resident memory in MB; the last that could be read, if it cannot be now."""
        try:
            self._rss_mb = round(machine.rss_mb(), 1)
        except OSError as error:  # no descriptor left, say: a run does not end for that
            self.failed_readings += 1
            if self.failed_readings == 1:
                _log.warning("memory cannot be read (%s); health keeps the last value", error)
        return self._rss_mb

    def _header(self, moment: datetime, t_s: float) -> dict[str, Any]:
        header = {
            "time": utc_text(moment),
            "monotonic_s": round(t_s, 4),
            "seq": self.next_seq,
            "session": self._session,
            "device": self._device,
        }
        self.records += 1
        return header
