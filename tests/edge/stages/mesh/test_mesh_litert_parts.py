"""The steps of the LiteRT mesher: each does what its paper or MediaPipe's graph says."""

import math
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.errors import InferenceError
from edge.inference.interpreter import TfliteModel
from edge.stages.mesh.litert.detector import FaceDetector, Sighting, blazeface_anchors, suppress
from edge.stages.mesh.litert.geometry import CanonicalFace, pose_matrix
from edge.stages.mesh.litert.landmarks import (
    BlendshapeModel,
    LandmarkModel,
    OneEuroFilter,
    to_picture,
)
from edge.stages.mesh.litert.roi import Cropper, Roi, around_points, overlap, whole_picture
from edge.stages.mesh.litert.second_look import agree, verify
from edge.stages.mesh.litert.taskfile import FaceModels, read_task

REFERENCE = Path(__file__).parents[2] / "data" / "astronaut_mesh.npz"
ANGLES = st.floats(-math.pi, math.pi)
SIDES = st.floats(60, 240)


@pytest.fixture(scope="module")
def models() -> FaceModels:
    return read_task(asset_path(FACE_LANDMARKER))


@pytest.fixture(scope="module")
def canonical(models) -> CanonicalFace:
    return CanonicalFace.parse(models.geometry)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """MediaPipe's mesh of the 512x512 astronaut photo."""
    return np.load(REFERENCE)["points"]


# --- regions and crops


def _blob(x: float, y: float, sigma: float) -> np.ndarray:
    """A soft white spot whose centre is the pixel coordinate (x, y), in a picture of 320x240."""
    rows, columns = np.mgrid[:240, :320]
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma * sigma))
    return np.repeat(np.rint(255 * spot).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


@given(SIDES, SIDES, ANGLES, st.floats(-0.25, 0.25), st.floats(-0.25, 0.25))
def test_what_is_cropped_comes_back_to_where_it_was(width, height, rotation, off_x, off_y) -> None:
    """A spot found in a crop and brought back into the picture lies within 0.1 px of itself."""
    roi = Roi(160, 120, width, height, rotation)
    x = 160 + off_x * width * math.cos(rotation) - off_y * height * math.sin(rotation)
    y = 120 + off_x * width * math.sin(rotation) + off_y * height * math.cos(rotation)
    tensor = np.empty((1, 256, 256, 3), np.float32)
    Cropper(256, (0.0, 1.0), cv2.BORDER_REPLICATE).cut(_blob(x, y, 2.5), roi, tensor)
    weights = np.where(tensor[0, :, :, 0] > 0.02, tensor[0, :, :, 0], 0)
    rows, columns = np.mgrid[:256, :256]
    found = np.array([(columns * weights).sum(), (rows * weights).sum(), 0]) / weights.sum()
    back = to_picture(found[np.newaxis].astype(np.float32), roi)[0]
    assert np.hypot(back[0] - x, back[1] - y) < 0.1


@given(st.floats(-300, 900), st.floats(-300, 700), st.floats(1, 600), ANGLES)
def test_both_ways_of_warping_agree(x, y, side, rotation) -> None:
    """A small region, warped by way of a patch, has the pixels that the whole picture gives."""
    picture = np.random.default_rng(3).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    picture = cv2.resize(picture, (640, 480), interpolation=cv2.INTER_CUBIC)
    roi = Roi(x, y, side, side, rotation)
    tensor = np.empty((1, 64, 64, 3), np.float32)
    Cropper(64, (0.0, 255.0), cv2.BORDER_REPLICATE).cut(picture, roi, tensor)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(
        picture, roi.to_picture(64), (64, 64), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    # Coordinates are rounded to 1/32 px or so, each way from another origin.
    assert np.abs(tensor[0] - expected[:, :, ::-1]).mean() < 1.5


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0)])
def test_colours_are_rgb_in_the_models_range(low, high) -> None:
    """A blue BGR picture gives the highest value in the third channel, the lowest in the others."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :, 0] = 255
    tensor = np.empty((1, 16, 16, 3), np.float32)
    Cropper(16, (low, high), cv2.BORDER_REPLICATE).cut(picture, Roi(30, 20, 20, 20), tensor)
    assert np.allclose(tensor, (low, low, high))


def test_a_picture_that_opencv_can_not_warp_is_named(monkeypatch) -> None:
    """What OpenCV refuses (version 4: more than 32766 pixels a side) raises our error."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise cv2.error("too large")

    monkeypatch.setattr(cv2, "warpAffine", refuse)
    cropper = Cropper(16, (0.0, 1.0), cv2.BORDER_CONSTANT)
    with pytest.raises(InferenceError, match=r"40x1 .*too large.*32766"):
        cropper.cut(
            np.zeros((1, 40, 3), np.uint8), whole_picture((1, 40)), np.empty((1, 16, 16, 3))
        )


