"""The LiteRT mesher: MediaPipe's meshes, faces followed through anything, none where there is none.

Runs without mediapipe: its results on the astronaut photo stand in ``data/astronaut_mesh.npz``,
written by ``benchmarks/mesh_reference.py``. Distances are in per cent of the distance between the
outer eye corners.
"""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.records import Face, Frame, HeadPose
from edge.sources.demo.choreography import Choreography, Keyframe
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.litert.detector import FaceDetector
from edge.stages.mesh.litert.geometry import canonical_vertices
from edge.stages.mesh.litert.taskfile import read_task
from tests.helpers import calls

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACE_AT = (225, 125)
"""The middle of the face in the astronaut photo."""


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.imread(str(asset_path(ASTRONAUT)))


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    """MediaPipe's points, blendshapes and pose matrix for the photo."""
    return dict(np.load(Path(__file__).parents[2] / "data" / "astronaut_mesh.npz"))


@pytest.fixture(scope="module")
def mesher() -> LitertMesher:
    """One mesher for pictures that have nothing to do with each other."""
    return LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(blendshapes=True))


def make(**config: object) -> LitertMesher:
    return LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(**config))


def frame(image: np.ndarray, t_s: float = 0.0, *, starts_new_clip: bool = False) -> Frame:
    return Frame(
        np.ascontiguousarray(image), round(t_s * 25), t_s, NOW, starts_new_clip=starts_new_clip
    )


