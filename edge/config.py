"""The device's configuration: frozen structs, read from TOML, with every problem told at once."""

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from edge.contract.logrecord import EVENTS, EventName
from edge.errors import ConfigError
from edge.files import read_bounded

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Interval = Annotated[float, msgspec.Meta(ge=0.001, le=86_400)]
Rate = Annotated[float, msgspec.Meta(ge=0.01, le=1_000)]
RateOrNone = Annotated[float, msgspec.Meta(ge=0, le=1_000)]
Pixels = Annotated[int, msgspec.Meta(ge=1, le=16_384)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0.01, le=1)]
Angle = Annotated[float, msgspec.Meta(ge=0.1, le=180)]
Tau = Annotated[float, msgspec.Meta(ge=0, le=2)]
"""Bounds as in ``edge.contract.decision``, which needs NumPy."""
Degrees = Annotated[float, msgspec.Meta(ge=0, le=180)]
Celsius = Annotated[float, msgspec.Meta(ge=0, le=150)]
Megabytes = Annotated[float, msgspec.Meta(ge=0, le=100_000_000)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=16)]
Faces = Annotated[int, msgspec.Meta(ge=1, le=100)]
Frames = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
_PLAIN: Final = r"^[^\x00-\x1f\x7f]*\Z"
Text = Annotated[
    str,
    msgspec.Meta(
        max_length=4_096,
        pattern=_PLAIN,
        description="text of at most 4,096 characters, no control characters among them",
    ),
]
Name = Annotated[
    str,
    msgspec.Meta(
        max_length=255,
        pattern=_PLAIN,
        description="text of at most 255 characters, no control characters among them",
    ),
]
Emit = Literal["change", "frame"]
MesherKind = Literal["auto", "litert", "mediapipe"]
Reach = Literal["near", "far"]
Precision = Literal["auto", "full"]
MeshThreads = Literal["auto", 1, 2, 3, 4]
Fsync = Literal["always", "interval", "never"]
Detail = Literal["eyes", "blendshapes", "mesh"]
EventChoice = Literal["all", EventName]
Reconnect = Literal["auto", "always", "never"]
Compress = Literal["gzip", "none"]
Baseline = Literal["none", "track"]
Flip = Literal["none", "horizontal", "vertical"]
FieldOfView = Literal["full", "fast"]
OtherSink = Annotated[
    str,
    msgspec.Meta(
        max_length=4_096,
        pattern=r"^(journald|stdout|(fifo|unix):[^\x00-\x1f\x7f]+)\Z",
        description='at most 16 of "journald", "stdout", "fifo:PATH", "unix:PATH"',
    ),
]

