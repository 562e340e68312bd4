"""Overlay, video file and window: what people see."""

import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import landmarks
from edge.contract.align import MESH_POINTS
from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.errors import ConfigError, SinkError
from edge.preview.canvas import Canvas
from edge.preview.overlay import PALETTE, draw
from edge.preview.video import VideoFile
from edge.preview.window import Window
from edge.records import (
    EmotionEstimate,
    EmotionState,
    Face,
    FaceResult,
    FaceTrack,
    FrameResult,
)
from edge.testing.fakes import make_face, make_frame

SCORES = np.array((0.1, 0.6, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05), np.float32)
BOX = (250.0, 150.0, 370.0, 300.0)


def _result(
    *faces: Face,
    image: np.ndarray | None = None,
    label: str = "happiness",
    scores: np.ndarray = SCORES,
    labels: Sequence[str] = EMOTIONS,
) -> FrameResult:
    labels = tuple(labels)
    estimate = EmotionEstimate(labels, scores)
    state = EmotionState(labels, scores, label, 0.6, changed=False, since_s=0.0)
    results = tuple(
        FaceResult(FaceTrack(number, face, 0.0, is_new=False), estimate, state)
        for number, face in enumerate(faces, 1)
    )
    timings = {"mesh": 10.0, "classify": 1.0} if faces else {}
    return FrameResult(make_frame(7, image), results, (), timings)


def _flat(value: int, size_hw: tuple[int, int] = (480, 640)) -> np.ndarray:
    return np.full((*size_hw, 3), value, np.uint8)


def _changed(picture: np.ndarray, value: int) -> np.ndarray:
    return (picture != value).any(axis=2)


@pytest.mark.parametrize("value", [0, 128, 255], ids=["dark", "grey", "light"])
def test_overlay_is_seen_on_any_ground(value: int) -> None:
    """On black, grey and white, mesh, box, label, scores and timings all stand out."""
    picture = draw(_result(make_face(BOX), image=_flat(value)))
    assert picture.shape == (480, 640, 3)
    contrast = np.abs(picture.astype(int) - value).max(axis=2) > 60
    x1, y1, x2, y2 = (int(v) for v in BOX)
    assert contrast[y1 - 30 : y1 - 8, x1:x2].any()  # label
    assert contrast[y1 - 9 : y1 + 20, x1 - 9 : x1 + 20].any()  # bracket
    assert contrast[y1:y2, x2 + 20 : x2 + 120].mean() > 0.05  # scores
    assert contrast[450:, :300].any()  # timings
    if value < 200:
        assert contrast[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20].any()  # mesh
    else:
        assert _changed(picture, value)[y1 + 20 : y2 - 20, x1 + 20 : x2 - 20].any()


def test_frame_is_not_touched() -> None:
    """Drawing leaves the frame's pixels as they were and gives a writable picture of its own."""
    image = _flat(90)
    result = _result(make_face(BOX), image=image)
    picture = draw(result)
    assert (image == 90).all()
    assert not np.shares_memory(picture, image)
    assert picture.flags.writeable


def test_frame_without_a_face_shows_its_number_only() -> None:
    """Without faces nothing but the strip at the bottom is drawn."""
    changed = _changed(draw(_result(image=_flat(128))), 128)
    assert changed.any()
    assert not changed[:440].any()


def test_longer_scores_draw_longer_bars() -> None:
    """The bar of an emotion grows with its score."""
    lengths = []
    for score in (0.05, 0.3, 0.9):
        rest = np.full(8, (1 - score) / 7, np.float32)
        rest[EMOTIONS.index("sadness")] = score
        picture = draw(_result(make_face(BOX), image=_flat(0), scores=rest, label="neutral"))
        color = np.array(PALETTE["sadness"])
        near = (np.abs(picture.astype(int) - color).max(axis=2) < 12)[:, 440:]
        lengths.append(int(near.any(axis=0).sum()))
    assert lengths[0] < lengths[1] < lengths[2]


def test_label_takes_its_colour() -> None:
    """Two emotions look different; an uncertain face is grey."""
    pictures = {
        label: draw(_result(make_face(BOX), image=_flat(0), label=label))
        for label in ("happiness", "anger", UNCERTAIN)
    }
    x, y = int(BOX[0]) - 7, int(BOX[1])  # on the left arm of the upper left bracket
    for label, picture in pictures.items():
        expected = PALETTE.get(label, (170, 170, 170))
        patch = picture[y : y + 15, x - 3 : x + 4].reshape(-1, 3).astype(int)
        assert np.abs(patch - expected).max(axis=1).min() < 30, label


