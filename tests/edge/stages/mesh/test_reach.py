"""``mesher.reach``: far finds small faces that near does not, invents none, and rests as near does.

The scenes are those of ``benchmarks/reach.py``. ``EDGEEMO_SCENES=2000`` (`make soak`) makes as many
pictures without a face, and a tenth as many with one; what is asserted is the same.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reach import (
    KINDS,
    Portrait,
    Scene,
    composed,
    faceless,
    look,
    mesher_of,
    paste,
    portraits,
)
from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig, QualityConfig, load_config
from edge.errors import ConfigError
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.litert.detector import FaceDetector
from edge.stages.mesh.litert.roi import Roi
from edge.stages.mesh.litert.second_look import is_known, tiles
from edge.stages.quality import FaceQualityFilter
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import make_frame
from edge.testing.scenes import WAYS
from edgeemo.cli.main import main
from tests.helpers import calls

pytestmark = pytest.mark.slow

SCENES = int(os.environ.get("EDGEEMO_SCENES", "30"))
HOLDS = 0.95


@pytest.fixture(scope="module")
def far() -> LitertMesher:
    """One mesher for pictures that have nothing to do with each other."""
    return mesher_of("far")


@pytest.fixture(scope="module")
def heads() -> list[Portrait]:
    return portraits()


def wall(size_hw: tuple[int, int] = (480, 640)) -> np.ndarray:
    return faceless(1, size_hw)


# --- what is found, and what is not


@pytest.mark.parametrize(
    ("size_hw", "widths"),
    [((480, 640), (32, 32)), ((480, 640), (32, 48)), ((720, 1280), (48, 48))],
    ids=["32 px of 640", "32 to 48 px of 640", "48 px of 1280"],
)
def test_small_faces_are_found_where_they_are(far, heads, size_hw, widths) -> None:
    """On any background, anywhere, tilted, in any light: 95 % of them, and nothing else."""
    found = 0
    count = max(20, SCENES // 10)
    for index in range(count):
        scene = composed(index, heads, widths, size_hw)
        here = [scene.is_at(face.box_xyxy) for face in look(far, scene.image)]
        assert all(here), f"scene {index}: a face where there is none"
        found += any(here)
    assert found >= HOLDS * count


def test_near_does_not_find_them(heads) -> None:
    """The scenes are beyond near's reach: far is what finds them."""
    near = mesher_of("near")
    scenes = [composed(index, heads, (32, 32), (480, 640)) for index in range(20)]
    assert sum(bool(look(near, scene.image)) for scene in scenes) <= 1


def test_no_face_is_seen_where_there_is_none(far) -> None:
    """Noise, gradients, patterns, letters, lamps, rooms, heads without features: nothing."""
    for index in range(SCENES):
        kind = KINDS[index % len(KINDS)].__name__
        assert list(look(far, faceless(index))) == [], f"{kind}, {index}"


def test_in_a_film_neither() -> None:
    """Nor in a film of each, with a search in every frame."""
    mesher = mesher_of("far")
    for index in range(3 * len(KINDS)):
        image = faceless(10_000 + index // 3)
        assert list(mesher.detect(make_frame(index, image, fps=4))) == [], index


# --- what near finds stays as it is


@pytest.mark.parametrize("faces", [1, 2, 4])
def test_far_takes_nothing_away_and_changes_nothing(far, faces) -> None:
    """Of the demo's frames as stills, each of near's faces comes first, with the same points."""
    demo, near = DemoSource(ways=WAYS[faces]), mesher_of("near")
    for index in range(0, demo.frames, 20):
        image = demo.render(index)
        expected, actual = look(near, image), look(far, image)
        for one, other in zip(expected, actual, strict=False):
            assert np.array_equal(one.points, other.points)
        boxes = [demo.ground_truth(index, face) for face in range(faces)]
        for face in actual[len(expected) :]:  # cut by the edge, perhaps
            middle = (face.box_xyxy[:2] + face.box_xyxy[2:]) / 2
            assert any(
                box is not None and (box[:2] < middle).all() and (middle < box[2:]).all()
                for box in boxes
            ), index
        assert len(expected) <= len(actual) <= faces


def test_near_never_looks_at_a_tile(heads) -> None:
    """The default costs what it did: not one proposal is asked for."""
    assert MesherConfig().reach == "near"
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig())
    with calls(FaceDetector, "propose") as proposals:
        for i, cut in enumerate((False, False, True)):
            mesher.detect(make_frame(i, wall(), fps=1, starts_new_clip=cut))
    assert not proposals


