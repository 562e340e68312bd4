"""One record as one line for people."""

from typing import Final

import msgspec

from edge.contract import logrecord
from edge.contract.labels import UNCERTAIN
from edge.contract.logrecord import LogRecord, decode_record
from edge.logs.plain import plain

HEADING: Final = f"{'time (UTC)':23}  {'device':14}  {'what':17}  detail"


def line_for_people(line: bytes) -> str:
    """Return a row of the table; what is no record is shown as it is, made harmless."""
    try:
        record = decode_record(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return f"{'':23}  {'':14}  {'not a record':17}  {plain(line.decode('utf-8', 'replace'))}"
    time = plain(record.time.replace("T", " ").removesuffix("Z"), 23)
    kind, detail = describe(record)
    return f"{time:23}  {plain(record.device, 14):14}  {kind:17}  {detail}".rstrip()


def describe(record: LogRecord) -> tuple[str, str]:
    """Return what a record is about, and what it says."""
    match record:
        case logrecord.Emotion():
            name = f" in {plain(record.file, 40)}" if record.file else ""
            label = plain(record.label, 12)
            sure = f"{record.confidence:4.0%}" if record.label != UNCERTAIN else ""
            told = sure if record.quality == "ok" else record.quality.replace("_", " ")
            return f"#{record.track}", f"{label:12} {told}{name}".rstrip()
        case logrecord.TrackStarted():
            return f"#{record.track}", "came into view"
        case logrecord.TrackEnded():
            shares = sorted(record.shares.items(), key=lambda item: -item[1])
            told = ", ".join(f"{plain(label, 12)} {share:.0%}" for label, share in shares[:3])
            return f"#{record.track}", f"left after {record.duration_s:.1f} s: {told}"
        case logrecord.Health():
            return "health", _health(record)
        case _:
            return _event(record)


Event = (
    logrecord.ServiceStarted
    | logrecord.ServiceStopped
    | logrecord.CameraLost
    | logrecord.CameraRestored
)


def _event(record: Event) -> tuple[str, str]:
    match record:
        case logrecord.ServiceStarted():
            recovered = record.recovered_bytes
            torn = f", {recovered} bytes of a torn line cut off" if recovered else ""
            source = plain(record.source)
            return (
                "started",
                f"{plain(record.version, 20)} on {source}, {plain(record.model)}{torn}",
            )
        case logrecord.ServiceStopped():
            return "stopped", f"{plain(record.reason)}; {record.frames} frames"
        case logrecord.CameraLost():
            return "camera lost", plain(record.reason)
        case logrecord.CameraRestored():
            return "camera restored", f"after {record.outage_s:.1f} s"


def _health(record: logrecord.Health) -> str:
    parts = [f"{record.fps:.1f} frames/s", f"{sum(record.stage_ms.values()):.1f} ms"]
    parts.append(f"{record.rss_mb:.0f} MB")
    if record.temperature_c is not None:
        parts.append(f"{record.temperature_c:.0f} °C")
    if record.throttled not in (None, "0", "0x0"):
        parts.append(f"throttled {plain(record.throttled, 12)}")
    if record.fps_limit is not None:
        parts.append(f"at most {record.fps_limit:g} frames/s for its heat")
    parts.append(f"lost {record.dropped_frames} frames, {record.dropped_records} records")
    if record.dropped_faces:
        parts.append(f"{record.dropped_faces} faces passed over")
    return ", ".join(parts)