@pytest.mark.parametrize(
    "box",
    [(-60, -80, 60, 70), (590, 420, 700, 560), (-400, 100, -300, 200), (900, 900, 1000, 1000),
     (0, 0, 640, 480), (300, 200, 301, 201.5), (-5000, -5000, 5000, 5000)],
)  # fmt: skip
def test_faces_anywhere_are_drawn(box: tuple[float, ...]) -> None:
    """Faces at the edge, outside, tiny or huge are drawn without an error, label in sight."""
    picture = draw(_result(make_face(box), image=_flat(0)))
    assert picture.shape == (480, 640, 3)
    label = draw(_result(make_face(BOX), image=_flat(0)))[125:140, 245:360]
    text_like = np.abs(label.astype(int) - PALETTE["happiness"]).max(axis=2) < 25
    found = np.abs(picture.astype(int) - PALETTE["happiness"]).max(axis=2) < 25
    assert found.sum() > 0.9 * text_like.sum() > 100  # the filled label


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e30])
def test_wild_meshes_are_survived(wrong: float) -> None:
    """A mesh with values that are no pixels does not break the picture."""
    points = make_face(BOX).points.copy()
    points[5:9] = wrong
    picture = draw(_result(Face(points, np.array(BOX, np.float32)), image=_flat(0)))
    assert picture.shape == (480, 640, 3)


@pytest.mark.parametrize(
    ("size_hw", "drawn_hw"),
    [((48, 48), (384, 384)), ((240, 320), (480, 640)), ((480, 640), (480, 640)),
     ((1080, 1920), (1080, 1920)), ((1, 1), (360, 360)), ((2, 4000), (2, 4000))],
)  # fmt: skip
def test_small_frames_are_enlarged(size_hw: tuple[int, int], drawn_hw: tuple[int, int]) -> None:
    """Frames too small for text grow by a whole factor; others keep their size."""
    height, width = size_hw
    face = make_face((0.2 * width, 0.2 * height, 0.8 * width, 0.9 * height))
    assert draw(_result(face, image=_flat(50, size_hw))).shape == (*drawn_hw, 3)


def test_drawing_scales_with_the_picture() -> None:
    """At twice the size, about four times as many pixels are drawn."""
    counts = []
    for factor in (1, 2):
        image = _flat(0, (480 * factor, 640 * factor))
        face = make_face([factor * value for value in BOX])
        counts.append(_changed(draw(_result(face, image=image)), 0).sum())
    assert 3.3 < counts[1] / counts[0] < 4.7


@given(
    x=st.floats(-2000, 2000),
    y=st.floats(-2000, 2000),
    text=st.text("abcgjpq #%0123456789", min_size=1, max_size=30).filter(str.strip),
)
def test_labels_are_never_off_screen(x: float, y: float, text: str) -> None:
    """Wherever its point lies, a label is drawn in full."""
    picture = np.zeros((200, 500, 3), np.uint8)
    Canvas(picture).tag(text, (x, y), (0, 0, 0), (200, 200, 200))
    centre = np.zeros((200, 500, 3), np.uint8)
    Canvas(centre).tag(text, (60, 100), (0, 0, 0), (200, 200, 200))
    drawn, expected = _changed(picture, 0), _changed(centre, 0)
    # Cut at an edge, a label would lose rows or columns; half pixels blur one on each side.
    for axis in (0, 1):
        assert abs(drawn.any(axis=axis).sum() - expected.any(axis=axis).sum()) <= 2


def test_panel_goes_where_there_is_room() -> None:
    """Scores stand to the right, at the right edge to the left, and are left out when too big."""
    canvas = Canvas(np.zeros((480, 640, 3), np.uint8))
    assert canvas.beside((100, 100, 200, 200), (150, 130)) == (208, 100)
    assert canvas.beside((500, 100, 600, 200), (150, 130)) == (342, 100)
    x, y = canvas.beside((-50, -300, 700, 900), (150, 130))
    assert (x, y) == (490, 0)
    assert canvas.beside((100, 100, 200, 200), (700, 130)) is None


def test_topology_names_existing_points_once() -> None:
    """Every line of the drawing uses points of the mesh, each once, and no two rings cross."""
    rings = (*landmarks.CONTOURS, *landmarks.LINES)
    used = [index for ring in rings for index in ring]
    assert len(set(used)) == len(used)
    assert set(used) <= set(range(MESH_POINTS))


def _noise(index: int, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 255, (*size_hw, 3), dtype=np.uint8)


