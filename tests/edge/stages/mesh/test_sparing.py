"""Looking less often while little happens: what is saved, and that nothing is seen late."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import Config, EventsConfig, LogConfig, MesherConfig
from edge.contract.labels import EMOTIONS
from edge.protocols import FaceMesher
from edge.records import Face, Frame
from edge.runtime.build import compose_pipeline, open_model, open_pipeline
from edge.sources.demo.choreography import SOLO, SURPRISES
from edge.sources.demo.source import EPOCH, DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.sparing import LONGEST_S, SparingMesher
from edge.testing.fakes import FakeClassifier, FakeMesher, make_face

pytestmark = pytest.mark.slow

FPS = 30.0
TRACKING_FPS = 15.0
TEXTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
BOX = (60, 40, 160, 150)


class Counting:
    """A mesher that notes when it was asked."""

    def __init__(self, mesher: FaceMesher) -> None:
        self._mesher = mesher
        self.times: list[float] = []

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the mesher's faces."""
        self.times.append(frame.t_s)
        return self._mesher.detect(frame)

    def close(self) -> None:
        """Close the mesher."""
        self._mesher.close()


def _real() -> LitertMesher:
    return LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1))


def _fake(faces=1) -> Counting:
    boxes = [BOX, (180, 100, 260, 200)][:faces]
    return Counting(FakeMesher(lambda _: [make_face(box) for box in boxes]))


def _frame(t_s: float, image=TEXTURE, *, is_new: bool = False) -> Frame:
    return Frame(image, 0, t_s, EPOCH + timedelta(seconds=t_s), starts_new_clip=is_new)


def _still(noise: float, frames: int) -> list[Frame]:
    picture = DemoSource(frames=1).render(0).astype(np.int16)
    rng = np.random.default_rng(int(noise))
    made = []
    for i in range(frames):
        grain = rng.normal(0, noise, picture.shape).astype(np.int16)
        image = np.clip(picture + grain, 0, 255).astype(np.uint8)
        made.append(Frame(image, i, i / FPS, EPOCH + timedelta(seconds=i / FPS)))
    return made


def _moving() -> list[Frame]:
    """The demo's face to the side, nearer, farther, tilted; it is out of the picture after."""
    demo = DemoSource(fps=FPS)
    indices = range(round(2.0 * FPS), round(6.5 * FPS))
    return [Frame(demo.render(i), i, i / FPS, demo.time_of(i)) for i in indices]


def _off(face: Face, truth: Face) -> float:
    """How far a mesh is off on average, in per cent of the eye corners' distance."""
    unit = np.linalg.norm(truth.points[33, :2] - truth.points[263, :2])
    apart = np.linalg.norm((face.points - truth.points)[:, :2], axis=1)
    return float(apart.mean() / unit * 100)


@pytest.mark.parametrize(
    ("frames", "most_looks", "most_off"),
    [
        pytest.param(partial(_still, 2, 60), 22, 0.5, id="still"),
        pytest.param(partial(_still, 16, 60), 22, 1.0, id="still and dark"),
        pytest.param(_moving, 72, 2.5, id="moving"),
    ],
)
def test_fewer_looks_and_the_same_meshes(frames, most_looks, most_off):
    """A third of the looks of a still face, half of a moving one; what is kept is where it is."""
    counting, reference = Counting(_real()), _real()
    sparing = SparingMesher(counting, TRACKING_FPS, 2)
    stale = 0
    for frame in frames():
        (face,), (truth,) = sparing.detect(frame), reference.detect(frame)
        stale += face.is_stale
        if not face.is_stale:
            assert _off(face, truth) < most_off
    assert len(counting.times) <= most_looks
    assert stale == 0 or most_looks == 72


@given(st.lists(st.floats(0.001, 0.3), min_size=1, max_size=15))
def test_nothing_is_kept_for_longer_than_it_may(steps):
    """Whatever the camera's rate: a frame that comes later than that is looked at."""
    counting, t_s = _fake(), 0.0
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    seen = []
    for step in steps:
        t_s += step
        sparing.detect(_frame(t_s))
        seen.append(t_s - counting.times[-1])
    assert max(seen) < LONGEST_S


