"""How many threads find faces: two only where one does not do, and never back and forth."""

import logging

import numpy as np
import pytest

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig, TrackerConfig
from edge.contract.labels import EMOTIONS
from edge.protocols import FaceMesher
from edge.runtime.pipeline import Pipeline
from edge.service.threads import IdleCores, ThreadChoice
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.sparing import SparingMesher
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import FakeClassifier, FakeMesher

SPEED_UP = 1.64
MINUTE = 60 * 10


def _pipeline(mesher: FaceMesher) -> Pipeline:
    classifier = FakeClassifier([[1.0] + [0.0] * (len(EMOTIONS) - 1)])
    tracker = FaceTracker(TrackerConfig(confirm_hits=1))
    return Pipeline(mesher, tracker, classifier, EmotionSmoother())


def _real() -> FaceMesher:
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1))
    return SparingMesher(mesher, 15.0, 1)


class Board:
    """A camera at 10 frames a second, and what a frame costs with one thread."""

    def __init__(self, idle: float = 3.0, cores: int = 4) -> None:
        self.idle, self.is_hot, self.now_s = idle, False, 0.0
        self.choice = ThreadChoice(lambda _: self.idle, cores)
        self.changes: list[int] = []

    def run(self, frames: int, cost_s: float) -> None:
        """Let frames pass."""
        for _ in range(frames):
            busy_s = min(0.1, cost_s / (1 if self.choice.count == 1 else SPEED_UP))
            self.now_s += 0.1
            if self.choice.note(self.now_s, busy_s, is_hot=self.is_hot):
                self.changes.append(self.choice.count)


@pytest.mark.parametrize(
    ("idle", "cores", "is_hot", "cost_s", "count"),
    [
        (3.0, 4, False, 0.05, 1),
        (3.0, 4, False, 0.095, 2),
        (3.0, 4, False, 0.5, 2),
        (0.3, 4, False, 0.5, 1),
        (3.0, 1, False, 0.5, 1),
        (3.0, 4, True, 0.5, 1),
    ],
    ids=["keeps up", "hardly", "does not", "no core is idle", "has one core", "is hot"],
)
def test_when_a_second_thread_is_taken(idle, cores, is_hot, cost_s, count):
    board = Board(idle, cores)
    board.is_hot = is_hot
    board.run(MINUTE, cost_s)
    assert board.choice.count == count


def test_a_short_rush_changes_nothing():
    """A second face for some seconds is no reason to load models."""
    board = Board()
    for _ in range(20):
        board.run(80, 0.2)
        board.run(80, 0.03)
    assert board.changes == []


def test_heat_takes_the_second_thread_away():
    board = Board()
    board.run(MINUTE, 0.2)
    board.is_hot = True
    board.run(200, 0.2)
    assert board.changes == [2, 1]
    board.run(10 * MINUTE, 0.2)
    assert board.changes == [2, 1]


def test_what_has_become_easy_goes_back_to_one():
    board = Board()
    board.run(MINUTE, 0.2)
    board.run(2 * MINUTE, 0.03)
    assert board.changes == [2, 1]


def test_it_does_not_flap():
    """Where one thread is just too few, and two are plenty, the returns get rare."""
    board = Board()
    for _ in range(120):  # hours of a minute of much, two of little
        board.run(MINUTE, 0.2)
        board.run(2 * MINUTE, 0.03)
    assert 2 <= len(board.changes) <= 12


@pytest.mark.parametrize("cost_s", np.arange(0.01, 0.2, 0.01))
def test_a_steady_load_changes_at_most_once(cost_s):
    board = Board()
    board.run(30 * MINUTE, cost_s)
    assert len(board.changes) <= 1


def test_a_change_is_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    Board().run(MINUTE, 0.2)
    (record,) = caplog.records
    assert record.getMessage() == (
        "faces are found by two threads from now on: busy for 100% of the time, 3.0 cores idle"
    )


def test_idle_cores_are_the_kernels(tmp_path):
    """By its ticks, of a hundredth of a second mostly: idle, and waiting for a disk."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 0 10 1000 50 0 0 0 0 0\ncpu0 1\n", "ascii")
    idle = IdleCores(stat)
    stat.write_text("cpu  99 0 99 2800 250 0 0 0 0 0\ncpu0 1\n", "ascii")
    assert idle(10.0) == pytest.approx(2.0)
    stat.unlink()
    assert idle(10.0) == 0.0


def test_a_pipeline_goes_on_with_other_threads():
    """The faces stay, and their meshes are the same."""
    one, other = _pipeline(_real()), _pipeline(_real())
    demo = DemoSource(4)
    for index, frame in enumerate(iter(demo.read, None)):
        if index == 2:
            other.use_threads(2)
        for a, b in zip(one.process(frame).faces, other.process(frame).faces, strict=True):
            np.testing.assert_allclose(a.track.face.points, b.track.face.points, atol=0.01)
            assert a.track.track_id == b.track.track_id


def test_a_mesher_without_threads_is_left_alone():
    mesher = FakeMesher(lambda _: [])
    pipeline = _pipeline(mesher)
    pipeline.use_threads(2)
    assert pipeline.mesher is mesher
