"""The demo source: its picture, its choreography and its ground truth agree."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.assets.store import ASTRONAUT, asset_path
from edge.config import Config
from edge.contract.align import FER48, face_anchors, similarity, warp
from edge.errors import AssetError
from edge.runtime.build import open_model, open_pipeline
from edge.sources.demo.choreography import (
    FACE_OUTLINE,
    SOLO,
    SURPRISES,
    Choreography,
    Keyframe,
    surprise_at,
)
from edge.sources.demo.source import DemoSource
from edge.testing.scenes import WAYS

SIZE_HW = (480, 640)


@pytest.fixture(scope="module")
def demo() -> DemoSource:
    return DemoSource()


def _scales_and_rolls(demo: DemoSource) -> tuple[np.ndarray, np.ndarray]:
    matrices = np.array([demo.motion(i) for i in range(demo.frames)])
    scales = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    rolls = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    return scales, rolls


def test_frames_are_numbered_and_timed() -> None:
    """The source gives exactly its frames, at i / fps seconds, then ends; close ends it early."""
    source = DemoSource(frames=5, fps=10)
    frames = [source.read() for _ in range(5)]
    assert [frame.index for frame in frames] == list(range(5))
    assert [frame.t_s for frame in frames] == [0, 0.1, 0.2, 0.3, 0.4]
    assert [(frame.captured_at - frames[0].captured_at).total_seconds() for frame in frames] == [
        0, 0.1, 0.2, 0.3, 0.4,
    ]  # fmt: skip
    assert source.read() is None
    other = DemoSource()
    other.close()
    assert other.read() is None


def test_two_runs_are_equal() -> None:
    """Two sources give the same pixels and the same times."""
    one, two = DemoSource(frames=120), DemoSource(frames=120)
    while (frame := one.read()) is not None:
        same = two.read()
        assert (frame.t_s, frame.captured_at) == (same.t_s, same.captured_at)
        assert np.array_equal(frame.image, same.image)


def test_begins_and_ends_still(demo: DemoSource) -> None:
    """The first 2 s and the last 1.5 s are one picture, pixel by pixel."""
    first = demo.render(0)
    for index in (1, 25, 50, 263, 280, 299):
        assert np.array_equal(demo.render(index), first), index


def test_moves_scales_and_turns_as_promised(demo: DemoSource) -> None:
    """Scale runs from 0.7 to 1.5 and roll from -25 to 25 degrees."""
    scales, rolls = _scales_and_rolls(demo)
    assert scales.min() == pytest.approx(0.7, abs=0.01)
    assert scales.max() == pytest.approx(1.5, abs=0.01)
    assert rolls.min() == pytest.approx(-25, abs=0.5)
    assert rolls.max() == pytest.approx(25, abs=0.5)


def test_leaves_once_for_about_two_and_a_half_seconds(demo: DemoSource) -> None:
    """The face is outside in one unbroken stretch, and nothing of it is drawn in the middle."""
    outside = [i for i in range(demo.frames) if demo.ground_truth(i) is None]
    assert outside == list(range(outside[0], outside[-1] + 1))
    assert 2.2 <= len(outside) / demo.fps <= 2.8
    middle = demo.render((outside[0] + outside[-1]) // 2)
    assert np.array_equal(middle, DemoSource(frames=1).backdrop)
    assert demo.visible_fraction(outside[0] - 1) > 0
    assert demo.visible_fraction(0) == 1


def test_motion_can_be_followed(demo: DemoSource) -> None:
    """Between two frames the face's centre moves by less than half its width."""
    boxes = [demo.ways[0].box(i / demo.fps) for i in range(demo.frames)]
    centres = np.array([(box[:2] + box[2:]) / 2 for box in boxes])
    widths = np.array([box[2] - box[0] for box in boxes])
    assert (np.linalg.norm(np.diff(centres, axis=0), axis=1) < 0.5 * widths[1:]).all()


