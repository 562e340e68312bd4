"""The service loop: however it ends, tracks end and the reason is written."""

import math
import weakref

import msgspec
import numpy as np
import pytest

from edge.config import LogConfig, TrackerConfig
from edge.contract.logrecord import Health, LogRecord, decode_record, encode_record
from edge.errors import CameraError, InferenceError, SinkError
from edge.records import Face, HeadPose
from edge.runtime.pipeline import Pipeline
from edge.service.daemon import Reloaded, Service, Supervision
from edge.service.reporter import Reporter
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import (
    EPOCH,
    FakeSource,
    MemorySink,
    make_face,
    make_facts,
    make_frame,
    make_pipeline,
)

FACTS = make_facts()


FACE = make_face((20, 20, 60, 70))


class FullDisk(MemorySink):
    """Refuses the records whose numbers it was told."""

    def __init__(self, refused: range) -> None:
        super().__init__()
        self._refused = refused

    def write(self, record: LogRecord) -> None:
        """Refuse or keep ``record``."""
        if record.seq in self._refused:
            raise SinkError("disk full")
        super().write(record)


def pipeline(mesh=lambda _: [FACE], scores=((0.1, 0.9),), tracker=None) -> Pipeline:
    return make_pipeline(mesh, scores, tracker=tracker)


def reporter(session: str = "session") -> Reporter:
    return Reporter(session, "device", LogConfig(emit="frame", interval_s=1.0))


def service(source, sink, *, mesh=lambda _: [FACE], listeners=(), supervision=None) -> Service:
    return Service(source, pipeline(mesh), sink, reporter(), listeners, supervision)


def frames(count: int) -> list:
    return [make_frame(i) for i in range(count)]


def kinds(sink) -> list[str]:
    return [type(record).__name__ for record in sink.records]


def test_a_whole_run_is_framed_by_start_and_stop():
    """Start, track, emotions, end of the track, stop: in this order, with the counts."""
    sink = MemorySink()
    summary = service(FakeSource(frames(3)), sink).run(FACTS)
    assert kinds(sink) == [
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "Emotion", "TrackEnded",
        "ServiceStopped",
    ]  # fmt: skip
    assert (summary.frames, summary.tracks, summary.records) == (3, 1, 7)
    assert sink.records[-1].reason == summary.reason == "end of source"


def test_a_lost_camera_is_written_before_the_run_fails():
    """camera_lost with its reason, the open track's end, service_stopped, and the error itself."""
    sink = MemorySink()
    with pytest.raises(CameraError, match="unplugged"):
        service(FakeSource(frames(2), CameraError("unplugged")), sink).run(FACTS)
    assert kinds(sink)[-3:] == ["CameraLost", "TrackEnded", "ServiceStopped"]
    assert sink.records[-3].reason == "unplugged"
    assert sink.records[-1].reason == "error: unplugged"


def test_a_failing_model_is_written_before_the_run_fails():
    """The reason stands in the log, not only on stderr."""

    def fail(_):
        raise InferenceError("the model broke")

    sink = MemorySink()
    with pytest.raises(InferenceError):
        service(FakeSource(frames(2)), sink, mesh=fail).run(FACTS)
    assert sink.records[-1].reason == "error: the model broke"


def test_a_full_disk_does_not_stop_the_camera(caplog):
    """Refused records are counted and said once; what follows is written, the gap shows in seq."""
    sink = FullDisk(range(2, 5))
    summary = service(FakeSource(frames(6)), sink).run(FACTS)
    assert summary.frames == 6
    assert summary.dropped_records == 3
    assert [record.seq for record in sink.records] == [0, 1, 5, 6, 7, 8, 9]
    assert len(caplog.records) == 1
    assert "records are being lost" in caplog.text


@pytest.mark.parametrize(("limit", "expected"), [(None, 5), (2, 2), (9, 5)])
def test_the_frame_limit_holds(limit, expected):
    """No more frames than asked for, and no fewer when there are."""
    summary = service(FakeSource(frames(5)), MemorySink()).run(FACTS, limit)
    assert summary.frames == expected
    assert summary.reason == ("frame limit" if limit == 2 else "end of source")


