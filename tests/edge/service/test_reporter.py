"""Records: what is written, when, and that it says what happened."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import Detail, LogConfig, QualityConfig, SmoothingConfig, TrackerConfig
from edge.contract.logrecord import Emotion, LogRecord, decode_record, encode_record, json_schema
from edge.contract.mesh_features import BLENDSHAPES
from edge.records import Face, Frame, FrameResult
from edge.service.reporter import Reporter
from edge.stages.eyes import eye_openness
from edge.stages.quality import FaceQualityFilter
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import FakeClassifier, make_face, make_pipeline

LABELS = ("neutral", "happiness")
START = datetime(2026, 1, 1, tzinfo=UTC)


def frames(count: int, fps: float = 10.0, *, starts_new_clip: bool = False) -> list[Frame]:
    image = np.zeros((120, 160, 3), np.uint8)
    return [
        Frame(
            image,
            i,
            i / fps,
            START + timedelta(seconds=i / fps),
            starts_new_clip,
            f"{i}.png" if starts_new_clip else None,
        )
        for i in range(count)
    ]


def report(
    source: Iterable[Frame],
    faces,
    scores,
    *,
    per_frame: bool = False,
    interval_s: float = 1.0,
    details: tuple[Detail, ...] = (),
    gate: FaceQualityFilter | None = None,
    smoother: EmotionSmoother | None = None,
) -> list[LogRecord]:
    """Run frames through a real pipeline with a scripted face and scripted scores."""
    pipeline = make_pipeline(
        lambda frame: faces[frame.index],
        FakeClassifier(scores or [CALM], LABELS),
        tracker=FaceTracker(TrackerConfig(max_gap_s=0.3, confirm_hits=1, max_jump=1.5)),
        smoother=smoother
        or EmotionSmoother(
            SmoothingConfig(half_life_s=0.0, dwell_s=0.0, margin=0.1, min_confidence=0.4)
        ),
        gate=gate,
    )
    reporter = Reporter(
        "session",
        "device",
        LogConfig(
            emit="frame" if per_frame else "change",
            interval_s=interval_s,
            health_interval_s=2.0,
            details=details,
        ),
    )
    records = []
    for frame in source:
        records += reporter.frame(pipeline.process(frame))
    records += reporter.finish(pipeline.finish())
    records.append(reporter.stopped(START, 99.0, "end of source"))
    return records


def kinds(records: Iterable[LogRecord]) -> list[str]:
    return [json.loads(encode_record(record))["kind"] for record in records]


FACE = make_face((40, 20, 100, 100))
HAPPY, CALM = (0.1, 0.9), (0.9, 0.1)


def test_a_steady_face_is_written_on_change_and_at_the_interval():
    """Four seconds of one emotion are its start, one record a second, health and its end."""
    records = report(frames(41), [[FACE]] * 41, [HAPPY] * 41)
    assert kinds(records) == [
        "track_started", "emotion",  # 0 s
        "emotion",  # 1 s
        "emotion", "health",  # 2 s
        "emotion",  # 3 s
        "emotion", "health",  # 4 s
        "track_ended", "service_stopped",
    ]  # fmt: skip


def test_a_change_is_written_at_once():
    """The frame in which the label changes has its record, whatever the interval."""
    records = report(frames(20), [[FACE]] * 20, [CALM] * 7 + [HAPPY] * 13, interval_s=100.0)
    emotions = [record for record in records if record.__class__.__name__ == "Emotion"]
    assert [(record.label, record.frame) for record in emotions] == [
        ("neutral", 0),
        ("happiness", 7),
    ]


def test_every_frame_is_written_when_asked():
    """``--emit frame`` gives a record for each frame with a face."""
    records = report(frames(15), [[FACE]] * 15, [HAPPY] * 15, per_frame=True)
    assert kinds(records).count("emotion") == 15


def test_a_track_that_ended_tells_duration_and_shares():
    """Shares are of time, and sum to one."""
    records = report(
        frames(60), [[FACE]] * 41 + [[]] * 19, [CALM] * 10 + [HAPPY] * 50, per_frame=True
    )
    ended = next(record for record in records if record.__class__.__name__ == "TrackEnded")
    assert ended.duration_s == pytest.approx(4.0)
    assert ended.shares == pytest.approx({"neutral": 0.25, "happiness": 0.75})


def test_stills_are_three_records_each_with_the_file_name():
    """Unrelated pictures do not share tracks or scores."""
    records = report(frames(2, starts_new_clip=True), [[FACE]] * 2, [CALM, HAPPY])
    assert kinds(records) == [
        "track_started", "emotion", "track_ended", "track_started", "emotion", "track_ended",
        "service_stopped",
    ]  # fmt: skip
    emotions = [record for record in records if record.__class__.__name__ == "Emotion"]
    assert [(record.file, record.label) for record in emotions] == [
        ("0.png", "neutral"),
        ("1.png", "happiness"),
    ]


def test_no_face_no_claim():
    """Frames without a face give no emotion and no track."""
    assert kinds(report(frames(10), [[]] * 10, [])) == ["service_stopped"]


def test_sequence_numbers_have_no_gaps():
    """Each record's number is one more than the last one's."""
    records = report(frames(30), [[FACE]] * 30, [HAPPY] * 30)
    assert [record.seq for record in records] == list(range(len(records)))
    assert records[-1].records == len(records)


def test_every_record_validates_against_the_published_schema():
    """What is written is what docs/log-schema.json promises, and it decodes to the same record."""
    published = json.loads(Path("docs/log-schema.json").read_text("utf-8"))
    assert published == json.loads(json.dumps(json_schema()))
    validator = jsonschema.Draft202012Validator(published)
    for record in report(frames(41), [[FACE]] * 30 + [[]] * 11, [HAPPY] * 41):
        line = encode_record(record)
        assert line.endswith(b"\n")
        assert b"\n" not in line[:-1]
        validator.validate(json.loads(line))
        assert decode_record(line) == record


def validate(record: LogRecord) -> dict:
    schema = json.loads(Path("docs/log-schema.json").read_text("utf-8"))
    line = encode_record(record)
    jsonschema.Draft202012Validator(schema).validate(json.loads(line))
    assert decode_record(line) == record
    return json.loads(line)


def emotions_of(records: Iterable[LogRecord]) -> list[Emotion]:
    return [record for record in records if isinstance(record, Emotion)]


def test_details_are_told_when_asked_for_and_only_then():
    """Eyes, blendshapes and mesh: all of them, or no key at all."""
    face = Face(FACE.points, FACE.box_xyxy, np.linspace(0, 1, 52, dtype=np.float32))
    (bare,) = emotions_of(report(frames(1), [[face]], [HAPPY]))
    assert not {"eyes", "blendshapes", "mesh"} & set(validate(bare))
    (full,) = emotions_of(
        report(frames(1), [[face]], [HAPPY], details=("eyes", "blendshapes", "mesh"))
    )
    told = validate(full)
    np.testing.assert_allclose(told["mesh"], face.points, atol=0.006)
    assert tuple(told["blendshapes"]) == BLENDSHAPES
    assert told["blendshapes"]["noseSneerRight"] == 1
    assert told["eyes"] == {
        side: round(value, 3)
        for side, value in zip(("right", "left"), eye_openness(face.points), strict=True)
    }


def test_a_mesher_without_blendshapes_tells_none():
    """What is asked for and not there is left out, not made up."""
    (record,) = emotions_of(report(frames(1), [[FACE]], [HAPPY], details=("blendshapes",)))
    assert "blendshapes" not in validate(record)


def test_a_face_that_can_not_be_read_is_written_with_the_reason():
    """It has a track and a record, `uncertain` without scores; each change of reason is written."""
    small, wide = make_face((40, 20, 59, 46)), make_face((40, 20, 70, 60))
    scene = [[small]] * 10 + [[wide]] * 10
    records = report(
        frames(20), scene, [HAPPY] * 20, interval_s=100.0,
        gate=FaceQualityFilter(QualityConfig(min_brightness=0)),
    )  # fmt: skip
    emotions = emotions_of(records)
    assert [(r.frame, r.label, r.quality, r.confidence) for r in emotions] == [
        (0, "uncertain", "too_small", 0.0),
        (10, "happiness", "ok", 0.9),
    ]
    assert validate(emotions[0])["scores"] == {}
    ended = next(r for r in records if r.__class__.__name__ == "TrackEnded")
    assert ended.shares == pytest.approx({"uncertain": 10 / 19, "happiness": 9 / 19}, abs=1e-3)


def test_an_emotion_of_an_earlier_version_is_read():
    """Lines written before there was a quality decode as faces that could be read."""
    (record,) = emotions_of(report(frames(1), [[FACE]], [HAPPY]))
    line = json.loads(encode_record(record))
    del line["quality"]
    assert decode_record(json.dumps(line).encode()) == record


def test_a_closed_eye_is_less_open():
    """The ratio follows the lids, for each eye by itself and at any scale or turn of the head."""
    points = FACE.points.astype(float).copy()
    right, left = eye_openness(points)
    assert right == pytest.approx(left, rel=0.02)
    for upper, lower in ((160, 144), (158, 153)):
        points[upper] = points[lower]
    assert eye_openness(points)[0] == 0
    assert eye_openness(points)[1] == pytest.approx(left)
    cos, sin = np.cos(0.7), np.sin(0.7)
    turned = FACE.points @ np.array(((cos, 0, sin), (0, 1, 0), (-sin, 0, cos))) * 3
    assert eye_openness(turned) == pytest.approx((right, left), rel=1e-4)
    assert eye_openness(np.zeros((478, 3))) == (0, 0)


@given(
    st.lists(st.sampled_from([HAPPY, CALM, (0.55, 0.45), (0.5, 0.5)]), min_size=1, max_size=40),
    st.booleans(),
)
def test_every_confidence_is_the_score_of_its_label(scores, per_frame):
    """On change and in every frame, also in those in which another emotion is about to lead."""
    smoother = EmotionSmoother(
        SmoothingConfig(half_life_s=0.3, dwell_s=0.3, margin=0.1, min_confidence=0.52)
    )
    count = len(scores)
    records = report(
        frames(count), [[FACE]] * count, scores, per_frame=per_frame, interval_s=0.2,
        smoother=smoother,
    )  # fmt: skip
    for record in emotions_of(records):
        assert record.confidence == record.scores.get(record.label, 0.0)


def test_a_track_that_ended_is_dated_by_its_last_frame():
    """Not by the frame in which it was given up, up to 1.5 s later."""
    records = report(frames(60), [[FACE]] * 41 + [[]] * 19, [HAPPY] * 60)
    ended = next(record for record in records if record.__class__.__name__ == "TrackEnded")
    assert (ended.monotonic_s, ended.time) == (4.0, "2026-01-01T00:00:04.000Z")


def test_memory_that_cannot_be_read_keeps_its_last_value_and_ends_nothing(monkeypatch, caplog):
    """No descriptor may be left for /proc: the readings that failed are counted, and told once."""
    readings = iter([41.26, None, None, 43.0])

    def read() -> float:
        if (reading := next(readings)) is None:
            raise OSError(24, "Too many open files")
        return reading

    monkeypatch.setattr("edge.system.machine.rss_mb", read)
    reporter = Reporter("session", "device", LogConfig(interval_s=1.0, health_interval_s=2.0))
    shown = [
        record.rss_mb
        for index, frame in enumerate(frames(4))
        for record in reporter.frame(FrameResult(frame, (), (), {}), fps_limit=float(index + 1))
    ]
    assert shown == [41.3, 41.3, 41.3, 43.0]
    assert reporter.failed_readings == 2
    assert [line.message.startswith("memory cannot be read") for line in caplog.records] == [True]
