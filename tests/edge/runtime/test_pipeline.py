"""The pipeline: stages in order, exact replays, no clock but the frames'."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from edge.config import QualityConfig, SmoothingConfig, TrackerConfig
from edge.records import Face, Frame, HeadPose
from edge.runtime.pipeline import Pipeline
from edge.stages.quality import FaceQualityFilter
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import FakeClassifier, make_face, make_pipeline

START = datetime(2026, 1, 1, tzinfo=UTC)


def frame(index: int) -> Frame:
    image = np.random.default_rng(index).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    return Frame(image, index, index / 10, START + timedelta(seconds=index / 10))


def pipeline(faces, scores) -> Pipeline:
    return make_pipeline(
        lambda frame: faces[frame.index],
        scores or [(0.5, 0.5)],
        tracker=FaceTracker(TrackerConfig(0.3, 1, 1.5)),
    )


def test_stages_run_in_order_and_are_timed():
    """The result names every stage that ran, in order, with its time."""
    face = make_face((40, 20, 100, 100))
    result = pipeline([[face]], [(0.2, 0.8)]).process(frame(0))
    assert list(result.stage_ms) == ["mesh", "track", "align", "classify", "smooth"]
    assert result.latency_ms == sum(result.stage_ms.values())
    assert result.faces[0].state.label == "happiness"


def test_a_frame_without_faces_is_neither_cropped_nor_classified():
    """No emotional claim is made from a crop of nothing."""
    result = pipeline([[]], []).process(frame(0))
    assert result.faces == ()
    assert list(result.stage_ms) == ["mesh", "track"]


def test_a_replay_is_exact():
    """The same frames give the same states, bit for bit."""

    def run() -> list[tuple[int, str, bytes, bool]]:
        rng = np.random.default_rng(7)
        boxes = [(30 + i, 20, 90 + i, 100) for i in range(40)]
        scores = [(p, 1 - p) for p in rng.random(40)]
        subject = pipeline([[make_face(box)] for box in boxes], scores)
        results = [subject.process(frame(i)) for i in range(40)]
        return [
            (face.track.track_id, face.state.label, face.state.scores.tobytes(), face.state.changed)
            for result in results
            for face in result.faces
        ]

    assert run() == run()


def test_two_faces_keep_their_own_states():
    """Each track has its own memory, however the mesher orders the faces."""
    left, right = make_face((0, 20, 60, 100)), make_face((90, 20, 150, 100))
    subject = pipeline(
        [[left, right], [right, left]], [(0.9, 0.1), (0.1, 0.9), (0.9, 0.1), (0.1, 0.9)]
    )
    for i in range(2):
        result = subject.process(frame(i))
        assert [face.track.track_id for face in result.faces] == [1, 2]
        assert [face.state.label for face in result.faces] == ["neutral", "happiness"]


def bright_frame(index: int, level: int = 128) -> Frame:
    return Frame(
        np.full((120, 160, 3), level, np.uint8), index, index / 10,
        START + timedelta(seconds=index / 10),
    )  # fmt: skip


def posed(box, yaw: float, pitch: float = 0.0) -> Face:
    face = make_face(box)
    return Face(face.points, face.box_xyxy, None, HeadPose(yaw, pitch, 0.0))


GOOD = posed((40, 20, 100, 100), 0)


@pytest.mark.parametrize(
    ("face", "level", "quality"),
    [
        (posed((40, 20, 59, 40), 0), 128, "too_small"),
        (posed((40, 20, 100, 100), 56), 128, "too_turned"),
        (posed((40, 20, 100, 100), -56), 128, "too_turned"),
        (posed((40, 20, 100, 100), 0, -41), 128, "too_turned"),
        (posed((40, 20, 100, 100), 0), 29, "too_dark"),
        (posed((40, 20, 100, 100), 54, -39), 30, "ok"),
        (posed((40, 20, 60, 40), 0), 128, "ok"),
        (make_face((40, 20, 100, 100)), 128, "ok"),  # a mesher that tells no pose
    ],
)
def test_a_face_that_can_not_be_read_is_said_to_be_so(face, level, quality):
    """Too small, turned or dark by the defaults: no classification, no scores, `uncertain`."""
    classifier = FakeClassifier([(0.1, 0.9)], ("neutral", "happiness"))
    subject = make_pipeline(lambda _: [face], classifier, gate=FaceQualityFilter(QualityConfig()))
    (result,) = subject.process(bright_frame(0, level)).faces
    assert result.quality == quality
    if quality == "ok":
        assert result.state.label == "happiness"
        assert result.display_text == "happiness 90%"
    else:
        assert classifier.crops == []
        assert result.estimate is None
        assert (result.state.label, result.state.confidence) == ("uncertain", 0.0)
        assert (result.state.labels, len(result.state.scores)) == ((), 0)
        assert result.display_text == quality.replace("_", " ")


def test_a_face_at_a_threshold_does_not_flicker():
    """Once too turned, a face must be clearly less turned to be read again."""
    subject = FaceQualityFilter(QualityConfig(max_yaw_deg=50))

    def quality(yaw: float) -> str:
        return subject.check(1, posed((40, 20, 100, 100), yaw), lambda: crop)[0]

    crop = np.full((48, 48), 128, np.uint8)
    assert [quality(yaw) for yaw in (49, 51, 49, 51, 46, 45, 49)] == [
        "ok", "too_turned", "too_turned", "too_turned", "too_turned", "ok", "ok",
    ]  # fmt: skip
    quality(51)
    subject.forget(1)
    assert quality(49) == "ok"


def test_brightness_is_that_of_the_face_and_not_of_what_is_behind():
    """A bright window around a dark face does not make it readable."""
    crop = np.full((48, 48), 255, np.uint8)
    crop[12:36, 12:36] = 10
    assert FaceQualityFilter(QualityConfig()).check(1, GOOD, lambda: crop) == ("too_dark", None)


def test_after_the_dark_the_label_returns_by_the_usual_rules():
    """Light out and on again: uncertain at once, and back when it has led for the dwell time."""
    subject = make_pipeline(lambda _: [GOOD], gate=FaceQualityFilter(QualityConfig()))
    states = [
        subject.process(bright_frame(i, 5 if 5 <= i < 8 else 128)).faces[0].state for i in range(20)
    ]
    assert [state.label for state in states] == (
        ["happiness"] * 5 + ["uncertain"] * 6 + ["happiness"] * 9
    )
    assert [i for i, state in enumerate(states) if state.changed] == [0, 5, 11]


def test_a_mesh_without_extent_is_not_cropped():
    """Whatever the mesher says, a crop of nothing is never classified."""
    points = np.zeros((478, 3), np.float32)
    for box in ((5, 5, 5, 5), (np.nan,) * 4):
        face = Face(points, np.array(box, np.float32))
        result = pipeline([[face]], []).process(frame(0))
        assert [(f.quality, f.estimate) for f in result.faces] == [("too_small", None)]


def test_a_face_is_read_no_more_often_than_asked():
    """Between two readings it keeps label and scores, moves on, and no change is told twice."""
    boxes = [(30 + i, 20, 90 + i, 100) for i in range(12)]
    scores = [(0.1, 0.9)] * 3 + [(0.9, 0.1)] * 2
    subject = make_pipeline(
        lambda frame: [make_face(boxes[frame.index])],
        scores,
        tracker=FaceTracker(TrackerConfig(0.3, 1, 1.5)),
        smoother=EmotionSmoother(SmoothingConfig(0.3, 0.0, 0.1, 0.4)),
        interval_s=0.25,
    )
    results = [subject.process(frame(i)) for i in range(12)]
    read = [i for i, result in enumerate(results) if "classify" in result.stage_ms]
    assert read == [0, 3, 5, 8, 10]  # due at 0, 0.25, 0.5, 0.75 and 1 s
    faces = [result.faces[0] for result in results]
    for index, face in enumerate(faces):
        latest = faces[max(i for i in read if i <= index)]
        assert face.state.scores is latest.state.scores
        assert face.state.label == latest.state.label
        assert face.track.face.box_xyxy[0] == boxes[index][0]
    assert [i for i, face in enumerate(faces) if face.state.changed] == [0, 10]


def test_a_new_face_is_read_at_once():
    """Another track, and every frame of unrelated stills, begins with a reading of its own."""
    stills = [msgspec.structs.replace(frame(i), starts_new_clip=True) for i in range(3)]
    subject = make_pipeline(lambda _: [make_face((30, 20, 90, 100))], [(0.5, 0.5)], interval_s=60.0)
    assert all("classify" in subject.process(still).stage_ms for still in stills)
