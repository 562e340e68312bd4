"""Video files, cameras and streams through OpenCV, on real files made here."""

import logging
import os
import signal
import struct
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest

from edge.errors import CameraError
from edge.media.opencv_errors import to_bgr
from edge.records import Frame
from edge.sources.cameras import opencv
from edge.sources.cameras.contained import ContainedStream
from edge.sources.cameras.opencv import OpenCvCamera
from edge.sources.cameras.opencv_stream import OpenCvStream
from edge.sources.files.opencv_film import OpenCvFilm
from edge.text import without_secrets

pytestmark = pytest.mark.slow

FRAMES = 30
FPS = 25.0


def _write(path: Path, frames: int = FRAMES) -> Path:
    """Write noise over a grey that tells the frame's number, with a red top: BGR (0, 0, 255)."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, FPS, (64, 48))
    for index in range(frames):
        rng = np.random.default_rng(index)
        picture = np.full((48, 64, 3), 4 * index + 60, np.uint8)
        picture += rng.integers(0, 20, picture.shape, dtype=np.uint8)
        picture[:16] = (0, 0, 255)
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    _write(folder / "clip.mp4")
    _write(folder / "clip.avi")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    httpd.handle_error = lambda *_: None  # FFmpeg hangs up when it has seen enough
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _frames(path: Path) -> list[Frame]:
    source = OpenCvFilm(path)
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert source.read() is None
    source.close()
    return frames


def _boxes(data: bytes) -> dict[bytes, bytes]:
    """Split an MP4 into its top-level boxes."""
    boxes, start = {}, 0
    while start < len(data):
        (size,) = struct.unpack_from(">I", data, start)
        boxes[data[start + 4 : start + 8]] = data[start : start + size]
        start += size
    return boxes


def _index_first(data: bytes) -> bytes:
    """Move an MP4's index before its pictures, as recordings for the web have it."""
    boxes = _boxes(data)
    moov = bytearray(boxes[b"moov"])
    table = moov.index(b"stco")
    (count,) = struct.unpack_from(">I", moov, table + 8)
    for entry in range(table + 12, table + 12 + 4 * count, 4):
        (offset,) = struct.unpack_from(">I", moov, entry)
        struct.pack_into(">I", moov, entry, offset + len(moov))
    rest = b"".join(box for name, box in boxes.items() if name not in {b"ftyp", b"moov"})
    return boxes[b"ftyp"] + bytes(moov) + rest


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_file_gives_every_frame_with_its_own_time(folder: Path, name: str) -> None:
    """All frames come in order, numbered, at the file's own times, from its modification time."""
    frames = _frames(folder / name)
    assert [frame.index for frame in frames] == list(range(FRAMES))
    np.testing.assert_allclose([f.t_s for f in frames], np.arange(FRAMES) / FPS, atol=1e-3)
    assert frames[0].captured_at.timestamp() == pytest.approx((folder / name).stat().st_mtime)
    passed = (frames[-1].captured_at - frames[0].captured_at).total_seconds()
    assert passed == pytest.approx(frames[-1].t_s, abs=1e-5)
    greys = [frame.image[32:].mean() for frame in frames]
    assert (np.diff(greys) > 0).all()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_frames_are_bgr(folder: Path, name: str) -> None:
    """The red patch is red: its third channel is the bright one."""
    blue, green, red = _frames(folder / name)[0].image[2:12, 4:60].reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert max(blue, green) < 60


def test_replays_are_exact(folder: Path) -> None:
    """Reading a file twice gives equal pixels and equal times."""
    for one, two in zip(_frames(folder / "clip.mp4"), _frames(folder / "clip.mp4"), strict=True):
        assert (one.t_s, one.captured_at) == (two.t_s, two.captured_at)
        assert np.array_equal(one.image, two.image)