def test_a_viewer_can_stop_it():
    """A closed window ends the run cleanly."""
    summary = service(
        FakeSource(frames(5)), MemorySink(), listeners=[lambda result: result.frame.index < 1]
    ).run(FACTS)
    assert (summary.frames, summary.reason) == (2, "viewer")


class _Watched(FakeSource):
    """Tells how many earlier pictures are alive whenever it is read."""

    def __init__(self) -> None:
        super().__init__([])
        self._pictures: list[weakref.ref] = []
        self.alive: list[int] = []

    def read(self):
        """Return a new frame of five, and count."""
        self.alive.append(sum(picture() is not None for picture in self._pictures))
        if len(self._pictures) == 5:
            return None
        pixels = np.zeros((96, 128, 3), np.uint8)
        self._pictures.append(weakref.ref(pixels))
        return make_frame(len(self._pictures), image=pixels)


def test_no_picture_is_kept_while_the_next_is_made():
    """One picture is in memory at a time: of a 1080p camera each is 6 MB."""
    source = _Watched()
    service(source, MemorySink()).run(FACTS)
    assert source.alive == [0] * 6


def test_a_reload_takes_over_between_two_frames():
    """The old session ends and a new one starts, in one log; no frame is left out."""
    calm = Reloaded(pipeline(scores=[(0.9, 0.1)]), reporter("renewed"), FACTS | {"model": "calm"})
    sink = MemorySink()
    running = service(
        FakeSource(frames(4)),
        sink,
        listeners=[lambda result: result.frame.index != 1 or running.reload() is None],
        supervision=Supervision(renew=lambda: calm),
    )
    summary = running.run(FACTS)
    assert kinds(sink) == [
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "TrackEnded", "ServiceStopped",
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "TrackEnded", "ServiceStopped",
    ]  # fmt: skip
    assert [r.label for r in sink.records if hasattr(r, "label")] == ["happiness"] * 2 + [
        "neutral"
    ] * 2
    assert [r.session for r in sink.records] == ["session"] * 6 + ["renewed"] * 6
    assert [r.seq for r in sink.records] == [*range(12)]
    assert (sink.records[5].reason, sink.records[6].model) == ("reload", "calm")
    assert (summary.frames, summary.tracks, summary.records) == (4, 2, 12)


@pytest.mark.parametrize(
    "error",
    [
        InferenceError("no such model"),
        PermissionError(13, "Permission denied", "no such model"),
        OverflowError("no such model"),
        RecursionError("no such model"),
        MemoryError("no such model"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "no such model"),
        AssertionError("no such model"),
    ],
)
def test_a_refused_reload_changes_nothing(caplog, error):
    """A configuration that cannot be used is said, whatever failed, and the old one goes on."""

    def refuse():
        raise error

    sink = MemorySink()
    running = service(
        FakeSource(frames(3)),
        sink,
        listeners=[lambda result: result.frame.index != 0 or running.reload() is None],
        supervision=Supervision(renew=refuse),
    )
    running.run(FACTS)
    assert kinds(sink).count("ServiceStarted") == 1
    assert kinds(sink).count("Emotion") == 3
    (line,) = caplog.messages
    assert "no such model" in line
    assert "\n" not in line


def test_the_frame_limit_counts_across_a_reload():
    """``--max-frames`` is of the run, not of the session."""
    running = service(
        FakeSource(frames(9)),
        MemorySink(),
        listeners=[lambda result: result.frame.index != 2 or running.reload() is None],
        supervision=Supervision(renew=lambda: Reloaded(pipeline(), reporter("renewed"), FACTS)),
    )
    assert running.run(FACTS, 5).frames == 5


class _Unfinished(FaceTracker):
    """Fails when its tracks are to end."""

    def close(self):
        """Fail."""
        raise RuntimeError("later")


