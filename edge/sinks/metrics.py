"""How the run does, as a text file in Prometheus' format, for an agent that reads such files.

No port is opened: node-exporter's textfile collector, Grafana Alloy or Telegraf reads the file. It
is replaced as a whole each time, so a reader meets no half of one.
"""

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import msgspec

from edge.contract import logrecord
from edge.contract.logrecord import LogRecord
from edge.errors import SinkError
from edge.files import create_anew

_Kind = Literal["gauge", "counter"]
_MODE: Final = 0o644

METRICS: Final[dict[str, tuple[_Kind, str]]] = {
    "edgeemo_up": ("gauge", "1 while edgeemo runs, 0 once it has stopped."),
    "edgeemo_info": ("gauge", "Always 1; what runs, as labels."),
    "edgeemo_start_time_seconds": ("gauge", "When the session began, since 1970."),
    "edgeemo_last_record_time_seconds": ("gauge", "Time of the newest record, since 1970."),
    "edgeemo_camera_up": ("gauge", "1 while the source gives frames, 0 while it is lost."),
    "edgeemo_camera_outages_total": ("counter", "How often the source was lost."),
    "edgeemo_camera_outage_seconds_total": ("counter", "How long, of the outages that are over."),
    "edgeemo_frames_total": ("counter", "Frames processed."),
    "edgeemo_frames_per_second": ("gauge", "Frames processed a second, in the last interval."),
    "edgeemo_fps_limit": ("gauge", "Frames a second that the heat allows; absent without a limit."),
    "edgeemo_stage_seconds": ("gauge", "Median time of a frame in each stage, last interval."),
    "edgeemo_dropped_frames_total": ("counter", "Frames that nobody had time for."),
    "edgeemo_dropped_records_total": ("counter", "Records that could not be written."),
    "edgeemo_dropped_faces_total": ("counter", "Faces that made no sense and were skipped."),
    "edgeemo_resident_memory_bytes": ("gauge", "Memory of the process."),
    "edgeemo_log_disk_free_bytes": ("gauge", "Left on the disk of the log."),
    "edgeemo_temperature_celsius": ("gauge", "Temperature of the board, where it tells."),
    "edgeemo_throttled": ("gauge", "1 while the firmware has slowed the board, where it tells."),
    "edgeemo_faces": ("gauge", "Faces in view."),
    "edgeemo_tracks_total": ("counter", "Faces that came into view."),
    "edgeemo_face_seconds_total": ("counter", "How long faces that have left showed each label."),
    "edgeemo_records_total": ("counter", "Records by kind."),
}
"""Every metric: its type and what it says. Counters begin at 0 with the process."""

_Labels = tuple[tuple[str, str], ...]


class _State(msgspec.Struct):
    """What the records have told so far."""

    values: dict[str, float] = {}
    info: dict[str, str] = {}
    stages: dict[str, float] = {}
    records: Counter[str] = msgspec.field(default_factory=Counter)
    seconds: defaultdict[str, float] = msgspec.field(default_factory=lambda: defaultdict(float))
    ended: Counter[str] = msgspec.field(default_factory=Counter)
    """Counters of sessions that are over: a reload must not set them back."""