@given(st.integers(1, 8000), st.integers(1, 8000))
def test_the_whole_picture_fits_its_region(width, height) -> None:
    """The detector's region has the picture in its middle, whole, and touches two sides."""
    x1, y1, x2, y2 = whole_picture((height, width)).bounds()
    assert (x1 + x2, y1 + y2) == pytest.approx((width, height))
    assert min(x1, y1) == pytest.approx(min(0, -abs(width - height) / 2))
    assert max(x1, y1) == 0


@given(*[st.floats(1, 100)] * 4, st.floats(-50, 50), st.floats(-50, 50))
def test_overlap_is_symmetric_and_a_share(w1, h1, w2, h2, x, y) -> None:
    """Overlap lies in [0, 1], does not depend on the order, and is 1 of a region with itself."""
    one, other = Roi(0, 0, w1, h1), Roi(x, y, w2, h2)
    assert 0 <= overlap(one, other) <= 1
    assert overlap(one, other) == pytest.approx(overlap(other, one))
    assert overlap(one, one) == pytest.approx(1)


@given(ANGLES, st.floats(0.2, 5), st.floats(-500, 500), st.floats(-500, 500))
def test_the_region_turns_with_the_face(points, angle, scale, x, y) -> None:
    """Turning a mesh turns its region by as much; scaling and shifting it do the same there."""
    before = around_points(points)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    moved = points[:, :2].astype(np.float64) @ ((cos, sin), (-sin, cos)) + (x, y)
    after = around_points(moved)
    turned = math.remainder(after.rotation - before.rotation - angle, 2 * math.pi)
    assert turned == pytest.approx(0, abs=1e-5)
    assert after.width == after.height == pytest.approx(1.5 * np.ptp(moved, axis=0).max())
    upright = around_points(points[:, :2].astype(np.float64) * scale + (x, y))
    assert upright.x == pytest.approx(before.x * scale + x, abs=1e-3)


@pytest.mark.parametrize(
    "roi",
    [
        Roi(math.nan, 0, 10, 10), Roi(0, 0, 10, 10, math.inf), Roi(0, 0, 0, 10),
        Roi(0, 0, 10, -1), Roi(0, 0, 1e9, 10), Roi(1e9, 0, 10, 10),
    ],
)  # fmt: skip
def test_useless_regions_are_known(roi) -> None:
    """A region that is not finite, empty, or absurdly large or far is not usable."""
    assert not roi.is_usable()
    assert Roi(5, 5, 10, 10, 1).is_usable()


# --- the detector


def test_anchors_are_blazefaces() -> None:
    """896 anchors: 2 in each of 16x16 cells, 6 in each of 8x8, at the cells' middles."""
    anchors = blazeface_anchors()
    assert anchors.shape == (896, 2)
    assert np.allclose(anchors[[0, 1, 2, 512, 895]], [(1 / 32, 1 / 32)] * 2 + [(3 / 32, 1 / 32),
        (1 / 16, 1 / 16), (15 / 16, 15 / 16)])  # fmt: skip
    assert len(np.unique(anchors[:512], axis=0)) == 256
    assert len(np.unique(anchors[512:], axis=0)) == 64