def percent(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Each point's distance in the picture."""
    eyes = np.linalg.norm(expected[33, :2] - expected[263, :2])
    return 100 * np.linalg.norm(actual[:, :2] - expected[:, :2], axis=1) / eyes


def placed(photo: np.ndarray, x: float, y: float, angle: float = 0, scale: float = 1) -> tuple:
    """The photo with its face at (x, y) of a picture of 640x480, and the map from photo points."""
    matrix = cv2.getRotationMatrix2D(FACE_AT, angle, scale)
    matrix[:, 2] += np.subtract((x, y), FACE_AT)
    centres = matrix.copy()
    centres[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    picture = cv2.warpAffine(photo, centres, (640, 480), borderMode=cv2.BORDER_REPLICATE)
    return picture, lambda points: points[:, :2] @ matrix[:, :2].T + matrix[:, 2]


def check(face: Face) -> None:
    """A face's numbers are numbers, in range."""
    assert np.isfinite(face.points).all()
    assert np.isfinite(face.box_xyxy).all()
    assert (face.box_xyxy[:2] < face.box_xyxy[2:]).all()
    if face.blendshapes is not None:
        assert ((face.blendshapes >= 0) & (face.blendshapes <= 1)).all()
    assert face.head_pose is not None


# --- parity


@pytest.mark.parametrize("cut", [True, False])
def test_the_mesh_is_mediapipes(photo, reference, cut) -> None:
    """On the photo, as a still or as the first frame of a video, the results are MediaPipe's."""
    (face,) = make(blendshapes=True).detect(frame(photo, starts_new_clip=cut))
    apart = percent(face.points, reference["points"])
    assert apart.mean() < 0.05
    assert apart.max() < 0.2
    assert np.abs(face.points[:, 2] - reference["points"][:, 2]).max() < 0.3
    assert np.abs(face.blendshapes - reference["blendshapes"]).max() < 0.01
    expected = HeadPose.from_matrix(reference["pose"])
    for angle in ("yaw_deg", "pitch_deg", "roll_deg"):
        assert getattr(face.head_pose, angle) == pytest.approx(getattr(expected, angle), abs=0.3)


def test_the_demo_is_followed_to_its_ground_truth(reference) -> None:
    """In every frame that shows the whole face the mesh is the photo's, moved; when gone, none."""
    source, mesher = DemoSource(), make()
    apart = []
    while (picture := source.read()) is not None:
        faces = mesher.detect(picture)
        visible = source.visible_fraction(picture.index)
        if visible == 1:
            (face,) = faces
            motion = source.motion(picture.index)
            truth = reference["points"][:, :2] @ motion[:, :2].T + motion[:, 2]
            apart.append(percent(face.points, truth).mean())
        elif visible == 0:
            assert not faces, picture.index
        assert len(faces) <= 1
    assert len(apart) > 200
    assert np.mean(apart) < 2.5
    assert max(apart) < 6


def test_blendshapes_come_when_asked_for_only(photo) -> None:
    """Without the option a face has none."""
    (face,) = make().detect(frame(photo))
    assert face.blendshapes is None


def test_a_mirrored_picture_gives_the_mirrored_mesh(mesher, photo) -> None:
    """Within the models' own asymmetry: 1.1 % of the eye distance on average, 3.6 % at most."""
    vertices = canonical_vertices(read_task(asset_path(FACE_LANDMARKER)).geometry)
    mirrored = vertices * (-1, 1, 1)
    partner = np.linalg.norm(vertices[:, np.newaxis] - mirrored, axis=2).argmin(axis=1)
    assert (partner[partner] == np.arange(468)).all()
    large = cv2.resize(photo, None, fx=1.5, fy=1.5)
    (face,) = mesher.detect(frame(large, starts_new_clip=True))
    (other,) = mesher.detect(frame(large[:, ::-1], starts_new_clip=True))
    back = other.points[partner] * (-1, 1, 1) + (large.shape[1], 0, 0)
    apart = percent(back, face.points[:468])
    assert apart.mean() < 1.5
    assert apart.max() < 5
    pose, turned = face.head_pose, other.head_pose
    assert turned.yaw_deg == pytest.approx(-pose.yaw_deg, abs=3)
    assert turned.roll_deg == pytest.approx(-pose.roll_deg, abs=2)


# --- what a camera may show


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize(
    "image",
    [
        _noise(480, 640), _noise(64, 64), np.zeros((480, 640, 3), np.uint8),
        np.full((480, 640, 3), 255, np.uint8), np.full((480, 640, 3), 127, np.uint8),
        np.zeros((1, 1, 3), np.uint8), np.zeros((1, 700, 3), np.uint8), _noise(700, 1),
    ],
    ids=["noise", "small noise", "black", "white", "grey", "1x1", "700x1", "1x700"],
)  # fmt: skip
def test_no_face_no_mesh(mesher, image, cut) -> None:
    """Noise, flat colours and degenerate sizes give no face, in whatever mode."""
    for t_s in (0.0, 0.1, 0.2):
        assert list(mesher.detect(frame(image, t_s, starts_new_clip=cut))) == []


def test_a_huge_picture_is_no_trouble(mesher, photo, reference) -> None:
    """The face is found where it is in 8000x6000 pixels."""
    large = cv2.resize(photo, (8000, 6000))
    (face,) = mesher.detect(frame(large, starts_new_clip=True))
    expected = reference["points"][:, :2] * (8000 / 512, 6000 / 512)
    assert percent(face.points, expected).mean() < 3


@pytest.mark.parametrize("angle", [-45, -30, -15, 15, 30, 45])
def test_a_face_turned_in_plane_is_found(mesher, photo, reference, angle) -> None:
    """Up to 45 degrees either way the mesh is the photo's, turned, and so is the head."""
    picture, move = placed(photo, 320, 240, angle, 1.5)
    (face,) = mesher.detect(frame(picture, starts_new_clip=True))
    check(face)
    assert percent(face.points, move(reference["points"])).mean() < 4
    upright = HeadPose.from_matrix(reference["pose"]).roll_deg
    assert face.head_pose.roll_deg == pytest.approx(upright - angle, abs=6)


SCALES = (0.7, 1.0, 1.4)
"""Picture pixels per photo pixel, in 480x360 pixels: the face is 13 to 26 % of the width."""


def _turned(reference: dict[str, np.ndarray], angle: float, scale: float) -> tuple:
    """The demo's face in the middle, turned clockwise, and where its points are."""
    source = DemoSource(size_hw=(360, 480))
    pose = (0.5, 0.5, scale / 0.75, angle)  # the choreography scales with the picture
    still = Choreography((Keyframe(0.0, *pose), Keyframe(1.0, *pose)), source.size_hw)
    source.ways = (still,)
    motion = still.motion(0.0)
    return source.render(0), reference["points"][:, :2] @ motion[:, :2].T + motion[:, 2]


@pytest.mark.parametrize(
    ("angle", "at_least", "percent_off"),
    [
        *((angle, 6, 4) for angle in range(-45, 46, 15)),
        *((sign * angle, 4, 10) for angle in range(60, 180, 15) for sign in (-1, 1)),
        (180, 4, 10),
    ],
)
def test_a_face_is_meshed_as_it_is_turned(mesher, reference, angle, at_least, percent_off) -> None:
    """A new face's mesh is right at any angle or missing; up to 45 degrees it is never missing.

    As a still and in a video's first two frames, at three sizes.
    """
    found = 0
    for scale in SCALES:
        picture, truth = _turned(reference, angle, scale)
        video = make(max_faces=1)
        still = mesher.detect(frame(picture, starts_new_clip=True))
        first, second = (video.detect(frame(picture, t_s)) for t_s in (0.0, 0.04))
        for face in (*still, *first, *second):
            assert percent(face.points, truth).mean() < percent_off
        found += len(still) + len(first)
    assert found >= at_least


def test_an_upright_face_costs_one_more_detection(photo) -> None:
    """When a face is new, and nothing while it is followed."""
    mesher = make(max_faces=1)
    with calls(FaceDetector, "look") as looks:
        for i in range(5):
            assert len(mesher.detect(frame(photo, i / 25))) == 1
    assert len(looks) == 1


@pytest.mark.parametrize("scale", [1.0, 1.2, 1.5])
def test_a_face_upside_down_is_meshed_upside_down(photo, reference, scale) -> None:
    """A camera that hangs from the ceiling gives the photo's mesh, turned, from the first frame."""
    picture, move = placed(photo, 320, 240, 180, scale)
    mesher = make()
    for t_s, cut in ((0.0, True), (0.1, False), (0.2, False)):
        (face,) = mesher.detect(frame(picture, t_s, starts_new_clip=cut))
        assert percent(face.points, move(reference["points"])).mean() < 6
        assert abs(face.head_pose.roll_deg) > 170


@pytest.mark.parametrize(
    ("x", "y"), [(0, 240), (20, 240), (640, 240), (320, 10), (320, 470), (5, 5)]
)
def test_a_face_cut_by_the_edge_does_no_harm(photo, x, y) -> None:
    """Half a face at any edge is meshed on the face or not at all, still or moving."""
    picture, _ = placed(photo, x, y, 0, 1.5)
    mesher = make()
    for t_s, cut in ((0.0, True), (0.1, False), (0.2, False)):
        for face in mesher.detect(frame(picture, t_s, starts_new_clip=cut)):
            check(face)
            assert np.linalg.norm(face.points[:, :2].mean(axis=0) - (x, y)) < 90


def _four(photo: np.ndarray) -> np.ndarray:
    face = photo[20:240, 120:330]
    return np.vstack((np.hstack((face, face)), np.hstack((face, face[:, ::-1]))))


@pytest.mark.parametrize(("places", "found"), [(4, 4), (6, 4), (3, 3), (2, 2), (1, 1)])
def test_as_many_faces_as_there_are_places(photo, places, found) -> None:
    """Of four faces as many are followed as asked for, each once, and they stay the same ones."""
    mesher = make(max_faces=places)
    first = mesher.detect(frame(_four(photo)))
    for i in range(1, 8):
        faces = mesher.detect(frame(_four(photo), i / 25))
        assert len(faces) == len(first) == found
        for before, after in zip(first, faces, strict=True):
            assert percent(after.points, before.points).max() < 5
    middles = np.array([face.points[:, :2].mean(axis=0) for face in first])
    assert len(np.unique(middles.round(-2), axis=0)) == found


def test_overlapping_faces_are_no_two_meshes_of_one(photo) -> None:
    """Of two faces, one over the other, each is meshed at most once, in every frame."""
    face = photo[20:240, 120:330]
    mesher = make()
    for i, shift in enumerate(range(200, 0, -10)):
        picture = np.full((480, 640, 3), 120, np.uint8)
        picture[100:320, 100:310] = face
        picture[120:340, 100 + shift : 310 + shift] = face
        faces = mesher.detect(frame(picture, i / 25))
        assert len(faces) <= 2
        middles = [found.points[:, :2].mean(axis=0) for found in faces]
        if len(middles) == 2:
            assert np.linalg.norm(middles[0] - middles[1]) > 25
        for found in faces:
            check(found)


# --- following


def test_a_face_that_jumps_is_found_at_once(photo) -> None:
    """A followed face that is suddenly elsewhere is found there in the same frame."""
    mesher = make()
    backdrop = np.full((480, 640, 3), 150, np.uint8)
    for t_s, x in ((0.0, 0), (0.04, 0), (0.08, 430), (0.12, 20)):
        picture = backdrop.copy()
        picture[100:320, x : x + 200] = photo[20:240, 125:325]
        (face,) = mesher.detect(frame(picture, t_s))
        assert x < face.points[:, 0].mean() < x + 200


def test_a_face_that_leaves_and_returns(photo) -> None:
    """An empty frame gives none; the same face afterwards is found in its first frame."""
    mesher = make(max_faces=1)
    empty = np.full_like(photo, 128)
    seen = [
        len(mesher.detect(frame(x, i / 25))) for i, x in enumerate((photo, empty, empty, photo))
    ]
    assert seen == [1, 0, 0, 1]


def test_a_cut_forgets_the_faces(photo) -> None:
    """After an unrelated still, the frame that follows is searched afresh."""
    mesher = make()
    assert len(mesher.detect(frame(photo))) == 1
    assert len(mesher.detect(frame(np.zeros_like(photo), 0.1, starts_new_clip=True))) == 0
    with calls(FaceDetector, "detect") as searches:
        assert len(mesher.detect(frame(photo, 0.14))) == 1
    assert len(searches) == 1


def _searches(mesher: LitertMesher, images: list[np.ndarray]) -> int:
    """How often the detector runs over frames at 25 a second."""
    with calls(FaceDetector, "detect") as searches:
        for i, image in enumerate(images):
            mesher.detect(frame(image, i / 25))
    return len(searches)


def test_the_detector_rests_while_faces_are_followed(photo) -> None:
    """No face: every frame. No free place: once. A free place: four times a second."""
    nothing, face = [np.zeros_like(photo)] * 26, [photo] * 26
    assert _searches(make(), nothing) == 26
    assert _searches(make(max_faces=1), face) == 1
    assert _searches(make(max_faces=2), face) == 4
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(), search_interval_s=0.5)
    assert _searches(mesher, face) == 2
    alike = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(), as_mediapipe=True)
    assert _searches(alike, face) == 26