def test_time_rises_where_the_file_says_nothing(folder: Path, tmp_path: Path) -> None:
    """A file whose timestamps stand still gets strictly rising times all the same."""
    data = bytearray((folder / "clip.mp4").read_bytes())
    table = data.index(b"stts")
    (count,) = struct.unpack_from(">I", data, table + 8)
    for entry in range(count):
        struct.pack_into(">I", data, table + 16 + 8 * entry, 0)  # every frame lasts 0
    path = tmp_path / "frozen.mp4"
    path.write_bytes(data)
    times = [frame.t_s for frame in _frames(path)]
    assert len(times) == FRAMES
    assert (np.diff(times) > 0).all()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_file_that_breaks_off_gives_what_it_has(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A truncated file with its index gives its frames, then ends with one warning."""
    data = (folder / name).read_bytes()
    if name.endswith(".mp4"):
        data = _index_first(data)
    path = tmp_path / name
    path.write_bytes(data)
    assert len(_frames(path)) == FRAMES
    assert caplog.records == []
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = _frames(path)
    assert 3 < len(frames) < FRAMES
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert f"announces {FRAMES}" in record.getMessage()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 bytes"),
        (b"this is no video\n" * 500, "a text file, not a video"),
        (None, "not one frame"),
    ],
    ids=["empty", "text", "without index"],
)
def test_unplayable_file_is_one_quiet_error(
    folder: Path, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """Empty, foreign and cut-off files give CameraError in one line."""
    if content is None:
        whole = (folder / "clip.mp4").read_bytes()
        content = whole[: len(whole) // 2]
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=reason) as caught:
        OpenCvFilm(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_file_is_named(tmp_path: Path) -> None:
    """A file that is not there, or a folder, gives CameraError with its name."""
    with pytest.raises(CameraError, match=r"gone\.mp4: no such file"):
        OpenCvFilm(tmp_path / "gone.mp4")
    with pytest.raises(CameraError, match="not a regular file"):
        OpenCvFilm(tmp_path)


def test_closed_file_ends(folder: Path) -> None:
    """After close, also a repeated one, a file gives no more frames."""
    source = OpenCvFilm(folder / "clip.mp4")
    source.close()
    source.close()
    assert source.read() is None


@pytest.mark.parametrize("device", [97, "/dev/v4l/by-id/usb-nothing", "/dev/null"])
def test_absent_camera_is_one_error(device: int | str) -> None:
    """A camera that is not there gives one line that lists what is."""
    with pytest.raises(CameraError, match=r"present: ") as caught:
        OpenCvCamera(device)
    assert "\n" not in str(caught.value)
    assert ("/dev/video97" if device == 97 else str(device)) in str(caught.value)


class _Driver:
    """A V4L2 capture's settings, by a driver that takes only what it has."""

    def __init__(self, formats: tuple[str, ...], size_hw: tuple[int, int], fps: float) -> None:
        self._codes = [cv2.VideoWriter.fourcc(*name) for name in formats]
        self._values = {
            cv2.CAP_PROP_FOURCC: self._codes[-1],
            cv2.CAP_PROP_FRAME_HEIGHT: size_hw[0],
            cv2.CAP_PROP_FRAME_WIDTH: size_hw[1],
            cv2.CAP_PROP_FPS: fps,
        }

    def set(self, key: int, value: float) -> bool:
        """Take a format that is known, nothing else."""
        if key == cv2.CAP_PROP_FOURCC and value in self._codes:
            self._values[key] = int(value)
        return True

    def get(self, key: int) -> float:
        """Tell what is set."""
        return float(self._values[key])


@pytest.mark.parametrize(
    ("formats", "size_hw", "fps", "fourcc", "level"),
    [
        (("YUYV", "MJPG", "BGR3"), (480, 640), 30, "MJPG", "INFO"),
        (("YUYV", "BGR3"), (480, 640), 30, "YUYV", "INFO"),
        (("MJPG",), (720, 1280), 30, "MJPG", "WARNING"),
        (("MJPG",), (480, 640), 15, "MJPG", "WARNING"),
    ],
    ids=["MJPG", "no MJPG", "another size", "half the rate"],
)
def test_what_a_camera_gives_is_told(formats, size_hw, fps, fourcc, level, caplog) -> None:
    """MJPG if it can, then YUYV; what was got is logged, as a warning where less was."""
    caplog.set_level(logging.INFO)
    mode = opencv.negotiate(_Driver(formats, size_hw, fps), (480, 640), 30)
    assert mode == opencv.CaptureMode(size_hw, fps, fourcc)
    opencv.report_mode(Path("/dev/video0"), mode, (480, 640), 30)
    [record] = caplog.records
    assert record.levelname == level
    assert f"{size_hw[1]}x{size_hw[0]}, {fps} fps, {fourcc} (asked for" in record.getMessage()


def test_a_picture_of_no_known_form_is_a_camera_error() -> None:
    """Garbage from a driver is a failed camera, which a service survives, not a bug."""

    class Garbage:
        def read(self) -> tuple[bool, np.ndarray]:
            """Give two channels."""
            return True, np.zeros((4, 5, 2), np.uint8)

    with pytest.raises(CameraError, match="something that is not a picture"):
        opencv.picture_of(Garbage())


def test_stream_gives_frames_then_fails(server: str) -> None:
    """A stream over HTTP gives frames stamped with rising times; its end is a CameraError."""
    stream = OpenCvStream(f"http://{server}/clip.avi")
    frames = [stream.read() for _ in range(10)]
    assert [frame.index for frame in frames] == list(range(10))
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()

    def drain() -> None:
        while stream.read() is not None:
            pass

    with pytest.raises(CameraError, match="gives no more frames"):
        drain()
    stream.close()
    stream.close()


def test_a_crash_of_opencv_is_a_lost_stream(server: str, folder: Path) -> None:
    """A stream is decoded in a child: a crash there is one line, and the run goes on."""
    code = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(folder / "large.avi"), cv2.CAP_FFMPEG, code, FPS, (640, 480))
    for index in range(30):  # more than a pipe holds
        writer.write(np.full((480, 640, 3), 8 * index, np.uint8))
    writer.release()
    stream = ContainedStream(f"http://ann:hunter2@{server}/large.avi")
    frames = [stream.read() for _ in range(5)]
    assert [frame.index for frame in frames] == list(range(5))
    assert frames[0].size_hw == (480, 640)
    assert stream.fps == FPS
    os.kill(stream.pid, signal.SIGSEGV)

    def drain() -> None:
        while stream.read() is not None:
            pass

    with pytest.raises(CameraError, match=r"crashed \(SIGSEGV\).*edgeemo\[video\]") as caught:
        drain()
    assert "hunter2" not in str(caught.value)
    stream.close()
    stream.close()