class MetricsSink:
    """Sums records up and writes the file at each ``health``, start, stop and outage.

    Args:
        path: the file; its folder must be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _State()
        self._faces: set[int] = set()

    def write(self, record: LogRecord) -> None:
        """Take a record.

        Raises:
            SinkError: the file cannot be written.
        """
        state = self._state
        state.records[type(record).__struct_config__.tag] += 1  # type: ignore[index]
        state.values["edgeemo_last_record_time_seconds"] = _seconds(record.time)
        match record:
            case logrecord.TrackStarted():
                self._faces.add(record.track)
                state.values["edgeemo_tracks_total"] = self._count("edgeemo_tracks_total") + 1
            case logrecord.TrackEnded():
                self._faces.discard(record.track)
                for label, share in record.shares.items():
                    state.seconds[label] += share * record.duration_s
            case (
                logrecord.Health()
                | logrecord.ServiceStarted()
                | logrecord.ServiceStopped()
                | logrecord.CameraLost()
                | logrecord.CameraRestored()
            ):
                self._event(record)
                self._replace()
            case _:
                pass

    def close(self) -> None:
        """Leave the file as it is: ``service_stopped`` has been its last word."""

    def _event(self, record: LogRecord) -> None:
        values = self._state.values
        match record:
            case logrecord.Health():
                self._health(record)
            case logrecord.ServiceStarted():
                self._begin(record)
            case logrecord.ServiceStopped():
                values["edgeemo_up"] = 0
            case logrecord.CameraLost():
                name = "edgeemo_camera_outages_total"
                values |= {"edgeemo_camera_up": 0, name: self._count(name) + 1}
            case logrecord.CameraRestored():
                name = "edgeemo_camera_outage_seconds_total"
                values |= {"edgeemo_camera_up": 1, name: self._count(name) + record.outage_s}

    def _begin(self, record: logrecord.ServiceStarted) -> None:
        """A session's own counters begin at 0: those of earlier ones are kept beside them."""
        state = self._state
        for name in _OF_SESSION:
            state.ended[name] = round(self._count(name))
        self._faces.clear()
        state.info = {
            name: getattr(record, name)
            for name in ("version", "device", "source", "model", "mesher", "runtime")
        }
        state.values |= {
            "edgeemo_up": 1,
            "edgeemo_start_time_seconds": _seconds(record.time),
            "edgeemo_camera_up": state.values.get("edgeemo_camera_up", 1),
        }

    def _health(self, record: logrecord.Health) -> None:
        values = self._state.values
        self._state.stages = {stage: ms / 1000 for stage, ms in record.stage_ms.items()}
        values |= {
            "edgeemo_camera_up": 1,
            "edgeemo_frames_per_second": record.fps,
            "edgeemo_resident_memory_bytes": record.rss_mb * 1e6,
            "edgeemo_frames_total": record.frames + self._state.ended["edgeemo_frames_total"],
            "edgeemo_dropped_faces_total": record.dropped_faces
            + self._state.ended["edgeemo_dropped_faces_total"],
            "edgeemo_dropped_frames_total": record.dropped_frames,
            "edgeemo_dropped_records_total": record.dropped_records,
        }
        free_bytes = None if record.disk_free_mb is None else record.disk_free_mb * 1e6
        throttled = None if record.throttled is None else record.throttled not in {"0", "0x0"}
        for name, value in (
            ("edgeemo_fps_limit", record.fps_limit),
            ("edgeemo_log_disk_free_bytes", free_bytes),
            ("edgeemo_temperature_celsius", record.temperature_c),
            ("edgeemo_throttled", throttled),
        ):
            values.pop(name, None)
            if value is not None:
                values[name] = float(value)

    def _count(self, name: str) -> float:
        return self._state.values.get(name, 0)

    def _replace(self) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        try:
            with create_anew(part, _MODE) as file:
                if sys.platform != "win32":
                    os.fchmod(file.fileno(), _MODE)
                file.write(self._text().encode())
            part.replace(self._path)
        except OSError as error:
            raise SinkError(
                f"metrics.textfile {self._path}: cannot be written ({error.strerror}); expected a "
                "file in a folder where edgeemo may write, see docs/metrics.md"
            ) from error

    def _text(self) -> str:
        state = self._state
        labelled: dict[str, Mapping[_Labels, float]] = {
            "edgeemo_info": {tuple(state.info.items()): 1} if state.info else {},
            "edgeemo_faces": {(): len(self._faces)},
            "edgeemo_stage_seconds": _by("stage", state.stages),
            "edgeemo_face_seconds_total": _by("label", state.seconds),
            "edgeemo_records_total": _by("kind", state.records),
        }
        lines: list[str] = []
        for name, (kind, text) in METRICS.items():
            one: Mapping[_Labels, float]
            one = {(): state.values[name]} if name in state.values else {}
            samples = labelled.get(name, one)
            if samples:
                lines += [
                    f"# HELP {name} {text}",
                    f"# TYPE {name} {kind}",
                    *_samples(name, samples),
                ]
        return "\n".join(lines) + "\n"


_OF_SESSION: Final = ("edgeemo_frames_total", "edgeemo_dropped_faces_total")


def _by(label: str, values: Mapping[str, float]) -> dict[_Labels, float]:
    return {((label, name),): value for name, value in sorted(values.items())}


def _samples(name: str, samples: Mapping[_Labels, float]) -> Iterable[str]:
    for labels, value in samples.items():
        told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
        yield f"{name}{{{told}}} {value:.12g}" if told else f"{name} {value:.12g}"


def _escaped(text: str) -> str:
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text if c != "\n")
    return plain.replace("\\", "\\\\").replace('"', '\\"')


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