def test_a_face_that_changes_is_looked_at_at_once():
    """As soon as the rate allows, and in between it is said to be stale."""
    counting = _fake()
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    changed = TEXTURE.copy()
    changed[100:120, 90:130] = 0  # a mouth that opens
    sparing.detect(_frame(0.0))
    assert not sparing.detect(_frame(0.03))[0].is_stale
    assert sparing.detect(_frame(0.04, changed))[0].is_stale
    assert counting.times == [0.0]
    assert not sparing.detect(_frame(0.07, changed))[0].is_stale
    assert counting.times == [0.0, 0.07]


def test_the_light_is_no_change():
    counting = _fake()
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    half = (TEXTURE // 2).astype(np.uint8)
    for i, light in enumerate((0, 5, 10)):
        assert not sparing.detect(_frame(i / FPS, half + np.uint8(light)))[0].is_stale
    assert counting.times == [0.0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(_frame(0.0), _frame(0.03, is_new=True), id="another picture"),
        pytest.param(_frame(0.0), _frame(0.03, TEXTURE[:200]), id="another size"),
        pytest.param(_frame(5.0), _frame(1.0), id="an earlier time"),
        pytest.param(_frame(0.0), _frame(0.0), id="the same time"),
    ],
)
def test_what_does_not_continue_is_looked_at(first, second):
    counting = _fake()
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    sparing.detect(first)
    sparing.detect(second)
    assert len(counting.times) == 2


def test_while_nobody_is_there_every_frame_is_looked_at():
    counting = _fake(faces=0)
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    for i in range(5):
        assert sparing.detect(_frame(i / FPS)) == []
    assert len(counting.times) == 5


def test_a_kept_face_confirms_nothing():
    """One false detection is kept for no frame: it would be reported as a face otherwise."""
    script = iter([[make_face(BOX)], [], []])
    sparing = SparingMesher(FakeMesher(lambda _: next(script)), TRACKING_FPS, 2)
    assert [len(sparing.detect(_frame(i / FPS))) for i in range(3)] == [1, 0, 0]


def test_a_face_at_the_edge_is_looked_at_in_every_frame():
    """Too little of it is in the picture to see whether it moves."""
    counting = Counting(FakeMesher(lambda _: [make_face((310, 40, 410, 150))]))
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    for i in range(4):
        sparing.detect(_frame(i / FPS))
    assert len(counting.times) == 4


def test_a_blank_face_is_looked_at_in_every_frame():
    """Without texture nobody can say that it stands still."""
    counting = _fake()
    sparing = SparingMesher(counting, TRACKING_FPS, 1)
    for i in range(4):
        sparing.detect(_frame(i / FPS, np.full_like(TEXTURE, 90)))
    assert len(counting.times) == 4


@pytest.mark.parametrize(
    ("config", "is_sparing"),
    [
        (Config(), True),
        (Config(log=LogConfig(emit="frame")), False),
        (Config(events=EventsConfig(detect=("blink",))), False),
        (Config(mesher=MesherConfig(tracking_fps=0)), False),
    ],
    ids=["by default", "every frame is written", "events", "switched off"],
)
def test_when_frames_may_be_left_out(config, is_sparing):
    pipeline = compose_pipeline(config, FakeClassifier([[0.0] * len(EMOTIONS)]))
    assert isinstance(pipeline.mesher, SparingMesher) == is_sparing
    pipeline.close()


def test_changes_are_seen_as_soon():
    """On the demo whose face is surprised now and then: no label comes more than 0.1 s later."""
    config = Config(mesher=MesherConfig(max_faces=1))
    every = msgspec.structs.replace(config, mesher=MesherConfig(max_faces=1, tracking_fps=0))
    ours, reference = _changes(config), _changes(every)
    assert [label for _, label in ours] == [label for _, label in reference]
    assert len(ours) >= 2 * len(SURPRISES) - 1
    for (one_s, _), (other_s, _) in zip(ours, reference, strict=True):
        assert one_s - other_s <= LONGEST_S


def _changes(config: Config) -> list[tuple[float, str]]:
    pipeline = open_pipeline(config, open_model(config.model))
    demo = DemoSource(round(SOLO[-1].t_s * FPS), FPS, moods=True)
    labels = [(0.0, "")]
    while (frame := demo.read()) is not None:
        labels += [(frame.t_s, face.state.label) for face in pipeline.process(frame).faces]
    pipeline.close()
    return [(t_s, new) for (_, old), (t_s, new) in pairwise(labels) if new != old]
