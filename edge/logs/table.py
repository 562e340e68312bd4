"""One record as one line for people."""

from typing import Annotated, Final, Literal, get_args

import msgspec

from edge.contract import logrecord
from edge.contract.labels import UNCERTAIN
from edge.contract.logrecord import KIND, LogRecord, decode_record, decoded
from edge.text import plain

HEADING: Final = f"{'time (UTC)':23}  {'device':14}  {'what':17}  detail"


def line_for_people(line: bytes) -> str:
    """Return a row of the table; what is no record is shown as it is, made harmless."""
    try:
        record = decode_record(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _other(line)
    time = plain(record.time.replace("T", " ").removesuffix("Z"), 23)
    kind, detail = describe(record)
    return f"{time:23}  {plain(record.device, 14):14}  {kind:17}  {detail}".rstrip()


class _Unknown(msgspec.Struct, frozen=True):
    """What is to be read of a record of a kind that only a later version knows."""

    kind: Annotated[str, msgspec.Meta(pattern=f"^{KIND}$")]
    schema: Literal[1]
    time: str
    monotonic_s: float
    seq: int
    session: str
    device: str


_unknown = msgspec.json.Decoder(_Unknown)
_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in get_args(LogRecord))


def _other(line: bytes) -> str:
    """Return the row of a line that is no record of this version."""
    try:
        record = decoded(line, _unknown)
    except msgspec.MsgspecError:
        record = None
    if record is None or record.kind in _KINDS:
        return f"{'':23}  {'':14}  {'not a record':17}  {plain(line.decode('utf-8', 'replace'))}"
    time = plain(record.time.replace("T", " ").removesuffix("Z"), 23)
    told = f"{time:23}  {plain(record.device, 14):14}  {plain(record.kind, 17):17}"
    return f"{told}  of a kind that this version does not know"


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
        case logrecord.FaceEvent():
            return f"#{record.track}", _done(record)
        case logrecord.Health():
            return "health", _health(record)
        case _:
            return _event(record)


Event = (
    logrecord.ServiceStarted
    | logrecord.ServiceStopped
    | logrecord.CameraLost
    | logrecord.CameraRestored
    | logrecord.Marker
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
        case logrecord.Marker():
            which = "" if record.phase == "point" else f" {record.phase}s"
            return "marker", f"{plain(record.marker)}{which}"
        case logrecord.CameraRestored():
            return "camera restored", f"after {record.outage_s:.1f} s"


def _done(record: logrecord.FaceEvent) -> str:
    name = record.event.replace("_", " ")
    much = ""
    if record.intensity is not None:
        much = f" {record.intensity:.0%}"
    elif record.degrees is not None:
        much = f" of {record.degrees:.0f} degrees"
    cut = "" if record.complete else ", its end was not seen"
    return f"{name}{much} for {record.duration_s:.2f} s{cut}"


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
    if record.disk_free_mb is not None:
        parts.append(f"{record.disk_free_mb:,.0f} MB of disk free")
    if record.dropped_faces:
        parts.append(f"{record.dropped_faces} faces skipped")
    return ", ".join(parts)