@pytest.mark.parametrize("raised", [ValueError("a\nb"), KeyboardInterrupt(), MemoryError("a b")])
@pytest.mark.parametrize("where", ["source", "mesher", "listener", "at the end, too"])
def test_whatever_ends_a_run_is_written(raised, where):
    """Foreseen or not: the last record is service_stopped with the reason; the error goes on."""

    def fail(*_):
        raise raised

    sink = MemorySink()
    source = FakeSource(frames(2), raised if where == "source" else None)
    steps = pipeline(
        fail if where == "mesher" else lambda _: [FACE],
        tracker=_Unfinished(TrackerConfig(1.0, 1, 1.5)) if where == "at the end, too" else None,
    )
    listeners = [] if where in ("source", "mesher") else [fail]
    with pytest.raises(type(raised)) as caught:
        Service(source, steps, sink, reporter(), listeners).run(FACTS)
    assert caught.value is raised
    last = sink.records[-1]
    assert kinds(sink)[-1] == "ServiceStopped"
    told = " ".join(str(raised).split())
    assert last.reason == f"error: {type(raised).__name__}: {told}".strip()
    assert sink.closed


NOT_A_FACE = {
    "points that are no numbers": {"points": np.nan},
    "points at infinity": {"points": np.inf},
    "points that are far away": {"points": -1e30},
    "a box that is no number": {"box_xyxy": np.nan},
    "a box without end": {"box_xyxy": np.inf},
    "coefficients that are no numbers": {"blendshapes": np.nan},
    "coefficients beyond one": {"blendshapes": 7.0},
    "an angle that is no number": {"head_pose": HeadPose(math.nan, 0.0, 0.0)},
    "an angle without end": {"head_pose": HeadPose(0.0, -math.inf, math.inf)},
    "eyes and mouth in one place": {"points": "together"},
}


def _face(**changes) -> Face:
    """Return a face with the last value of an array changed."""
    values = msgspec.structs.asdict(FACE) | {"blendshapes": np.full(52, 0.5, np.float32)}
    for name, value in changes.items():
        if name == "head_pose":
            values[name] = value
            continue
        values[name] = values[name].copy()
        if value == "together":
            values[name][:-1] = 40.0
        else:
            values[name][-1] = value
    return Face(**values)


@pytest.mark.parametrize("changes", NOT_A_FACE.values(), ids=NOT_A_FACE.keys())
def test_a_face_that_is_none_is_passed_over_and_counted(caplog, changes):
    """The other face, the run and the log go on; health tells how many there were, a line why."""
    other = make_face((80, 20, 120, 70))
    sink = MemorySink()
    config = LogConfig(
        emit="frame", health_interval_s=0.03, details=("eyes", "blendshapes", "mesh")
    )
    summary = Service(
        FakeSource(frames(5)),
        pipeline(lambda _: [_face(**changes), other]),
        sink,
        Reporter("s", "d", config),
    ).run(FACTS)
    assert summary.frames == summary.dropped_faces == 5
    assert kinds(sink).count("Emotion") == 5
    assert [r.dropped_faces for r in sink.records if isinstance(r, Health)] == [2, 3, 4, 5]
    assert len(caplog.messages) == 1
    assert "skipped" in caplog.text
    for record in sink.records:
        assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf, -0.5, 2.0])
def test_scores_that_are_none_are_passed_over(caplog, score):
    """A model that says what no probability is: the face is left out of those frames."""
    sink = MemorySink()
    steps = pipeline(scores=[(0.1, 0.9), (0.1, score), (0.1, 0.9)])
    summary = Service(FakeSource(frames(4)), steps, sink, reporter()).run(FACTS)
    assert (summary.frames, summary.dropped_faces) == (4, 1)
    assert kinds(sink).count("Emotion") == 3
    assert "scores that are not numbers" in caplog.text


def test_a_model_without_any_answer_leaves_a_whole_log():
    """Not one face is classified: no track is told of, and none is missed at the end."""
    sink = MemorySink()
    steps = pipeline(scores=[(np.nan, np.nan)])
    summary = Service(FakeSource(frames(4)), steps, sink, reporter()).run(FACTS)
    assert (summary.frames, summary.tracks, summary.dropped_faces) == (4, 0, 4)
    assert kinds(sink) == ["ServiceStarted", "ServiceStopped"]


def test_a_name_that_is_no_text_is_written_escaped():
    """A file's name may hold any bytes; the line is UTF-8, and our own decoder takes it."""
    record = Reporter("s", "d", LogConfig(emit="frame", interval_s=1.0)).camera_lost(
        EPOCH, 0.0, "/mnt/\udcff\udc00.mp4 is gone"
    )
    line = encode_record(record)
    assert decode_record(line).reason == "/mnt/\\udcff\\udc00.mp4 is gone"
