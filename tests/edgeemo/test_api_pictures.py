"""Pictures through the API: whatever form they come in, the same face with the same emotion."""

import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeemo
from edge.system.machine import rss_mb

CALLS = int(os.environ.get("EDGEEMO_CALLS", "120"))


def turned_jpeg(pixels: np.ndarray) -> bytes:
    """A picture that lies on its side, and says so in its EXIF header (orientation 6)."""
    _, encoded = cv2.imencode(".jpg", cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE))
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    body = b"Exif\0\0" + tiff
    data = encoded.tobytes()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.fixture(scope="module")
def expected(analyzer, photo):
    (face,) = analyzer.image(photo)
    return face


class BytesPath(os.PathLike):
    """A path as ``os.scandir(b".")`` has them."""

    def __init__(self, path: Path) -> None:
        self._path = os.fsencode(path)

    def __fspath__(self) -> bytes:
        return self._path


FORMS = {
    "text": lambda photo, pixels: (str(photo), False),
    "a path of bytes": lambda photo, pixels: (BytesPath(photo), False),
    "a buffer": lambda photo, pixels: (bytearray(photo.read_bytes()), False),
    "a view of bytes": lambda photo, pixels: (memoryview(photo.read_bytes()), False),
    "path": lambda photo, pixels: (photo, False),
    "bytes": lambda photo, pixels: (photo.read_bytes(), False),
    "array as OpenCV has it": lambda photo, pixels: (pixels, False),
    "array as Pillow has it": lambda photo, pixels: (pixels[:, :, ::-1].copy(), True),
    "a view that is not contiguous": lambda photo, pixels: (pixels[:, :, ::-1], True),
    "rows padded as picamera2 does": lambda photo, pixels: (
        np.pad(pixels, ((0, 0), (0, 64), (0, 0)))[:, : pixels.shape[1]], False,
    ),
    "with alpha": lambda photo, pixels: (
        np.dstack((pixels, np.full(pixels.shape[:2], 255, np.uint8))), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_gives_the_same_face_in_every_form(analyzer, photo, pixels, expected, form):
    """A path, bytes and arrays of OpenCV, Pillow and picamera2 give one and the same answer."""
    picture, rgb = FORMS[form](photo, pixels)
    (face,) = analyzer.image(picture, rgb=rgb)
    assert face.label == expected.label == "happiness"
    np.testing.assert_array_equal(face.points, expected.points)
    assert face.scores == expected.scores


def test_a_grey_array_is_a_picture(analyzer, pixels):
    """A grey array ``(H, W)`` or ``(H, W, 1)`` has its face, too."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    (face,), (same,) = analyzer.image(grey), analyzer.image(grey[:, :, None])
    assert face.label == same.label == "happiness"


def test_a_face_has_what_the_docs_promise(expected):
    """Shapes, types and units of a face's attributes."""
    assert expected.points.shape == (478, 3)
    assert expected.points.dtype == np.float32
    x1, y1, x2, y2 = expected.box_xyxy.tolist()
    assert 150 < x1 < x2 < 300
    assert 50 < y1 < y2 < 200
    assert sum(expected.scores.values()) == pytest.approx(1, abs=1e-4)
    assert expected.confidence == pytest.approx(expected.scores[expected.label])
    assert expected.estimate.labels == tuple(expected.scores)
    assert expected.state.label == expected.label
    assert expected.quality == "ok"
    assert abs(expected.head_pose.yaw_deg) < 20
    assert expected.blendshapes is None


def test_exif_orientation_is_respected(analyzer, pixels, tmp_path):
    """A photo that lies on its side and says so is turned upright, from a file and from bytes."""
    data = turned_jpeg(pixels)
    (tmp_path / "turned.jpg").write_bytes(data)
    for picture in (tmp_path / "turned.jpg", data):
        frame = analyzer.image(picture)
        (face,) = frame
        assert face.label == "happiness"
        assert 150 < face.box_xyxy[0] < 300


def test_a_face_that_fills_its_picture_is_found(analyzer, pixels):
    """A still is looked at twice without any flag: a cropped face is found, too."""
    frame = analyzer.image(pixels[60:190, 165:290])
    assert [face.label for face in frame] == ["happiness"]


def test_a_picture_without_a_face_is_a_frame_without_faces(analyzer):
    """No face is no error; the frame is true, empty and can be drawn."""
    frame = analyzer.image(np.full((120, 160, 3), 127, np.uint8))
    assert frame
    assert not list(frame)
    assert len(frame) == 0
    assert frame.draw().image.shape[2] == 3


WRONG = {
    "float": (np.zeros((4, 4, 3), np.float32), edgeemo.PictureError, "float32 (4, 4, 3)"),
    "five channels": (np.zeros((4, 4, 5), np.uint8), edgeemo.PictureError, "expected uint8"),
    "one dimension": (np.zeros(7, np.uint8), edgeemo.PictureError, "uint8 (7,)"),
    "nothing": (np.zeros((0, 4, 3), np.uint8), edgeemo.PictureError, "(0, 4, 3)"),
    "empty bytes": (b"", edgeemo.PictureError, "an empty file"),
    "no picture": (b"hello, I am a text", edgeemo.PictureError, "a text file, expected"),
    "no such file": ("nowhere/photo.jpg", edgeemo.PictureError, "nowhere/photo.jpg"),
    "a number": (7, edgeemo.ConfigError, "got int"),
    "an address": ("https://a.org/b.jpg", edgeemo.ConfigError, "an address, expected a file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_is_refused(analyzer, name):
    """One line says what was given and what was expected."""
    picture, error, words = WRONG[name]
    with pytest.raises(error) as told:
        analyzer.image(picture)
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_many_pictures_keep_their_order_and_their_failures(analyzer, photo, pixels, tmp_path):
    """Failures are items in their place: the others are analyzed all the same."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:5000])
    items = list(analyzer.images([photo, broken, pixels, 7], progress=True))
    assert [bool(item) for item in items] == [True, False, True, False]
    assert [item.index for item in items] == [0, 1, 2, 3]
    assert [len(item.faces) for item in items] == [1, 0, 1, 0]
    assert isinstance(items[1], edgeemo.Failure)
    assert isinstance(items[1].error, edgeemo.PictureError)
    assert items[1].file == str(broken)
    again = pickle.loads(pickle.dumps(items))
    assert str(again[1].error) == str(items[1].error)
    assert again[0].faces[0].scores == items[0].faces[0].scores


def test_a_folder_is_many_pictures(analyzer, pixels, tmp_path):
    """The pictures of a folder come in natural order; what else lies there is skipped."""
    for name in ("10.png", "9.png"):
        cv2.imwrite(str(tmp_path / name), pixels[60:190, 165:290])
    (tmp_path / "notes.txt").write_text("no picture")
    frames = list(analyzer.images(tmp_path))
    assert [Path(frame.file).name for frame in frames] == ["9.png", "10.png"]
    with pytest.raises(edgeemo.ConfigError, match="no such folder"):
        analyzer.images(tmp_path / "nowhere")


@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_one_picture_is_not_taken_for_many(analyzer, photo, pixels, kind):
    """Neither the numbers in a file's bytes nor the rows of an array are pictures."""
    with pytest.raises(edgeemo.ConfigError, match="one picture, expected many"):
        analyzer.images(photo.read_bytes() if kind == "bytes" else pixels)


def test_a_stack_of_arrays_is_many_pictures(analyzer, pixels):
    """An array ``(n, H, W, 3)``."""
    assert [len(frame) for frame in analyzer.images(np.stack([pixels, pixels]))] == [1, 1]


def test_results_can_be_pickled(analyzer, photo):
    """Frames and faces cross processes unchanged."""
    frame = analyzer.image(photo)
    same = pickle.loads(pickle.dumps(frame))
    assert same.to_dict() == frame.to_dict()
    np.testing.assert_array_equal(same.image, frame.image)
    face = pickle.loads(pickle.dumps(frame.faces[0]))
    assert face.to_dict() == frame.faces[0].to_dict()


def test_an_analyzer_stays_in_its_process(analyzer):
    """Who hands it to another one learns what to do instead."""
    with pytest.raises(TypeError, match="make one in each"):
        pickle.dumps(analyzer.image)


def test_a_drawing_is_saved_whole(analyzer, photo, tmp_path):
    """``draw().save()`` writes a picture that decodes to the same; another ending is refused."""
    drawing = analyzer.image(photo).draw()
    drawing.save(tmp_path / "seen.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "seen.png")), drawing.image)
    np.testing.assert_array_equal(drawing.rgb[:, :, ::-1], drawing.image)
    assert repr(drawing) == "Drawing(512x512)"
    with pytest.raises(edgeemo.ConfigError, match=r"\.png"):
        drawing.save(tmp_path / "seen.gif")
    with pytest.raises(edgeemo.SinkError, match="nowhere"):
        drawing.save(tmp_path / "nowhere" / "seen.png")
    assert [path.name for path in tmp_path.iterdir()] == ["seen.png"]


def test_any_thread_may_ask(analyzer, pixels):
    """Four threads with different pictures get the answers that one would."""
    pictures = [pixels, pixels[:, ::-1].copy(), pixels[60:190, 165:290], pixels[:256]]
    alone = [[face.to_dict()["box"] for face in analyzer.image(p)] for p in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(analyzer.image, pictures * 4))
    boxes = [[face.to_dict()["box"] for face in frame] for frame in together]
    assert boxes == alone * 4


def test_memory_stays_flat(analyzer, pixels):
    """Thousands of pictures leave memory as it was (``EDGEEMO_CALLS=10000``)."""
    face = pixels[60:190, 165:290]
    for _ in range(CALLS // 4):
        analyzer.image(face)
    before = rss_mb()
    for _ in range(CALLS):
        analyzer.image(face)
    assert rss_mb() - before < 8


def test_a_closed_analyzer_says_so(photo):
    """After ``close()``, which may be repeated, pictures and films are refused."""
    analyzer = edgeemo.Analyzer()
    analyzer.image(photo)
    analyzer.close()
    analyzer.close()
    for call in (analyzer.image, analyzer.video):
        with pytest.raises(edgeemo.ConfigError, match="closed"):
            call(photo)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"max_faces": 0}, edgeemo.ConfigError, "1 to 100"),
        ({"tau": 3.0}, edgeemo.ConfigError, "0 to 2"),
        ({"reach": "nearly"}, edgeemo.ConfigError, '"near" or "far"'),
        ({"model": "no-bundle"}, edgeemo.BundleError, "no-bundle"),
        ({"config": "no-config.toml"}, edgeemo.ConfigError, "no-config.toml"),
        ({"config": {"tau": 1.0}}, edgeemo.ConfigError, "TOML file or a Config, got dict"),
        (
            {"model": object()},
            edgeemo.ConfigError,
            "object, which has no template, classify, close",
        ),
    ],
)
def test_wrong_settings_are_told_at_once(settings, error, words):
    """An analyzer with wrong settings is never made."""
    with pytest.raises(error) as told:
        edgeemo.Analyzer(**settings)
    assert words in str(told.value)