def test_a_contained_stream_tells_what_its_child_does(server: str) -> None:
    """The end of a stream, and one that is not there, are told as in the process itself."""
    stream = ContainedStream(f"http://{server}/clip.avi")

    def drain() -> None:
        while stream.read() is not None:
            pass

    with pytest.raises(CameraError, match="gives no more frames"):
        drain()
    stream.close()
    with pytest.raises(CameraError, match="no video stream"):
        ContainedStream(f"http://{server}/gone.avi")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_unreachable_stream_keeps_the_password(scheme: str) -> None:
    """A refused stream is one CameraError without user, password or token."""
    with pytest.raises(CameraError, match=r"127\.0\.0\.1:9/live") as caught:
        OpenCvStream(f"{scheme}://ann:hunter2@127.0.0.1:9/live?token=s3cret")
    for secret in ("ann", "hunter2", "s3cret"):
        assert secret not in str(caught.value)


def test_native_code_is_quiet(folder: Path, tmp_path: Path) -> None:
    """In a fresh process nothing that can go wrong makes OpenCV or FFmpeg print anything."""
    whole = (folder / "clip.mp4").read_bytes()
    (tmp_path / "text.mp4").write_bytes(b"this is no video\n" * 500)
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    film = (folder / "clip.avi").read_bytes()
    (tmp_path / "half.avi").write_bytes(film[: len(film) // 2])
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    code = """
        import sys
        from pathlib import Path
        from edge.errors import CameraError
        from edge.sources.cameras import opencv, opencv_stream
        from edge.sources.files import image_folder, opencv_film, recording

        folder = Path(sys.argv[1])
        attempts = [
            *(lambda f=f: opencv_film.OpenCvFilm(f) for f in sorted(folder.glob("*.mp4"))),
            lambda: image_folder.ReplaySource(folder),
            lambda: opencv.OpenCvCamera(97),
            lambda: opencv.open_capture("/dev/video97", opencv.cv2.CAP_V4L2),
            lambda: opencv_stream.OpenCvStream("rtsp://127.0.0.1:9/x"),
            lambda: opencv_stream.OpenCvStream("http://127.0.0.1:9/x"),
        ]
        errors = 0
        for attempt in attempts:
            try:
                attempt()
            except CameraError:
                errors += 1
        source = opencv_film.OpenCvFilm(folder / "half.avi")
        recording._log.disabled = True
        frames = sum(1 for _ in iter(source.read, None))
        print(errors, frames > 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    # The folder of damaged pictures is reported by Python's own logging, in one line.
    assert done.stdout == "6 True\n"
    assert [line for line in done.stderr.splitlines() if "bad.png: not a picture" not in line] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://u:p@host:554/a/b?x=y#z", "rtsp://host:554/a/b"),
        ("rtsp://u:p@ss@host/a", "rtsp://host/a"),
        ("http://host", "http://host"),
    ],
)
def test_without_secrets(url: str, shown: str) -> None:
    """User, password, query and fragment are left out of an address."""
    assert without_secrets(url) == shown


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 5), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 5, 1), 9, np.uint8), (9, 9, 9)),
        (np.full((4, 5, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
        (np.full((4, 5, 4), (1, 2, 3, 77), np.uint8), (1, 2, 3)),
        (np.full((4, 5), 0xFFFF, np.uint16), (255, 255, 255)),
    ],
    ids=["grey", "grey with an axis", "BGR", "BGRA", "16 bit"],
)
def test_every_pixel_form_becomes_bgr(image: np.ndarray, expected: tuple[int, int, int]) -> None:
    """Grey, BGR, BGRA and 16-bit pictures become BGR uint8 of the same size."""
    bgr = to_bgr(image)
    assert bgr.shape == (4, 5, 3)
    assert bgr.dtype == np.uint8
    assert (bgr == expected).all()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 5, 2), np.uint8), np.zeros((4, 5, 3), np.float32), np.zeros(3, np.uint8)]
)
def test_other_pixel_forms_are_refused(image: np.ndarray) -> None:
    """Anything else is refused with its type and shape."""
    with pytest.raises(ValueError, match="expected uint8"):
        to_bgr(image)
