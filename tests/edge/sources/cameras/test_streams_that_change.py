"""Network streams that change their size, through every decoder: never a picture made of two."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest

from edge.errors import CameraError
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.cameras.contained import ContainedStream
from edge.sources.files.survey import survey

pytestmark = pytest.mark.slow


if HAS_AV := find_spec("av") is not None:
    from edge.sources.files.av_film import AvStream

OPENERS: list[Callable[[str], FrameSource]] = [ContainedStream, *([AvStream] if HAS_AV else [])]
SIZES = [(96, 128), (48, 64), (64, 96)]
EACH = 24
BY_OPENCV = ["mp4v", "mpg2", "jpeg"]
BY_AV = ["libx264", "libx265", "mpeg2video"]


def scene(number: int, size_hw: tuple[int, int]) -> np.ndarray:
    """Return a picture that is bright above and dark below, and a part number's grey between."""
    picture = np.full((*size_hw, 3), 60 + 40 * number, np.uint8)
    picture[: size_hw[0] // 4], picture[-size_hw[0] // 4 :] = 230, 20
    return picture


def by_opencv(path: Path, codec: str, number: int, size_hw: tuple[int, int]) -> None:
    if codec == "jpeg":
        path.write_bytes(cv2.imencode(".jpg", scene(number, size_hw))[1].tobytes() * EACH)
        return
    fourcc = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25, size_hw[::-1])
    assert writer.isOpened()
    for _ in range(EACH):
        writer.write(scene(number, size_hw))
    writer.release()


def by_av(path: Path, codec: str, number: int, size_hw: tuple[int, int]) -> None:
    import av

    with av.open(str(path), "w") as film:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = film.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size_hw
        stream.pix_fmt = "yuv420p"
        for _ in range(EACH):
            frame = av.VideoFrame.from_ndarray(scene(number, size_hw), format="bgr24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    yield f"127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def read_to_end(source: FrameSource) -> list[Frame]:
    frames = []

    def drain() -> None:
        while True:
            frames.append(source.read())

    with pytest.raises(CameraError, match="gives no more frames"):
        drain()
    source.close()
    return frames


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("codec", [*BY_OPENCV, *(BY_AV if HAS_AV else [])])
def test_a_stream_that_changes_is_followed(
    tmp_path: Path, server: str, opener: Callable[[str], FrameSource], codec: str
) -> None:
    """Each size comes with its own pictures alone, and a cut where it changes."""
    write = by_opencv if codec in BY_OPENCV else by_av
    for number, size_hw in enumerate(SIZES):
        write(tmp_path / f"{number}.ts", codec, number, size_hw)
    parts = [tmp_path / f"{number}.ts" for number in range(len(SIZES))]
    (tmp_path / "live").write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = read_to_end(opener(f"http://{server}/live"))
    sizes = [size for size, _ in itertools.groupby(frame.size_hw for frame in frames)]
    assert sizes == SIZES
    assert len(frames) >= len(SIZES) * EACH - 6
    assert sum(frame.starts_new_clip for frame in frames) == len(SIZES) - 1
    for frame in frames:
        expected = scene(SIZES.index(frame.size_hw), frame.size_hw).astype(int)
        rows = np.abs(frame.image.astype(int) - expected).mean(axis=(1, 2))
        assert np.median(rows) < 8
        assert np.mean(rows) < 12
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()


def test_a_stream_of_an_unknown_codec_is_refused_by_name(tmp_path: Path, server: str) -> None:
    """Where packets do not tell of a change, OpenCV is not trusted: one line names the remedy."""
    fourcc = cv2.VideoWriter.fourcc(*"FLV1")
    writer = cv2.VideoWriter(str(tmp_path / "a.flv"), cv2.CAP_FFMPEG, fourcc, 25, (64, 48))
    for _ in range(9):
        writer.write(scene(1, (48, 64)))
    writer.release()
    assert survey(str(tmp_path / "a.flv")).codec == "flv1"
    with pytest.raises(CameraError, match=r"a stream of 'flv1'.*edgeemo\[video\]"):
        ContainedStream(f"http://{server}/a.flv")