_MOST_BYTES: Final = 65_536
"""Of a file; the example, with every key and its comment, has 5,000."""
_LONGEST_LINE: Final = 5_000
"""Linux knows no longer path than 4,096. The cost of a dotted key grows with its square."""
_MOST_PROBLEMS: Final = 20


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are errors."""


class SourceConfig(_Section, frozen=True):
    """``[source]``: where frames come from.

    Attributes:
        spec: an index, a device path, ``picamera``, ``auto`` (CSI first), a video file, a folder
            of pictures, a stream's URL, ``demo``, ``demo:moods`` (its expression changes),
            ``demo:events`` (it blinks, smiles and nods at known times), or ``demo:live`` (moods,
            endless and in real time).
        width, height, fps: asked of a camera, which may give something else (it is logged).
        image_fps: a folder's pictures are a sequence at this rate; unset, each one stands alone.
        every_n: only every n-th frame is looked at.
        realtime: a recording is given at the speed at which it was made, as a camera would: frames
            that come while another one is worked on are dropped. Otherwise as fast as it goes.
        reconnect: whether a camera or stream that is absent or fails is tried again for ever;
            ``auto`` does so when a service manager started edgeemo.
        frozen_s: a camera that gives one and the same picture for so long has failed; 0: never.
        black_s: and one that gives nothing but black.
        rotation: degrees clockwise by which the pictures of a camera or stream are turned. One that
            libcamera knows to be mounted upside down needs none.
        flip: how they are mirrored then: ``horizontal``, as a mirror does, or ``vertical``.
        field_of_view: of a ribbon camera: ``full`` sees all that the sensor sees, at the rates that
            this allows; ``fast`` mostly a part of the middle, at higher rates.
        focus_m: distance in metres that a ribbon camera's lens is set to; unset, it follows the
            scene. Of cameras with a lens that can be moved.
    """

    spec: Text = "0"
    width: Pixels = 640
    height: Pixels = 480
    fps: Rate = 30.0
    image_fps: Rate | None = None
    every_n: Frames = 1
    realtime: bool = False
    reconnect: Reconnect = "auto"
    frozen_s: Seconds = 30.0
    black_s: Seconds = 30.0
    rotation: Literal[0, 90, 180, 270] = 0
    flip: Flip = "none"
    field_of_view: FieldOfView = "full"
    focus_m: Annotated[float, msgspec.Meta(ge=0.03, le=1_000)] | None = None


class MesherConfig(_Section, frozen=True):
    """``[mesher]``: how faces are found. Thresholds are the landmarker's, in [0, 1].

    Attributes:
        kind: ``litert`` runs the models on the TFLite runtime, everywhere; ``mediapipe`` is the
            reference, for laptops and a Pi 5; ``auto`` is ``litert``.
        max_faces: the most faces to follow.
        min_detection: what a detection must score.
        min_presence: what a mesh must score to be a face.
        min_tracking: how much two regions must overlap to be the same face.
        idle_fps: how often to look while nobody is there; 0 looks at every frame. A face that is
            lost is searched for at once, whatever this says. ``litert`` only.
        tracking_fps: how often faces that move are meshed at most, whatever the camera's rate; a
            face that keeps still is meshed ten times a second. 0: in every frame, as with events
            and with ``log.emit = "frame"``.
        reach: ``near`` finds faces from about a tenth of the picture's longer side on; ``far`` also
            looks in overlapping tiles, and finds them from a fifteenth of its shorter side on (32
            pixels of 640x480). ``litert`` only; docs/mesh.md says what it costs.
        blendshapes: compute the 52 coefficients of facial movement, too; always done for a model
            that takes them.
        precision: ``full``, or ``auto``: meshes in half precision where the processor computes so,
            as that of a Pi 5, for two fifths fewer instructions. How far its points differ has
            not been measured on all films yet, so it is not the default. ``litert`` only.
        threads: CPU threads that find faces. ``auto`` is one, and two while one does not keep up
            with the camera, a core is idle and the board is not hot. ``litert`` only.
    """

    kind: MesherKind = "auto"
    max_faces: Faces = 4
    min_detection: Fraction = 0.5
    min_presence: Fraction = 0.5
    min_tracking: Fraction = 0.5
    idle_fps: RateOrNone = 0.0
    tracking_fps: RateOrNone = 15.0
    reach: Reach = "near"
    blendshapes: bool = False
    precision: Precision = "full"
    threads: MeshThreads = "auto"

    def __post_init__(self) -> None:
        if self.reach == "far" and self.kind == "mediapipe":
            raise ValueError(
                'reach = "far" needs kind = "litert" (or "auto"), got "mediapipe", whose '
                "landmarker looks at whole pictures only; leave reach out, or use --mesher litert"
            )


class ModelConfig(_Section, frozen=True):
    """``[model]``: the classifier.

    Attributes:
        bundle: a directory made by ``edgeemo convert``; empty means the packaged default.
        threads: CPU threads of one inference.
        interval_s: a face is classified at most every so many seconds, 0 for every frame. With
            ``log.emit = "frame"`` it is every frame.
        tau: how much of the training samples' prior is taken away, 0 to 2: the more, the more often
            rare emotions are named. Unset, it is the bundle's own.
    """

    bundle: Text = ""
    threads: Threads = 1
    interval_s: Seconds = 0.125
    tau: Tau | None = None


class TrackerConfig(_Section, frozen=True):
    """``[tracker]``: when a face is the same face.

    Attributes:
        max_gap_s: a face unseen for longer is gone.
        confirm_hits: frames that a new face must be seen in before it is reported.
        max_jump: how far a face may move between two frames, in face widths.
    """

    max_gap_s: Seconds = 1.5
    confirm_hits: Frames = 2
    max_jump: Annotated[float, msgspec.Meta(ge=0.01, le=1_000)] = 1.5


class QualityConfig(_Section, frozen=True):
    """``[quality]``: which faces are classified; the others are logged with what is wrong.

    ``benchmarks/fit_faces.py`` tells what a model makes of faces beyond, and
    ``benchmarks/fit_quality.py`` found the last two. 0, or 180 for an angle, asks for nothing.

    Attributes:
        min_width_px: width of the mesh's box, in pixels of the frame.
        max_yaw_deg: how far the head may be turned to a side.
        max_pitch_deg: and up or down.
        min_brightness: mean grey level of the middle of the face, 0 to 255.
        min_contrast_to_noise: how many times its noise a face's contrast is: what is left of a face
            when a camera turns up its gain in the dark.
        min_sharpness: share of the face's contrast that lies in the finest details of the crop that
            the classifier sees, 0 to 1.
    """

    min_width_px: Annotated[float, msgspec.Meta(ge=0, le=16_384)] = 20.0
    max_yaw_deg: Degrees = 55.0
    max_pitch_deg: Degrees = 40.0
    min_brightness: Annotated[float, msgspec.Meta(ge=0, le=255)] = 30.0
    min_contrast_to_noise: Annotated[float, msgspec.Meta(ge=0, le=100)] = 1.3
    min_sharpness: Fraction = 0.036


class SmoothingConfig(_Section, frozen=True):
    """``[smoothing]``: how scores become a steady label.

    Attributes:
        half_life_s: after this time a past score weighs half.
        dwell_s: another emotion must lead for this long before the label changes.
        margin: and by this much.
        min_confidence: below it the label is ``uncertain``.
        baseline: ``track`` takes what a face looks like at rest off the scores of its track.
    """

    half_life_s: Seconds = 0.3
    dwell_s: Seconds = 0.3
    margin: Fraction = 0.1
    min_confidence: Fraction = 0.4
    baseline: Baseline = "none"


class EventsConfig(_Section, frozen=True):
    """``[events]``: what faces do, as named events in the log; docs/events.md has the rules.

    Attributes:
        detect: which events; empty: none, and nothing is computed for them. ``all`` is all.
        blink_aspect: a blink brings the lids' gap below this share of what it was just before.
        blink_shape: the mean of both blink coefficients that closed eyes come to; a blink raises it
            by 0.4 of that at least.
        smile, brow_raise, brow_furrow, mouth_open: the mean of the coefficients that begins one.
        hysteresis: it ends when the value is below by this share.
        hold_s: for so long must a change last to count. Blinks, nods and shakes need none.
        nod_deg, shake_deg: how far the head swings.
        away_yaw_deg, away_pitch_deg: a head that is turned further looks away.
    """

    detect: Annotated[tuple[EventChoice, ...], msgspec.Meta(max_length=16)] = ()
    blink_aspect: Share = 0.78
    blink_shape: Share = 0.25
    smile: Share = 0.5
    brow_raise: Share = 0.4
    brow_furrow: Share = 0.4
    mouth_open: Share = 0.35
    hysteresis: Fraction = 0.3
    hold_s: Annotated[float, msgspec.Meta(ge=0, le=10)] = 0.2
    nod_deg: Angle = 7.0
    shake_deg: Angle = 8.0
    away_yaw_deg: Angle = 30.0
    away_pitch_deg: Angle = 25.0

    @property
    def names(self) -> tuple[EventName, ...]:
        """The events that are asked for, each once."""
        return EVENTS if "all" in self.detect else tuple(e for e in EVENTS if e in self.detect)


class StudyConfig(_Section, frozen=True):
    """``[study]``: what every session's first record says about who was recorded, and why.

    Attributes:
        id: of the study.
        participant: a code, not a name: it is personal data. `edgeemo logs forget` removes it.
        condition: under which they were recorded.
    """

    id: Name = ""
    participant: Name = ""
    condition: Name = ""


class LogConfig(_Section, frozen=True):
    """``[log]``: what is written where.

    Attributes:
        dir: the directory of ``edgeemo.jsonl`` and of the files before it.
        device: the name in every record; empty means the host name.
        emit: ``change`` writes an emotion when it changes and every ``interval_s``; ``frame``
            writes every frame's.
        health_interval_s: how often a ``health`` record is written.
        details: what else an emotion tells: ``eyes``, ``blendshapes``, ``mesh``. A mesh takes
            about 9 KB a record.
        fsync: ``always`` (records that come during a sync share the next one), ``interval`` (a
            record is on the disk within a second) or ``never`` (when the kernel likes).
        rotate_mb: a file is closed before it grows beyond this, and at midnight UTC. MB here and
            below are 10**6 bytes.
        compress: closed files are compressed, ``gzip`` or ``none``.
        keep_mb: the oldest closed files are removed when all files together take more.
        keep_days: closed files are removed when their last record is older; 0 keeps them. Only by
            a clock that is known to be right, see docs/logs.md.
        min_free_mb: the oldest closed files are removed while the disk has less free.
        also: where else each record goes: ``journald``, ``stdout``, ``fifo:PATH``, ``unix:PATH``.
            They may miss records, which the files never do for their sake.
    """

    dir: Text = "edgeemo-logs"
    device: Name = ""
    emit: Emit = "change"
    interval_s: Interval = 2.0
    health_interval_s: Interval = 60.0
    fsync: Fsync = "interval"
    details: Annotated[tuple[Detail, ...], msgspec.Meta(max_length=16)] = ()
    rotate_mb: Annotated[float, msgspec.Meta(ge=0.001, le=100_000)] = 16.0
    compress: Compress = "gzip"
    keep_mb: Annotated[float, msgspec.Meta(ge=0.001, le=100_000_000)] = 1000.0
    keep_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] = 0.0
    min_free_mb: Megabytes = 200.0
    also: Annotated[tuple[OtherSink, ...], msgspec.Meta(max_length=16)] = ()

    @property
    def rotate_bytes(self) -> int:
        """``rotate_mb`` in bytes."""
        return round(self.rotate_mb * 1e6)

    @property
    def keep_bytes(self) -> int:
        """``keep_mb`` in bytes."""
        return round(self.keep_mb * 1e6)

    @property
    def keep_s(self) -> float:
        """``keep_days`` in seconds."""
        return self.keep_days * 86_400

    @property
    def min_free_bytes(self) -> int:
        """``min_free_mb`` in bytes."""
        return round(self.min_free_mb * 1e6)


class MetricsConfig(_Section, frozen=True):
    """``[metrics]``: how the run does, for Prometheus.

    Attributes:
        textfile: a file in Prometheus' text format, replaced at every health record; ``auto`` is
            ``edgeemo.prom`` in the folder that systemd gives the service below /run, and none
            without; empty: none.
    """

    textfile: Text = "auto"


class LiveConfig(_Section, frozen=True):
    """``[live]``: lets `edgeemo view` watch the running service, by a socket on this machine.

    Attributes:
        socket: its path; ``auto`` is ``live`` in the folder that systemd gives the service below
            /run, and none without; empty: none. Whoever is in the service's group may watch.
        pictures: send the pictures, too; without, the mesh and the numbers.
    """

    socket: Text = "auto"
    pictures: bool = False


class ThermalConfig(_Section, frozen=True):
    """``[thermal]``: fewer frames while the board is hot.

    Attributes:
        high_c: hotter than this, or slowed by its firmware, the next step is taken; 0: never.
        low_c: cooler than this for ``hold_s``, a step is taken back. Below ``high_c``.
        hold_s: how long a step is given to show its effect.
        interval_s: how often the sensors are read.
        steps_fps: the most frames per second at each step.
    """

    high_c: Celsius = 80.0
    low_c: Celsius = 70.0
    hold_s: Interval = 30.0
    interval_s: Interval = 5.0
    steps_fps: Annotated[tuple[Rate, ...], msgspec.Meta(max_length=16)] = (10.0, 5.0, 2.0)

    def __post_init__(self) -> None:
        if self.high_c and not self.low_c < self.high_c:
            raise ValueError(f"low_c must be below high_c, got {self.low_c:g} and {self.high_c:g}")
        if list(self.steps_fps) != sorted(set(self.steps_fps), reverse=True):
            raise ValueError(f"steps_fps must fall, got {list(self.steps_fps)}")


class Config(_Section, frozen=True):
    """The whole configuration; every table may be left out."""

    source: SourceConfig = SourceConfig()
    mesher: MesherConfig = MesherConfig()
    model: ModelConfig = ModelConfig()
    tracker: TrackerConfig = TrackerConfig()
    quality: QualityConfig = QualityConfig()
    smoothing: SmoothingConfig = SmoothingConfig()
    events: EventsConfig = EventsConfig()
    study: StudyConfig = StudyConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    live: LiveConfig = LiveConfig()
    thermal: ThermalConfig = ThermalConfig()


Section = TypeVar("Section", bound=msgspec.Struct)


def load_config(path: Path) -> Config:
    """Read a configuration file.

    Raises:
        ConfigError: unreadable, not TOML, or with wrong keys or values; all of them are named.
    """
    import tomllib  # most runs have no file

    try:
        text = read_bounded(path, _MOST_BYTES).decode("utf-8")
        if (longest := max(map(len, text.split("\n")))) > _LONGEST_LINE:
            raise ConfigError(
                f"{path}: a line of {longest:,} characters; expected at most {_LONGEST_LINE:,}"
            )
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    # Besides TOMLDecodeError: no UTF-8, a number of thousands of digits; brackets in brackets.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML ({error})") from error
    config, problems = _decode(tables)
    if (more := len(problems) - _MOST_PROBLEMS) > 0:
        problems[_MOST_PROBLEMS:] = [f"and {more} more"]
    if problems:
        raise ConfigError(*(f"{path}: {problem}" for problem in problems))
    return config


def override(section: Section, **changes: Any) -> Section:
    """Return ``section`` with those ``changes`` that are not None (options not given), checked.

    Raises:
        ConfigError: a value is out of range.
    """
    given = {key: value for key, value in changes.items() if value is not None}
    name = type(section).__name__.removesuffix("Config").lower()
    if problems := _problems(name, given, type(section)):
        raise ConfigError(*problems)
    try:
        return msgspec.convert(msgspec.structs.asdict(section) | given, type(section))
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error


def _decode(tables: dict[str, Any]) -> tuple[Config, list[str]]:
    sections = get_type_hints(Config)
    problems = [
        f"unknown table [{_brief.repr(name)[1:-1]}] (known: {', '.join(sections)})"
        for name in tables
        if name not in sections
    ]
    decoded: dict[str, Any] = {}
    for name, kind in sections.items():
        table = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name}: expected a table [{name}], got {_brief.repr(table)}")
            continue
        wrong = _problems(name, table, kind)
        if not wrong:
            try:
                decoded[name] = msgspec.convert(table, kind)
            except msgspec.ValidationError as error:  # what only holds for keys together
                wrong = [f"{name}: {str(error).partition(' - at ')[0]}"]
        problems += wrong
    return Config(**decoded), problems


def _problems(name: str, table: dict[str, Any], kind: type) -> list[str]:
    fields = get_type_hints(kind, include_extras=True)
    problems = []
    for key, value in table.items():
        if key not in fields:
            shown = _brief.repr(key)[1:-1]
            problems.append(f"unknown key {name}.{shown} (known: {', '.join(fields)})")
            continue
        try:
            msgspec.convert(value, fields[key])
        except msgspec.ValidationError:
            problems.append(
                f"{name}.{key}: expected {_words(fields[key])}, got {_brief.repr(value)}"
            )
    return problems


def span(annotation: Any) -> str | None:
    """Return a number's bounds, as in ``1 to 16``; None for what is no number.

    Args:
        annotation: of a field of a section, as ``get_type_hints`` gives it with its extras. Of a
            list, or a field that may be left out, it is the inner one that counts.
    """
    for meta in _metas(annotation):
        if meta.ge is not None and meta.le is not None:
            return f"{meta.ge:,} to {meta.le:,}"
    return None


def _words(annotation: Any) -> str:
    """Say what a field expects, in the words of a person who writes TOML."""
    bounds = span(annotation)
    if bounds is None:
        if described := next((m.description for m in _metas(annotation) if m.description), None):
            return described
        if _is_list(annotation):
            return f"a list of {_choices(get_args(annotation.__origin__)[0])}"
        return "true or false" if annotation is bool else _choices(annotation)
    number = "a whole number" if get_args(annotation)[:1] == (int,) else "a number"
    return f"{'a list of numbers' if _is_list(annotation) else number} from {bounds}"


def _choices(annotation: Any) -> str:
    *most, last = [f'"{c}"' if isinstance(c, str) else str(c) for c in get_args(annotation)]
    return f"{', '.join(most)} or {last}"


def _is_list(annotation: Any) -> bool:
    return get_origin(getattr(annotation, "__origin__", None)) is tuple


def _metas(annotation: Any) -> Iterator[msgspec.Meta]:
    yield from (m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, msgspec.Meta))
    for inner in get_args(annotation):
        yield from _metas(inner)


_brief: Final = reprlib.Repr()
"""Values are told as they were given; but a file may hold any."""
_brief.maxlevel, _brief.maxstring, _brief.maxother = 2, 80, 80