@pytest.mark.parametrize("index", [0, 70, 100, 125, 142, 162])
def test_pixels_lie_where_the_ground_truth_says(demo: DemoSource, index: int) -> None:
    """Taken back by the inverse motion, the picture's face is the photo's face."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    back = demo.motion(index).copy()
    back[:, 2] += back[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    recovered = cv2.warpAffine(
        demo.render(index), back, (512, 512), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    x1, y1, x2, y2 = (*FACE_OUTLINE.min(axis=0).astype(int), *FACE_OUTLINE.max(axis=0).astype(int))
    difference = cv2.absdiff(photo, recovered)[y1:y2, x1:x2]
    shifted = cv2.absdiff(np.roll(photo, 2, axis=1), recovered)[y1:y2, x1:x2]
    assert difference.mean() < 7
    assert difference.mean() < 0.7 * shifted.mean()


@pytest.mark.parametrize("index", [0, 100, 142, 162])
def test_box_is_that_of_the_moved_outline(demo: DemoSource, index: int) -> None:
    """The true box is float32 and bounds the photo's outline under the motion."""
    matrix = demo.motion(index)
    moved = FACE_OUTLINE @ matrix[:, :2].T + matrix[:, 2]
    box = demo.ground_truth(index)
    assert box.dtype == np.float32
    np.testing.assert_allclose(box, [*moved.min(axis=0), *moved.max(axis=0)], atol=1e-3)


def test_aligned_crops_stay_upright_and_centred(demo: DemoSource) -> None:
    """Through the shared align code, the turned and scaled face gives the crop of the still one."""
    from edge.testing.fakes import make_face

    x1, y1 = FACE_OUTLINE.min(axis=0)
    x2, y2 = FACE_OUTLINE.max(axis=0)
    anchors = face_anchors(make_face((x1, y1, x2, y2)).points)

    def crop(index: int) -> np.ndarray:
        motion = demo.motion(index)
        moved = anchors @ motion[:, :2].T + motion[:, 2]
        image = demo.render(index)
        return warp(image, similarity(moved, FER48.anchors()), FER48.size).astype(float)

    still = crop(0)
    for index in (100, 125, 142, 162):
        assert np.abs(crop(index) - still).mean() < 4, index


@pytest.mark.parametrize("size_hw", [(240, 320), (720, 1280), (48, 48), (7, 5)])
def test_any_size(size_hw: tuple[int, int]) -> None:
    """The scene fits any picture: the frame has the size and the box lies inside at the start."""
    demo = DemoSource(frames=1, size_hw=size_hw)
    assert demo.read().size_hw == size_hw
    box = demo.ground_truth(0)
    assert (box > 0).all()
    assert (box < [size_hw[1], size_hw[0]] * 2).all()


@pytest.mark.parametrize("faces", [2, 4])
def test_several_faces_move_each_on_its_way(faces: int) -> None:
    """All boxes differ, lie inside at the start, and the picture shows a face in each."""
    demo = DemoSource(frames=1, ways=WAYS[faces])
    boxes = [demo.ground_truth(0, i) for i in range(faces)]
    picture, wall = demo.render(0), DemoSource(frames=1).backdrop
    for i, (x1, y1, x2, y2) in enumerate(np.array(boxes).astype(int)):
        assert demo.exposed_fraction(0, i) == 1
        assert cv2.absdiff(picture, wall)[y1:y2, x1:x2].mean() > 20
    assert len({tuple(box) for box in boxes}) == faces


def test_a_face_behind_another_is_hidden() -> None:
    """Where the nearer one passes, the farther one's exposure falls to none, never the nearer's."""
    demo = DemoSource(ways=WAYS[2])
    behind = [demo.exposed_fraction(i, 0) for i in range(demo.frames)]
    before = [demo.exposed_fraction(i, 1) for i in range(demo.frames)]
    assert min(behind[:75]) == 0
    assert min(before) == 1
    index = int(np.argmin(behind[:75]))
    assert np.array_equal(demo.ground_truth(index, 0), demo.ways[0].box(index / demo.fps))