def test_large_and_small_faces_are_each_found_once(far, heads) -> None:
    """Beside a large face, two small ones: three meshes, each where its face is."""
    truth = [paste(wall(), heads[0], at, width) for at, width in
             (((330, 240), 130), ((90, 90), 34), ((560, 400), 36))]  # fmt: skip
    picture = wall()
    for at, width in (((330, 240), 130), ((90, 90), 34), ((560, 400), 36)):
        picture = paste(picture, heads[0], at, width).image
    faces = look(far, picture)
    assert len(faces) == 3
    for scene in truth:
        assert sum(scene.is_at(face.box_xyxy) for face in faces) == 1


@pytest.mark.parametrize("places", [1, 2, 3])
def test_no_more_faces_than_places(heads, places) -> None:
    """Of three small faces as many are found as asked for, in a still as in a film."""
    picture = wall()
    for at in ((90, 90), (330, 240), (560, 400)):
        picture = paste(picture, heads[0], at, 36).image
    mesher = mesher_of("far", max_faces=places)
    assert len(look(mesher, picture)) == places
    for i in range(4):
        assert len(mesher.detect(make_frame(i, picture))) == places


@pytest.mark.parametrize("sure", [{"min_detection": 1.0}, {"min_presence": 1.0}])
def test_thresholds_hold_for_small_faces_too(heads, sure) -> None:
    """Nothing is as sure as 1, so nothing is found."""
    assert not look(mesher_of("far", **sure), composed(0, heads, (40, 40), (480, 640)).image)


# --- how often it looks


def _searches(mesher: LitertMesher, images: list[np.ndarray]) -> int:
    """How often the tiles are gone through over frames at 25 a second."""
    with calls(FaceDetector, "propose") as searches:
        for i, image in enumerate(images):
            mesher.detect(make_frame(i, image))
    return len(searches)


@pytest.mark.parametrize(
    ("config", "shown", "searches"),
    [
        ({}, "wall", 4),
        ({"idle_fps": 2.0}, "wall", 2),
        ({"max_faces": 2}, "face", 4),
        ({"max_faces": 1}, "face", 0),
    ],
    ids=["nobody", "nobody, idle", "a place free", "no place free"],
)
def test_tiles_are_looked_at_as_often_as_further_faces_are_searched_for(
    config, shown, searches
) -> None:
    """Four times a second at most, less where the mesher idles, and never without a free place."""
    demo = DemoSource()
    whole = next(i for i in range(demo.frames) if demo.visible_fraction(i) == 1)
    image = wall() if shown == "wall" else demo.render(whole)
    assert _searches(mesher_of("far", **config), [image] * 25) == searches


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_tiles_cover_any_picture_and_are_few(height: int, width: int) -> None:
    """Every face of a fifteenth of the shorter side lies wholly in one tile; at most 30 of them."""
    found = tiles((height, width))
    assert len(found) <= 40
    face = min(height, width) / 15
    for y in np.linspace(face / 2, height - face / 2, 7):
        for x in np.linspace(face / 2, width - face / 2, 7):
            assert any(
                max(abs(tile.x - x), abs(tile.y - y)) <= (tile.width - face) / 2 + 1e-6
                for tile in found
            )


