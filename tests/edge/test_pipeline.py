"""The pipeline: stages in order, exact replays, no clock but the frames'."""

from datetime import UTC, datetime, timedelta

import numpy as np

from edge.pipeline import Pipeline
from edge.records import Frame
from edge.stages.smooth import EmotionSmoother
from edge.stages.track import FaceTracker
from edge.testing import FakeClassifier, FakeMesher, make_face

START = datetime(2026, 1, 1, tzinfo=UTC)


def frame(index: int) -> Frame:
    image = np.random.default_rng(index).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    return Frame(image, index, index / 10, START + timedelta(seconds=index / 10))


def pipeline(faces, scores) -> Pipeline:
    return Pipeline(
        FakeMesher(lambda frame: faces[frame.index]),
        FaceTracker(0.3, 1, 1.5),
        FakeClassifier(scores or [(0.5, 0.5)], ("neutral", "happiness")),
        EmotionSmoother(0.3, 0.3, 0.1, 0.4),
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