def test_an_idle_mesher_looks_less_often_and_is_wide_awake_at_once(photo) -> None:
    """Nobody there: at most ``idle_fps`` looks a second. A lost face is searched for at once."""
    nothing, face = [np.zeros_like(photo)] * 26, [photo] * 26
    assert _searches(make(max_faces=1, idle_fps=5.0), nothing) == 5
    lost = _searches(make(max_faces=1, idle_fps=5.0), face[:1] + nothing[:1] + face[:3])
    # First sight, the loss, and the next look a fifth of a second after it.
    assert lost == 2


def test_a_second_face_is_found_within_the_interval(photo) -> None:
    """A face that joins a followed one is found a quarter of a second later at most."""
    one = np.full((480, 640, 3), 150, np.uint8)
    one[100:320, 60:260] = photo[20:240, 125:325]
    two = one.copy()
    two[100:320, 360:560] = photo[20:240, 125:325]
    mesher = make()
    assert len(mesher.detect(frame(one))) == 1
    counts = [len(mesher.detect(frame(two, i / 25))) for i in range(1, 9)]
    assert counts[-1] == 2


def test_time_and_size_may_do_as_they_like(photo) -> None:
    """Time that stands still or runs back, and frames that change size, lose nothing."""
    mesher = make()
    small = cv2.resize(photo, (256, 256))
    for t_s, image in ((5.0, photo), (5.0, photo), (1.0, photo), (1.1, small), (1.2, photo)):
        (face,) = mesher.detect(frame(image, t_s))
        check(face)
        assert face.points[:, 0].mean() == pytest.approx(225 * image.shape[1] / 512, rel=0.05)