@pytest.mark.parametrize(
    ("roi", "known"),
    [
        (Roi(100, 100, 60, 60), True),
        (Roi(110, 95, 30, 30), True),
        (Roi(70, 70, 300, 300), True),
        (Roi(160, 100, 60, 60), False),
        (Roi(100, 170, 20, 20), False),
    ],
    ids=["itself", "a part of it", "around it", "a neighbour", "below it"],
)
def test_a_part_of_a_face_is_no_other_face(roi, known) -> None:
    """What lies in a face, or around one, is that face; what lies beside it is another."""
    assert is_known(roi, [Roi(100, 100, 60, 60)], 0.5) is known


# --- following


def _walk(head: Portrait, widths: np.ndarray, pace: float) -> Iterator[tuple[int, Scene]]:
    """A face that walks back and forth in a room at up to ``pace`` pixels a frame, and tilts."""
    room = faceless(13)
    for i, width in enumerate(widths):
        at = 320 + 150 * np.sin(i * pace / 150), 240 + 60 * np.sin(i * pace / 110)
        yield i, paste(room, head, at, float(width), float(15 * np.sin(i / 15)))


@pytest.mark.parametrize(("width", "pace"), [(32, 4), (32, 12), (40, 12)])
def test_a_small_face_is_followed_as_one(heads, width, pace) -> None:
    """It keeps its number at a stroll and at a run (300 pixels a second), lost and found again."""
    frames = 50
    mesher, tracker, seen = mesher_of("far"), FaceTracker(), []
    for i, scene in _walk(heads[0], np.full(frames, width), pace):
        faces = mesher.detect(make_frame(i, scene.image))
        assert all(scene.is_at(face.box_xyxy) for face in faces), i
        tracks, _ = tracker.update(faces, i / 25)
        seen += [track.track_id for track in tracks]
    assert set(seen) == {1}
    assert len(seen) >= HOLDS * (frames - 2)


def test_a_face_that_goes_away_becomes_too_small(heads) -> None:
    """Followed down to 18 pixels: classified down to ``min_width_px``, then named too small."""
    mesher, gate = (
        mesher_of("far"),
        FaceQualityFilter(QualityConfig(max_yaw_deg=180, max_pitch_deg=180)),
    )
    # Sharp and without noise: what is refused here is refused for its size.
    crop = np.kron(np.random.default_rng(0).integers(40, 220, (12, 12)), np.ones((4, 4))).astype(
        "u1"
    )
    widths, said = np.linspace(30, 17, 60), []
    for i, scene in _walk(heads[0], widths, 2):
        faces = mesher.detect(make_frame(i, scene.image))
        said += [gate.check(1, face, lambda: crop)[0] for face in faces]
    assert len(said) >= HOLDS * len(widths)
    first = said.index("too_small")
    assert set(said[:first]) == {"ok"}
    assert set(said[first:]) == {"too_small"}
    assert widths[first] == pytest.approx(QualityConfig().min_width_px, abs=3)


# --- asking for it


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ('reach = "far"', None),
        ('kind = "litert"\nreach = "far"', None),
        ('kind = "mediapipe"\nreach = "near"', None),
        ('kind = "mediapipe"\nreach = "far"', 'needs kind = "litert"'),
        ('reach = "middle"', 'mesher.reach: expected "near" or "far"'),
    ],
)
def test_the_configuration_takes_it_for_the_mesher_that_has_it(
    tmp_path: Path, lines: str, error: str | None
) -> None:
    """MediaPipe's landmarker cannot look at tiles: asking it to is refused with the remedy."""
    path = tmp_path / "edgeemo.toml"
    path.write_text(f"[mesher]\n{lines}\n")
    if error is None:
        assert load_config(path).mesher.reach in lines
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert error in str(caught.value)


def test_the_command_refuses_what_the_configuration_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run --mesher mediapipe --reach far` ends with 2 and one line, before anything is opened."""
    words = ["run", "--source", "demo", "--mesher", "mediapipe", "--reach", "far"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--log-dir", str(tmp_path / "logs")])
    assert ended.value.code == 2
    assert 'reach = "far" needs kind = "litert"' in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()