def _detection(x: float, y: float, size: float = 10) -> np.ndarray:
    return np.concatenate(((x, y, x + size, y + size), np.full(12, x))).astype(np.float32)


def test_detections_of_one_face_are_blended() -> None:
    """Overlapping boxes become their mean weighted by score; a distant one stays; best first."""
    values = np.stack([_detection(0, 0), _detection(1, 0), _detection(50, 50)])
    faces = suppress(values, np.array((0.6, 0.9, 0.7), np.float32))
    assert len(faces) == 2
    assert faces[0] == pytest.approx((0.6 * values[0] + 0.9 * values[1]) / 1.5, abs=1e-5)
    assert faces[1] == pytest.approx(values[2])


def test_suppression_ends_on_anything() -> None:
    """No detections give no faces; boxes without area or alike do not keep it from ending."""
    assert suppress(np.empty((0, 16), np.float32), np.empty(0, np.float32)) == []
    flat = np.stack([_detection(3, 3, 0)] * 4)
    assert len(suppress(flat, np.full(4, 0.5, np.float32))) == 4


# --- which way up


@pytest.mark.parametrize("degrees", [0, 40, -100, 180])
def test_a_second_look_sees_the_face_as_it_is_turned(models, points, degrees) -> None:
    """Shown a turned face in a region turned alike, the detector gives points on the face."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    matrix = cv2.getRotationMatrix2D((225, 125), -degrees, 1)
    picture = cv2.warpAffine(photo, matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    truth = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    sighting = FaceDetector(models.detector, 0.5).look(
        picture, Roi(225, 125, 200, 200, math.radians(degrees + 10))
    )
    assert sighting is not None
    assert sighting.score > 0.85
    off = math.remainder(sighting.roi.rotation - math.radians(degrees), 2 * math.pi)
    assert abs(off) < math.radians(12)
    eyes = np.linalg.norm(truth[33] - truth[263])
    for seen, at in zip(sighting.points, (468, 473, 1, 13, 234, 454), strict=True):
        assert np.linalg.norm(seen - truth[at]) < 0.3 * eyes


def test_a_second_look_is_about_the_middle(models) -> None:
    """A face that is not in the middle of the region, or none at all, is no sighting."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    detector = FaceDetector(models.detector, 0.5)
    assert detector.look(photo, Roi(225, 125, 200, 200)) is not None
    assert detector.look(photo, Roi(295, 125, 200, 200)) is None
    assert detector.look(np.zeros_like(photo), Roi(225, 125, 200, 200)) is None


class Looks:
    """A detector that has seen faces turned by (degrees) with scores, one a look; then nothing."""

    def __init__(self, *seen: tuple[float, float]) -> None:
        self.seen = list(seen)
        self.turned = []

    def look(self, _image: np.ndarray, roi: Roi) -> Sighting | None:
        """Return the next one."""
        self.turned.append(round(math.degrees(roi.rotation)) % 360)
        if len(self.turned) > len(self.seen):
            return None
        angle, score = self.seen[len(self.turned) - 1]
        return Sighting(Roi(1, 2, 3, 3, math.radians(angle)), np.zeros((6, 2)), score)


@pytest.mark.parametrize(
    ("seen", "looks", "rotation"),
    [
        (((20, 0.9),), 1, 10),
        (((20, 0.8), (40, 0.7), (180, 0.75)), 8, 10),
        (((20, 0.7), (180, 0.9), (175, 0.8)), 8, 180),
        (((-170, 0.9), (20, 0.7)), 8, -170),
        (((20, 0.7), (180, 0.74)), 8, None),
        (((90, 0.6),), 8, 90),
        ((), 8, None),
    ],
    ids=[
        "sure",
        "upright after all",
        "upside down",
        "no way first",
        "doubt",
        "only one",
        "nothing",
    ],
)
def test_the_orientation_that_clearly_wins_is_taken(seen, looks, rotation) -> None:
    """The first region stays, to the bit, unless another way up scores clearly more."""
    roi = Roi(50, 60, 40, 30, math.radians(10))
    detector = Looks(*seen)
    sighting = verify(detector, np.zeros((1, 1, 3), np.uint8), roi)
    assert detector.turned == [(10 + 45 * way) % 360 for way in range(looks)]
    if rotation is None:
        assert sighting is None
    elif rotation == 10:
        assert sighting.roi == roi
    else:
        assert math.degrees(sighting.roi.rotation) == pytest.approx(rotation)