@pytest.mark.parametrize(
    "arguments", [{"frames": 0}, {"fps": 0}, {"size_hw": (0, 10)}], ids=lambda a: next(iter(a))
)
def test_refuses_impossible_clips(arguments: dict) -> None:
    """A clip without frames, rate or size is refused."""
    with pytest.raises(ValueError, match="positive"):
        DemoSource(**arguments)


def test_refuses_another_photo(tmp_path) -> None:
    """A file that is not the photo gives one clear line."""
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(AssetError, match="not a picture"):
        DemoSource(photo=tmp_path / "x.png")


@given(st.floats(0, 100))
def test_choreography_repeats_without_a_jump(t_s: float) -> None:
    """After its last keyframe the way starts again, and it never jumps within a hundredth."""
    way = Choreography(SOLO, SIZE_HW)
    np.testing.assert_allclose(way.motion(t_s), way.motion(t_s + 12.0), atol=1e-6)
    assert np.abs(way.box(t_s) - way.box(t_s + 0.01)).max() < 20


@given(st.floats(0, 12))
def test_visible_fraction_is_that_of_the_clipped_box(t_s: float) -> None:
    """The visible fraction is 0 outside, 1 inside, and the clipped box's share between."""
    way = Choreography(SOLO, SIZE_HW)
    x1, y1, x2, y2 = way.box(t_s).astype(float)
    inside = x1 >= 0 and y1 >= 0 and x2 <= 640 and y2 <= 480
    outside = x1 >= 640 or x2 <= 0
    fraction = way.visible_fraction(t_s)
    assert 0 <= fraction <= 1
    assert (fraction == pytest.approx(1)) == (inside or fraction > 1 - 1e-6)
    assert not outside or fraction == 0


@pytest.mark.parametrize("times", [(0.0,), (1.0, 2.0), (0.0, 2.0, 2.0)])
def test_keyframes_must_rise_from_zero(times: tuple[float, ...]) -> None:
    """Keyframes that do not start at 0 and rise are refused."""
    with pytest.raises(ValueError, match="rise"):
        Choreography([Keyframe(t, 0.5, 0.5, 1, 0) for t in times], SIZE_HW)


def test_moods_come_and_go() -> None:
    """A face with moods is surprised between the given times, smiles otherwise, and loops."""
    for start, end in SURPRISES:
        assert surprise_at((start + end) / 2) == 1
        assert surprise_at(start) == pytest.approx(0.5)
        assert surprise_at(start - 0.2) == 0
    assert surprise_at(SOLO[-1].t_s + 2) == surprise_at(2) == 1
    plain, moody = DemoSource(), DemoSource(moods=True)
    assert {plain.surprise(index) for index in range(plain.frames)} == {0}
    assert np.array_equal(plain.render(5), moody.render(5))
    surprised = moody.render(50)
    assert moody.surprise(50) == 1
    assert np.array_equal(surprised, DemoSource(moods=True).render(50))
    changed = np.abs(surprised.astype(int) - plain.render(50)).max(axis=2) > 8
    rows, columns = np.nonzero(changed)
    x1, y1, x2, y2 = moody.ground_truth(50)
    assert changed.sum() > 500
    margin = 0.6 * (x2 - x1)  # the hair moves with the brows, the jaw drops
    assert x1 - margin < columns.min() < columns.max() < x2 + margin
    assert y1 - margin < rows.min() < rows.max() < y2 + margin


@pytest.mark.slow
def test_the_packaged_model_follows_the_moods() -> None:
    """Mesher, model and smoother see each surprise begin and end, and nothing else."""
    config = Config()
    pipeline = open_pipeline(config, open_model(config.model))
    source = DemoSource(frames=160, moods=True)
    seen = []
    while (frame := source.read()) is not None:
        seen += [(face.state.label, frame.t_s) for face in pipeline.process(frame).faces]
    pipeline.close()
    labels = [label for label, _ in itertools.groupby(seen, key=lambda pair: pair[0])]
    assert labels == ["happiness", "surprise", "happiness", "surprise"]
