"""The records that edgeemo publishes: JSON Lines, one object a line.

``docs/log-schema.json`` is generated from these classes (``make schema``) and the tests hold the
two together. Fields are only ever added within a schema version.
"""

import inspect
from typing import Annotated, Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, UnsetType

SCHEMA_VERSION: Final = 1
KIND: Final = "[a-z][a-z_]{0,39}"
"""What names of kinds look like, also those of later versions, as a regular expression."""

_MOST: Final = 10**12
"""No count, time or measurement of a device comes near it: what lies beyond is no record."""

Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
Number = Annotated[float, msgspec.Meta(ge=-_MOST, le=_MOST)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
Box = tuple[Number, Number, Number, Number]
Quality = Literal["ok", "too_small", "too_turned", "too_dark", "too_blurred"]
"""Whether a face could be read, and if not, what was wrong with it."""
EventName = Literal[
    "blink",
    "eyes_closed",
    "smile",
    "brow_raise",
    "brow_furrow",
    "mouth_open",
    "nod",
    "shake",
    "look_away",
]
EVENTS: Final[tuple[EventName, ...]] = get_args(EventName)
Phase = Literal["point", "start", "end"]
"""Whether a marker stands for a moment, or for the beginning or end of something."""


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every record carries.

    Attributes:
        schema: version of the record format.
        time: UTC, ISO 8601 with milliseconds: when the frame was taken, or the event happened.
        monotonic_s: the source's monotonic clock, unaffected by clock changes; a recording's own
            time for a recording, 0 before the first frame.
        seq: rises by one per record, over all sessions in one log directory, whatever the clock
            does; a gap is a lost record.
        session: random id of this run of edgeemo.
        device: the name of the device.
    """

    schema: Literal[1] = SCHEMA_VERSION
    time: str
    monotonic_s: Number
    seq: Count
    session: str
    device: str


class HeadPose(msgspec.Struct, frozen=True):
    """Head rotation in degrees; zero when facing the camera."""

    yaw: Number
    pitch: Number
    roll: Number


class EyeOpenness(msgspec.Struct, frozen=True):
    """Height of the lids' gap as a share of the eye's width, of the subject's right and left eye.

    About 0.3 for an open eye and below 0.15 for a closed one; it differs between people.
    """

    right: Number
    left: Number


class ServiceStarted(Header, frozen=True, kw_only=True, tag="service_started"):
    """edgeemo runs: with which version, source, model and settings.

    Attributes:
        study, participant, condition: as the configuration has them; ``participant`` may be
            personal data, see `edgeemo logs forget`.
        calibration: whom the model was calibrated for, and on what; absent for one as packaged.
    """

    version: str
    source: str
    model: str
    model_sha256: str
    mesher: str
    runtime: str
    labels: tuple[str, ...]
    recovered_bytes: Count = 0
    study: str | None = None
    participant: str | None = None
    condition: str | None = None
    calibration: str | UnsetType = UNSET


class TrackStarted(Header, frozen=True, kw_only=True, tag="track_started"):
    """A face came into view."""

    track: Count
    box: Box
    frame: Count
    file: str | None = None


class Emotion(Header, frozen=True, kw_only=True, tag="emotion"):
    """The steady emotion of a track.

    Attributes:
        label: an emotion, or ``uncertain``.
        confidence: ``scores[label]``, the smoothed score of the label that is shown. While another
            emotion is about to take over, it can be below that one's score; 0 for ``uncertain``.
        scores: smoothed score by label; they sum to 1. Empty for a face that was not classified.
        box: x1, y1, x2, y2 of the mesh in frame pixels.
        latency_ms: processing time of the frame, capture excluded.
        quality: ``ok``, or why the face was not classified in this frame; its label is then
            ``uncertain``.
        eyes: how far each eye is open; when asked for by ``log.details``, as what follows.
        blendshapes: MediaPipe's 52 coefficients of facial movement by name.
        mesh: the 478 points: x, y in frame pixels, z in the same unit, smaller is nearer.
    """

    track: Count
    label: str
    confidence: Score
    scores: dict[str, Score]
    box: Box
    head_pose: HeadPose | None
    frame: Count
    latency_ms: Number
    file: str | None = None
    quality: Quality = "ok"
    eyes: EyeOpenness | UnsetType = UNSET
    blendshapes: dict[str, Score] | UnsetType = UNSET
    mesh: tuple[tuple[Number, Number, Number], ...] | UnsetType = UNSET


class TrackEnded(Header, frozen=True, kw_only=True, tag="track_ended"):
    """A face left: how long it stayed and the share of that time by label.

    Dated by the frame in which it was last seen; written when it is known to stay away.

    Attributes:
        duration_s: from the face's very first frame, before it was confirmed, to its last.
        shares: of the time from ``track_started`` to this record, by label; of a face that was seen
            in one frame only, 1 for its label.
    """

    track: Count
    duration_s: Seconds
    shares: dict[str, Score]


class FaceEvent(Header, frozen=True, kw_only=True, tag="event"):
    """A face did something; docs/events.md has the rules.

    Dated by its beginning; written when it is over.

    Attributes:
        event: what it did.
        duration_s: from its beginning to its end.
        intensity: its most, in [0, 1]; null for what the head does.
        degrees: how far a nod or a shake swung; null for the others.
        frame: the frame that it began in.
        complete: its end was seen; else the face was lost, hidden or cut off meanwhile.
    """

    track: Count
    event: EventName
    duration_s: Seconds
    intensity: Score | None
    degrees: Number | None
    frame: Count
    complete: bool = True


class Marker(Header, frozen=True, kw_only=True, tag="marker"):
    """Somebody marked a moment, by ``edgeemo logs mark``, a key, or the live page.

    Attributes:
        marker: the text that was given.
        phase: whether it is a moment, or the beginning or end of something.
    """

    marker: str
    phase: Phase


class Health(Header, frozen=True, kw_only=True, tag="health"):
    """How edgeemo itself is doing, since the last such record.

    Attributes:
        fps: frames processed per second.
        stage_ms: median milliseconds by stage.
        frames: frames processed since start.
        dropped_frames: frames that the camera gave and nobody had time for, since start.
        dropped_records: records that could not be written, since start.
        dropped_faces: faces that were found but skipped, for their points or scores were not
            numbers or made no sense, since start.
        rss_mb: resident memory, in MB of 10**6 bytes.
        temperature_c: SoC temperature, where the machine tells.
        throttled: the Pi's throttling bits, where the machine tells.
        fps_limit: the most frames per second that the heat allows now; null without a limit. A
            change is told at once.
        disk_free_mb: left on the disk of the log, in MB of 10**6 bytes; null without a log.
    """

    fps: Number
    stage_ms: dict[str, Number]
    frames: Count
    dropped_frames: Count
    dropped_records: Count
    rss_mb: Number
    temperature_c: Number | None
    throttled: str | None
    fps_limit: Number | None = None
    dropped_faces: Count = 0
    disk_free_mb: Number | None = None


class CameraLost(Header, frozen=True, kw_only=True, tag="camera_lost"):
    """The source stopped giving frames."""

    reason: str


class CameraRestored(Header, frozen=True, kw_only=True, tag="camera_restored"):
    """The source gives frames again."""

    outage_s: Seconds


class ServiceStopped(Header, frozen=True, kw_only=True, tag="service_stopped"):
    """edgeemo ended: why, and what it did."""

    reason: str
    frames: Count
    tracks: Count
    records: Count


LogRecord = (
    ServiceStarted
    | TrackStarted
    | Emotion
    | TrackEnded
    | FaceEvent
    | Marker
    | Health
    | CameraLost
    | CameraRestored
    | ServiceStopped
)

_Form = TypeVar("_Form")

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[LogRecord] = msgspec.json.Decoder(LogRecord)


def encode_record(record: LogRecord) -> bytes:
    """Return the record as one line of JSON with its newline.

    A name that is no UTF-8, such as a file's, is written with its bytes escaped.
    """
    try:
        return _encoder.encode(record) + b"\n"
    except UnicodeEncodeError:
        return _encoder.encode(_utf8(msgspec.to_builtins(record))) + b"\n"


def _utf8(value: Any) -> Any:
    """Return what JSON can hold of plain values: strings without lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_utf8(key): _utf8(item) for key, item in value.items()}
    return [_utf8(item) for item in value] if isinstance(value, list | tuple) else value


def decode_record(line: bytes) -> LogRecord:
    """Parse one line.

    Raises:
        msgspec.MsgspecError: not a record of this schema.
    """
    return decoded(line, _decoder)


def decoded(line: bytes, decoder: msgspec.json.Decoder[_Form]) -> _Form:
    """Parse one line of a log by a decoder, whatever it holds.

    Raises:
        msgspec.MsgspecError: it is not of that form.
    """
    try:
        return decoder.decode(line)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not a record ({error})") from error


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a line."""
    schema = msgspec.json.schema(LogRecord)
    for definition in schema["$defs"].values():
        # Python 3.13 strips the indentation of docstrings, earlier ones do not.
        definition["description"] = inspect.cleandoc(definition["description"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgeemo log record",
        **schema,
    }