@pytest.mark.parametrize("sure", [{"min_detection": 1.0}, {"min_presence": 1.0}])
def test_thresholds_are_obeyed(photo, sure) -> None:
    """Nothing is as sure as 1, so nothing is found."""
    mesher = make(**sure)
    assert [len(mesher.detect(frame(photo, t, starts_new_clip=t == 0.0))) for t in (0.0, 0.1)] == [
        0,
        0,
    ]


# --- what a service needs


def test_two_meshers_agree_to_the_bit_and_leave_frames_alone(photo) -> None:
    """The same frames give the same numbers, and no pixel changes."""
    before = photo.copy()
    one, two = make(blendshapes=True), make(blendshapes=True)
    for t_s in (0.0, 0.1):
        (a,), (b,) = one.detect(frame(photo, t_s)), two.detect(frame(photo, t_s))
        assert np.array_equal(a.points, b.points)
        assert np.array_equal(a.blendshapes, b.blendshapes)
    assert np.array_equal(photo, before)


def test_results_are_not_overwritten_by_later_ones(photo) -> None:
    """A face that is kept does not change when other frames are seen."""
    mesher = make(blendshapes=True)
    (kept,) = mesher.detect(frame(photo))
    points, blendshapes = kept.points.copy(), kept.blendshapes.copy()
    shifted = np.roll(photo, 30, axis=1)
    for i in range(1, 4):
        mesher.detect(frame(shifted, i / 25))
    assert np.array_equal(kept.points, points)
    assert np.array_equal(kept.blendshapes, blendshapes)


def test_closing_twice_is_harmless(photo) -> None:
    """Close may be repeated."""
    mesher = make()
    mesher.detect(frame(photo))
    assert [mesher.close(), mesher.close()] == [None, None]


def test_memory_is_bounded(photo) -> None:
    """Over 1,200 frames with and without faces the process grows by under 8 MiB."""
    mesher = make()
    small = cv2.resize(photo, (160, 160))
    images = [small, np.zeros_like(small), np.zeros_like(small), np.zeros_like(small)]

    def run(start: int, count: int) -> int:
        for i in range(start, start + count):
            mesher.detect(frame(images[i % 4], i / 25))
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    assert run(200, 1200) - run(0, 200) < 8 * 2**20


def test_mediapipe_is_not_imported() -> None:
    """Meshing loads neither mediapipe nor anything heavy."""
    code = (
        "import sys, edge.stages.mesh.litert\n"
        "heavy = {'mediapipe', 'tensorflow', 'matplotlib', 'google'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
