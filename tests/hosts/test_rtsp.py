"""Streams from a real RTSP server: killed, started again, put to sleep, of two sizes, guarded."""

import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError
from edge.records import Frame
from edge.sources import select
from edge.sources.files import av_film
from edge.sources.select import open_source
from edge.sources.wrappers.newest_frame import LatestFrame

DEBIAN_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")
PACKAGES = "gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
PROBE = (
    "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0'); "
    "from gi.repository import Gst, GstRtspServer; Gst.init(None); "
    "assert all(map(Gst.ElementFactory.find, ('videotestsrc', 'jpegenc', 'rtpjpegpay')))"
)
PATIENCE_S = 60


def _is_there() -> bool:
    if not Path(DEBIAN_PYTHON).exists():
        return False
    probe = subprocess.run([DEBIAN_PYTHON, "-c", PROBE], capture_output=True, check=False)
    return probe.returncode == 0


pytestmark = pytest.mark.skipif(
    not _is_there(), reason=f"no RTSP server on this machine: apt-get install {PACKAGES}"
)


class Server:
    """The server as a process of its own, on one port through all its lives."""

    def __init__(self) -> None:
        self.port = "0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [DEBIAN_PYTHON, str(SERVER), self.port],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = self._process.stdout.readline().split()
        assert said[:1] == ["ready"], "the server did not start"
        self.port, self.guarded = said[1:]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    @property
    def url(self) -> str:
        """Where it streams, with a password that must not get out."""
        return f"rtsp://ann:hunter2@127.0.0.1:{self.port}/live"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.kill()


@pytest.fixture(params=["av", "opencv"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have streams decoded by PyAV, or by OpenCV as where PyAV is not installed."""
    if request.param == "av":
        pytest.importorskip("av")
    monkeypatch.setattr(select, "has_av", lambda: request.param == "av")
    return str(request.param)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have PyAV wait 2 s instead of 10 for a picture."""
    monkeypatch.setattr(av_film, "STREAM_TIMEOUT_S", 2.0)


def until_frames(source: LatestFrame, count: int) -> list[Frame]:
    """Return the next frames; losses on the way are skipped."""
    frames: list[Frame] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(frames) < count:
        assert time.monotonic() < deadline, "no frames came"
        if not source.wait(0.5):
            continue
        try:
            frames.append(source.read())
        except CameraError:
            frames.clear()
    return frames


def until_lost(source: LatestFrame) -> str:
    """Read on until the loss is told; return its reason."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < deadline, "the loss was not noticed"
        if not source.wait(0.5):
            continue
        try:
            source.read()
        except CameraError as error:
            return str(error)


def test_a_server_that_is_killed_and_started_again_is_found_again(
    server: Server, decoder: str
) -> None:
    """Three times: frames, SIGKILL, one loss without the password, a new server, frames again."""
    source = open_source(SourceConfig(server.url, reconnect="always"))
    last = -1
    for _ in range(3):
        frames = until_frames(source, 5)
        assert frames[0].size_hw == (240, 320)
        assert frames[0].image.std() > 5  # a white ball on black, not a grey nothing
        assert frames[0].index > last
        last = frames[-1].index
        server.kill()
        reason = until_lost(source)
        assert f"rtsp://127.0.0.1:{server.port}/live" in reason
        assert "hunter2" not in reason
        server.start()
    until_frames(source, 5)
    source.close()


def test_a_server_that_is_absent_at_first_is_waited_for(server: Server, decoder: str) -> None:
    """A service that starts before its camera has the camera when it comes."""
    url = server.url
    server.kill()
    source = open_source(SourceConfig(url, reconnect="always"))
    assert "no video stream" in until_lost(source)
    server.start()
    until_frames(source, 3)
    source.close()


def test_a_server_that_falls_silent_is_a_loss(server: Server, decoder: str) -> None:
    """A connection that stays open but gives nothing ends by a time-out, and is renewed."""
    source = open_source(SourceConfig(server.url, reconnect="always"))
    until_frames(source, 5)
    server.signal(signal.SIGSTOP)
    assert "gives no more frames" in until_lost(source)
    server.signal(signal.SIGCONT)
    until_frames(source, 5)
    source.close()


def test_a_stream_that_changes_its_size_is_followed(server: Server, decoder: str) -> None:
    """Both sizes come, each with its own picture, and a cut between them: no loss, no mixture."""
    source = open_source(SourceConfig(server.url.replace("/live", "/sizes"), reconnect="always"))
    frames: list[Frame] = []
    deadline = time.monotonic() + PATIENCE_S
    sizes = {(240, 320), (128, 160)}
    while (
        sum(frame.starts_new_clip for frame in frames) < 3
        or {frame.size_hw for frame in frames} != sizes
    ):
        assert time.monotonic() < deadline, "the size did not change"
        frames.append(source.read())
    source.close()
    assert {frame.size_hw for frame in frames} == sizes
    for earlier, later in pairwise(frames):
        # What a busy machine leaves out may hold a change, and the change back: the cut is kept.
        may_hide_a_change = later.index > earlier.index + 1
        assert later.starts_new_clip or later.size_hw == earlier.size_hw
        assert not later.starts_new_clip or may_hide_a_change or later.size_hw != earlier.size_hw
    for frame in frames:
        # The ball is white, all else black: no row, and no column, is of another picture.
        white = frame.image.min(axis=2) > 128
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        assert np.ptp(rows) == len(rows) - 1
        assert np.ptp(columns) == len(columns) - 1


def test_a_guarded_stream_needs_its_password(server: Server, decoder: str) -> None:
    """With the password it plays; with another one line says so, without either."""
    url = f"rtsp://ann:{{}}@127.0.0.1:{server.guarded}/live"
    source = open_source(SourceConfig(url.format("hunter2")))
    assert until_frames(source, 3)[0].size_hw == (240, 320)
    source.close()
    with pytest.raises(CameraError, match=r"no video stream.*user and password") as caught:
        open_source(SourceConfig(url.format("s3cret")))
    assert "s3cret" not in str(caught.value)
    assert "ann" not in str(caught.value)
