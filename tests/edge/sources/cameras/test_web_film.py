"""A finished film behind an http address ends as a film does; what is live goes on."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError
from edge.records import Frame
from edge.sources import select
from edge.sources.cameras import web_film
from edge.sources.select import open_source
from edge.sources.wrappers.newest_frame import LatestFrame

pytestmark = pytest.mark.slow

KINDS = {"film.mp4": "mp4v", "film.avi": "MJPG", "film.mkv": "mp4v", "film.ts": "mp4v", "film": ""}


@pytest.fixture(params=["av", "opencv"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have films decoded by PyAV, or by OpenCV as where PyAV is not installed."""
    if request.param == "av" and not find_spec("av"):
        pytest.skip("PyAV is not installed: edgeemo[video]")
    monkeypatch.setattr(select, "has_av", lambda: request.param == "av")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    httpd.handle_error = lambda *_: None  # whoever has seen enough hangs up
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://ann:hunter2@127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def write(path: Path, code: str, count: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 10 * index, np.uint8))
    writer.release()
    return path


def read_all(open_it: Callable[[], object]) -> list[Frame]:
    source = open_it()
    frames = list(iter(source.read, None))
    assert source.read() is None
    source.close()
    return frames


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", KINDS)
def test_a_film_over_http_is_a_film(tmp_path: Path, url: str, name: str) -> None:
    """All its frames, at its own times and in order, and then the end; nothing is left behind."""
    path = write(tmp_path / name, KINDS[name]) if KINDS[name] else tmp_path / name
    if not path.exists():
        write(tmp_path / "film.mp4", "mp4v").rename(
            path
        )  # a server calls it application/octet-stream
    frames = read_all(lambda: open_source(SourceConfig(f"{url}/{name}")))
    assert len(frames) == 20
    np.testing.assert_allclose([frame.t_s for frame in frames], np.arange(20) / 25, atol=2e-3)
    assert frames[0].captured_at.timestamp() == pytest.approx(path.stat().st_mtime, abs=1)
    assert len(read_all(lambda: open_source(SourceConfig(f"{url}/{name}", every_n=3)))) == 7


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("notes.bin", b"a text, no film\n" * 40, "a text file, not a video"),
        ("film.mp4", b"\0\0\0\x20ftypisom" + bytes(500), "not one frame can be decoded"),
    ],
)
def test_what_is_no_film_is_named(tmp_path: Path, url: str, name: str, content, told: str) -> None:
    """One line with the address, without the password."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CameraError, match=told) as caught:
        open_source(SourceConfig(f"{url}/{name}"))
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_film_too_large_for_a_copy_is_refused(tmp_path: Path, url: str, monkeypatch) -> None:
    """Without PyAV it would fill the disk: one line tells how large it is, and what does better."""
    write(tmp_path / "film.avi", "MJPG")
    monkeypatch.setattr(select, "has_av", lambda: False)
    monkeypatch.setattr(web_film, "SPARE_BYTES", 1 << 62)
    with pytest.raises(CameraError, match=r"0 MB are free.*edgeemo\[video\]"):
        open_source(SourceConfig(f"{url}/film.avi"))


@pytest.mark.usefixtures("decoder")
def test_a_service_stays_with_an_address(tmp_path: Path, url: str) -> None:
    """Where sources are opened again for ever, an address is, too."""
    write(tmp_path / "film.avi", "MJPG")
    source = open_source(SourceConfig(f"{url}/film.avi", reconnect="always"))
    assert isinstance(source, LatestFrame)
    assert source.recovers
    source.close()


@pytest.mark.usefixtures("decoder")
def test_a_film_whose_index_is_at_its_end_is_read(tmp_path: Path, url: str) -> None:
    """The server gives no byte ranges, and the film is larger than what FFmpeg keeps of it."""
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (640, 480))
    grain = np.random.default_rng(3)
    for _ in range(30):
        writer.write(grain.integers(0, 256, (480, 640, 3), np.uint8))
    writer.release()
    assert path.stat().st_size > 2_000_000
    assert len(read_all(lambda: open_source(SourceConfig(f"{url}/film.mp4")))) == 30