def _read_back(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    capture.release()
    return pictures


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "OUT.MP4"])
def test_video_appears_whole_at_close(tmp_path: Path, name: str) -> None:
    """The file has its name only when closed, holds every picture, and leaves nothing beside it."""
    path = tmp_path / name
    video = VideoFile(path, 12.5)
    for index in range(8):
        video.write(np.full((48, 64, 3), 20 * index + 40, np.uint8), index / 12.5)
    assert not path.exists()
    video.close()
    video.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    pictures = _read_back(path)
    assert len(pictures) == 8
    for index, picture in enumerate(pictures):
        assert picture.mean() == pytest.approx(20 * index + 40, abs=4)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    capture.release()


def test_existing_video_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """An older file is replaced at the end, and kept when there is nothing to replace it with."""
    path = tmp_path / "out.avi"
    path.write_bytes(b"older")
    VideoFile(path, 25).close()
    assert path.read_bytes() == b"older"
    video = VideoFile(path, 25)
    video.write(_noise(0), 0.0)
    assert path.read_bytes() == b"older"
    video.close()
    assert len(_read_back(path)) == 1


def test_pictures_of_other_sizes_are_fitted(tmp_path: Path) -> None:
    """Later pictures of any size are fitted into the first one's size, odd sizes included."""
    video = VideoFile(tmp_path / "out.avi", 25)
    for index, size_hw in enumerate(((49, 65), (49, 65), (200, 50), (3, 3), (48, 64))):
        video.write(np.full((*size_hw, 3), 200, np.uint8), index / 25)
    video.close()
    pictures = _read_back(tmp_path / "out.avi")
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 5
    tall = pictures[2].mean(axis=2)
    assert tall[:, 32].min() > 180
    assert tall[:, :20].max() < 30


@pytest.mark.parametrize(
    ("name", "fps", "reason"),
    [
        ("out.txt", 25, "ending in .mp4, .webm or .avi"),
        ("out", 25, "ending in .mp4, .webm or .avi"),
        ("folder.mp4", 25, "is a directory"),
        ("gone/out.mp4", 25, "there is no directory"),
        ("out.mp4", 0, "must be positive"),
        ("out.mp4", float("nan"), "must be positive"),
    ],
)
def test_wrong_video_names_are_refused(tmp_path: Path, name: str, fps: float, reason: str) -> None:
    """A wrong suffix, a directory, a missing folder or rate is bad usage, said before any work."""
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ConfigError, match=reason):
        VideoFile(tmp_path / name, fps)


def test_unwritable_folder_is_said_at_once() -> None:
    """A folder that takes no files is a SinkError before the first frame."""
    with pytest.raises(SinkError, match="cannot be written"):
        VideoFile(Path("/proc/out.mp4"), 25)