@pytest.mark.parametrize(
    ("degrees", "shift", "same"),
    [(0, 0.0, True), (15, 0.0, True), (0, 0.2, True), (90, 0.0, False), (180, 0.0, False),
     (0, 0.5, False)],
)  # fmt: skip
def test_a_mesh_that_contradicts_the_detector_is_known(points, degrees, shift, same) -> None:
    """Points turned far, or shifted by half a face, are not those that the detector sees."""
    seen = np.array([points[at, :2] for at in (468, 473, 1, 13, 234, 454)], np.float64)
    matrix = cv2.getRotationMatrix2D((225, 125), degrees, 1)
    moved = points.copy()
    moved[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    moved[:, 0] += shift * np.ptp(points[:, :2], axis=0).max()
    assert agree(moved, Sighting(Roi(1, 2, 3, 3), seen, 0.9)) is same


# --- the head in space


def test_the_pose_is_mediapipes(canonical, points) -> None:
    """On MediaPipe's own points, the fit gives MediaPipe's own matrix."""
    expected = np.load(REFERENCE)["pose"]
    assert pose_matrix(canonical, points, (512, 512)) == pytest.approx(expected, abs=1e-3)


@given(st.floats(-math.pi, math.pi), st.integers(200, 4000))
def test_a_turned_picture_turns_the_head_and_nothing_else(canonical, points, angle, width) -> None:
    """Turning a face about the picture's middle turns its pose about the axis of view only.

    Whatever the picture's aspect ratio: MediaPipe 1.2's own z would tilt the head here.
    """
    size_hw = (512, width)
    middle = np.array((width / 2, 256, 0))
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array(((cos, -sin, 0), (sin, cos, 0), (0, 0, 1)))
    centred = points - np.array((225, 125, 0))
    upright = pose_matrix(canonical, centred + middle, size_hw)
    turned = pose_matrix(canonical, centred @ turn.T + middle, size_hw)
    flip = np.diag((1.0, -1.0, 1.0))  # the picture's y points down, the camera's up
    assert turned[:3] == pytest.approx((flip @ turn @ flip) @ upright[:3], abs=1e-4)


@pytest.mark.parametrize("mesh", [np.zeros((478, 3)), np.full((478, 3), 7.0)])
def test_a_mesh_without_extent_has_no_pose(canonical, mesh) -> None:
    """Points that coincide give no pose and no exception."""
    assert pose_matrix(canonical, mesh.astype(np.float32), (100, 100)) is None


def test_the_canonical_face_is_read_right(canonical) -> None:
    """33 weighted points, weights that sum to 1, moments that sum to 0, a face of about 15 cm."""
    assert canonical.indexes.shape == canonical.weights.shape == (33,)
    assert canonical.indexes[0] == 4
    assert canonical.weights.sum() == pytest.approx(1)
    assert np.abs(canonical.moments.sum(axis=0)).max() < 1e-12
    widths = np.ptp(canonical.moments / canonical.weights[:, np.newaxis], axis=0)
    assert 10 < widths[0] < 16


def test_another_geometry_is_refused(models) -> None:
    """Metadata that is empty, cut off, moved, of no numbers, or no message at all."""
    whole = models.geometry
    others = {
        "empty": b"",
        "cut off": whole[:19_000],
        "one byte more": whole + b"\x00",
        "moved": whole[1:] + whole[:1],
        "no number": whole[:9] + b"\xff" * 4 + whole[13:],
        "no weights": whole[:19_054] + bytes(len(whole) - 19_054),
        "noise": bytes(np.random.default_rng(0).integers(0, 256, len(whole), np.uint8)),
    }
    for damaged in others.values():
        with pytest.raises(InferenceError, match="face geometry: not that of the pinned"):
            CanonicalFace.parse(damaged)


# --- smoothing


def test_smoothing_stays_between_the_old_and_the_new(points) -> None:
    """Each smoothed coordinate lies between the last smoothed one and the new one."""
    smoother = OneEuroFilter()
    noise = np.random.default_rng(0)
    last = smoother.apply(points, 0.0)
    assert np.array_equal(last, points)
    for i in range(1, 20):
        new = points + noise.normal(0, 3, points.shape).astype(np.float32)
        smooth = smoother.apply(new, i / 25)
        low, high = np.minimum(last, new), np.maximum(last, new)
        assert ((smooth >= low - 1e-3) & (smooth <= high + 1e-3)).all()
        last = smooth


def test_a_still_face_is_steadied_and_a_fast_one_followed(points) -> None:
    """Trembling by 0.3 px is halved at least; a move of ten pixels a frame lags by under 1 px."""
    noise = np.random.default_rng(1)
    still, moving = OneEuroFilter(), OneEuroFilter()
    trembles, lags = [], []
    for i in range(100):
        t_s = i / 25
        tremble = noise.normal(0, 0.3, points.shape).astype(np.float32)
        trembles.append(still.apply(points + tremble, t_s) - points)
        away = points + np.float32(10 * i)
        lags.append(float(np.abs(moving.apply(away, t_s) - away).max()))
    assert np.std(trembles[20:], axis=0).mean() < 0.3 / 2
    assert max(lags[20:]) < 1


@pytest.mark.parametrize("t_s", [1.0, 0.5])
def test_time_that_does_not_rise_smooths_nothing(points, t_s) -> None:
    """A mesh at the same time or an earlier one comes back as it is."""
    smoother = OneEuroFilter()
    smoother.apply(points, 1.0)
    assert np.array_equal(smoother.apply(points + 5, t_s), points + 5)


# --- files and models


def test_files_that_are_no_face_model_are_named(tmp_path) -> None:
    """A missing file, a text, a longer file, and one of the right length raise our error."""
    size = asset_path(FACE_LANDMARKER).stat().st_size
    contents = {"text": b"no model", "longer": bytes(size + 1), "noise": b"PK" + bytes(size - 2)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name, why in (
        ("none", "No such"),
        ("text", "not the face_landmarker.task"),
        ("longer", "larger than 3,758,596 bytes"),
        ("noise", "not the face_landmarker.task"),
    ):
        with pytest.raises(InferenceError, match=why) as caught:
            read_task(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_the_members_are_those_of_the_zip(models) -> None:
    """Where they are taken from is where ``zipfile`` finds them."""
    with zipfile.ZipFile(asset_path(FACE_LANDMARKER)) as task:
        names = (
            "face_detector.tflite",
            "face_landmarks_detector.tflite",
            "face_blendshapes.tflite",
        )
        found = [task.read(name) for name in names]
        geometry = task.read("geometry_pipeline_metadata_landmarks.binarypb")
    assert [models.detector, models.landmarks, models.blendshapes] == found
    assert models.geometry == geometry


def test_models_in_each_others_place_are_refused(models) -> None:
    """A model with other tensors than its step expects is refused when it is loaded."""
    with pytest.raises(InferenceError, match="face detector: takes"):
        FaceDetector(models.landmarks, 0.5)
    with pytest.raises(InferenceError, match="face landmarks: takes"):
        LandmarkModel(models.detector)
    with pytest.raises(InferenceError, match="face blendshapes: takes"):
        BlendshapeModel(models.detector)


def test_filling_the_input_in_place_is_running(models, points) -> None:
    """``run_filled`` gives what ``run`` gives; what fill raises passes, and the model lives on."""
    model = TfliteModel(models.blendshapes)
    values = np.ascontiguousarray(points[:146, :2])[np.newaxis]
    (expected,) = model.run(values)

    def refuse(target: np.ndarray) -> None:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        model.run_filled(refuse)
    (actual,) = model.run_filled(partial(np.copyto, src=values))
    assert np.array_equal(actual, expected)