def _play(path: Path) -> list[tuple[float, float]]:
    """Return when each picture of a film is shown, in seconds, and its mean brightness."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    shown = []
    while (read := capture.read())[0]:
        shown.append((capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, float(read[1].mean())))
    capture.release()
    return shown


STEADY_5 = [index / 5 for index in range(30)]
BURSTS = [0.0, 0.04, 0.08, 0.12, 1.0, 1.04, 1.08, 2.5, 2.54, 2.96]
LIVE_15 = [1000 + index / 15.5 for index in range(31)]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
@pytest.mark.parametrize(
    ("times", "fps", "lasts_s"),
    [
        (STEADY_5, 5.0, 6.0),
        (BURSTS, 10 / 3, 3.0),
        (BURSTS, None, 3.4),
        (LIVE_15, 30.0, 2.0),
        (LIVE_15, None, 2.0),
        ([0.0, 1.0, 2.0], None, 3.0),
        ([7.0], None, 1.0),
        ([0.0, 0.04, 4000.0], 25.0, 60.0),
    ],
    ids=["5 fps", "VFR", "VFR, no rate", "slow camera", "no rate", "stills", "one", "away"],
)
def test_a_film_takes_as_long_as_what_it_shows(
    tmp_path: Path, suffix: str, times: list[float], fps: float | None, lasts_s: float
) -> None:
    """Each picture is seen at its own time, whatever the rate; a camera's absence is cut short."""
    path = tmp_path / f"out{suffix}"
    video = VideoFile(path, fps)
    for index, t_s in enumerate(times):
        video.write(np.full((48, 64, 3), 30 + 7 * index, np.uint8), t_s)
    video.close()
    assert float(video.description.split()[-2]) == pytest.approx(lasts_s, abs=0.35)
    shown = _play(path)
    grid_s = 1 / (fps or 25)
    at_s = np.array([t_s for t_s, _ in shown])
    assert at_s[0] == 0
    assert at_s[-1] <= lasts_s + 2 * grid_s
    for index, t_s in enumerate(times[:-1]):
        middle_s = (t_s + times[index + 1]) / 2 - times[0]
        if times[index + 1] - t_s < 2 * grid_s or middle_s > lasts_s:
            continue  # shorter than the coarsest writer's steps
        seen = shown[int(np.searchsorted(at_s, middle_s + 1e-3)) - 1]
        assert seen[1] == pytest.approx(30 + 7 * index, abs=4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi"])
def test_full_disk_leaves_no_half_video(tmp_path: Path, suffix: str) -> None:
    """When the disk refuses a part of the video, there is an error and no file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        video = VideoFile(tmp_path / f"out{suffix}", 25)

        def write_all() -> None:
            try:
                for index in range(12):
                    video.write(_noise(index, (240, 320)), index / 25)
            finally:
                video.close()

        with pytest.raises(SinkError, match="disk full"):
            write_all()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_browser_can_play_what_is_written(tmp_path: Path, suffix: str) -> None:
    """H.264, VP8 or VP9, as the description says; the index of an MP4 is where the file says."""
    video = VideoFile(tmp_path / f"out{suffix}", 25)
    for index in range(5):
        video.write(_noise(index), index / 25)
    video.close()
    capture = cv2.VideoCapture(str(tmp_path / f"out{suffix}"), cv2.CAP_FFMPEG)
    code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    capture.release()
    codec = {"avc1": "H.264", "h264": "H.264", "vp09": "VP9", "VP90": "VP9", "VP80": "VP8"}[code]
    assert video.description == f"{codec}, 64x48, 0.2 s"


@pytest.mark.parametrize(("is_live", "codec"), [(False, "VP9"), (True, "MPEG-4")])
def test_opencv_keeps_up_with_a_live_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_live: bool, codec: str
) -> None:
    """Where frames do not wait, and the build lacks H.264, the codec is one that takes 2 ms."""
    monkeypatch.setitem(sys.modules, "av", None)
    video = VideoFile(tmp_path / "out.mp4", 25, is_live=is_live)
    for index in range(3):
        video.write(_noise(index), index / 25)
    video.close()
    assert video.description.startswith((codec, "H.264"))


def test_what_killed_runs_left_behind_is_removed(tmp_path: Path) -> None:
    """Their hidden films go with the next run; those of runs that go on stay, and what is young."""
    absent = next(n for n in range(4_000_000, 5_000_000) if not Path("/proc", str(n)).exists())
    old, young, running, other = (
        tmp_path / name
        for name in (
            f".edgeemo-{absent}.part.mp4",
            f".edgeemo-{absent}.part.avi",
            f".edgeemo-{os.getppid()}.part.mp4",
            ".edgeemo-notes.part.txt",
        )
    )
    for path in (old, young, running, other):
        path.write_bytes(b"film")
        if path != young:
            os.utime(path, (0, 0))
    VideoFile(tmp_path / "out.mp4", 25).close()
    assert set(tmp_path.iterdir()) == {young, running, other}


@pytest.mark.parametrize(
    "name", ["k\udce9.mp4", "-x.avi", "12:30.mp4", "%03d.avi", "a\nb.mp4", "x" * 251 + ".avi"]
)
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    """Bytes that are no UTF-8, dashes, colons, patterns, line breaks, the longest names."""
    folder = tmp_path / "d\udcff"
    folder.mkdir()
    video = VideoFile(folder / name, 25)
    video.write(_noise(0), 0.0)
    video.close()
    assert [entry.name for entry in folder.iterdir()] == [name]
    assert (folder / name).stat().st_size > 500


def test_window_needs_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without windows or a screen, the error names the remedy instead of ending the process."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ConfigError, match="--save-video"):
        Window("edgeemo")


def test_a_face_that_can_not_be_read_shows_why_and_no_scores():
    """Brackets and a tag, no panel of scores, also for a picture without any classification."""
    face = FaceTrack(1, make_face(BOX), 0.0, is_new=False)
    state = EmotionState((), np.empty(0, np.float32), UNCERTAIN, 0.0, changed=True, since_s=0.0)
    result = FaceResult(face, None, state, "too_dark")
    assert result.display_text == "too dark"
    drawn = draw(FrameResult(make_frame(0), (result,)))
    scored = draw(_result(make_face(BOX)))
    assert _changed(drawn, 128).any()
    assert _changed(drawn, 128).sum() < 0.8 * _changed(scored, 128).sum()
