"""The newest-frame thread, and the choice of a source by its name."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError, ConfigError
from edge.records import Frame
from edge.sources.demo.source import DemoSource
from edge.sources.files.image_folder import ReplaySource
from edge.sources.select import LIVE, open_source, source_kind
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.testing.fakes import FakeSource, make_frame
from tests.helpers import join_threads, threads

PATIENCE_S = 30
"""How long a test waits before it calls a thread stuck; never reached when all is well."""


class _Gated:
    """Gives a frame for every permit, so that a test decides when frames come."""

    fps = 25.0
    dropped = 0

    def __init__(self, then: Callable[[], Frame | None] | None = None, frames: int = 1000) -> None:
        self.permits = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)
        self.closed_by: str | None = None
        self._frames = frames
        self._then = then
        self._index = 0

    def read(self) -> Frame | None:
        self.asked.release()
        assert self.permits.acquire(timeout=PATIENCE_S)
        if self._index >= self._frames:
            return self._then() if self._then else None
        self._index += 1
        return make_frame(self._index - 1)

    def close(self) -> None:
        self.closed_by = threading.current_thread().name

    def give(self, count: int) -> None:
        """Let ``count`` frames through and wait until the reader of them asks for the next."""
        for _ in range(count):
            assert self.asked.acquire(timeout=PATIENCE_S)
            self.permits.release()
        assert self.asked.acquire(timeout=PATIENCE_S)
        self.asked.release()


def test_newest_frame_wins_and_the_others_are_counted() -> None:
    """After five frames nobody read, the fifth is given and four are counted as dropped."""
    gated = _Gated()
    latest = LatestFrame(gated)
    gated.give(5)
    assert latest.read().index == 4
    assert latest.dropped == 4
    gated.give(1)
    assert latest.read().index == 5
    assert latest.dropped == 4
    gated.permits.release(10)
    latest.close()


def test_no_frame_is_given_twice() -> None:
    """Frames of a slow source are each given once, in order, then the end."""
    gated = _Gated(frames=3)
    latest = LatestFrame(gated)
    seen = []
    for _ in range(3):
        gated.give(1)
        seen.append(latest.read().index)
    gated.permits.release()
    assert latest.read() is None
    assert latest.read() is None
    assert seen == [0, 1, 2]
    assert latest.dropped == 0
    latest.close()


@pytest.mark.parametrize("error", [CameraError("unplugged"), ValueError("a bug")])
def test_error_reaches_the_reader_after_the_last_frame(error: Exception) -> None:
    """Whatever the source raises is raised to the reader, every time, after the last good frame."""

    def fail() -> None:
        raise error

    gated = _Gated(fail, frames=2)
    latest = LatestFrame(gated)
    gated.give(2)
    gated.permits.release()
    join_threads("latest-frame")
    assert latest.read().index == 1
    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            latest.read()
    latest.close()


def test_a_thinned_source_is_alive_though_it_gives_little() -> None:
    """What is left out on purpose is no silence, and no loss; a cut among it is kept."""
    gated = _Gated(frames=41)
    latest = LatestFrame(gated, stall_s=2.0, every_n=20)
    stopping = threading.Event()

    def deliver() -> None:
        while not stopping.wait(0.2):  # 4 s from one frame that is given to the next
            gated.permits.release()

    thread = threading.Thread(target=deliver)
    thread.start()
    assert [latest.read().index for _ in range(3)] == [0, 20, 40]
    assert latest.dropped == 0
    assert latest.fps == 25 / 20
    stopping.set()
    thread.join()
    gated.permits.release(2)
    latest.close()


@pytest.mark.parametrize("every_n", [1, 2], ids=["nobody read it", "skipped on purpose"])
def test_a_cut_that_is_left_out_is_kept(every_n: int) -> None:
    """The frame that is given after it starts afresh."""
    frames = [make_frame(i, starts_new_clip=i == 1) for i in range(3)]
    latest = LatestFrame(FakeSource(frames), every_n=every_n)
    join_threads("latest-frame")
    frame = latest.read()
    assert (frame.index, frame.starts_new_clip) == (2, True)
    latest.close()


def test_silent_source_is_a_failed_camera() -> None:
    """A source that gives nothing for the stall time is reported instead of waited for."""
    gated = _Gated()
    latest = LatestFrame(gated, stall_s=0.05)
    with pytest.raises(CameraError, match="no frame for"):
        latest.read()
    gated.permits.release(2)
    latest.close()


def test_source_is_closed_by_its_own_thread() -> None:
    """The thread that reads the source also closes it, and is gone after close."""
    gated = _Gated()
    latest = LatestFrame(gated)
    gated.permits.release(3)
    latest.close()
    latest.close()
    assert gated.closed_by == "latest-frame"
    assert not threads("latest-frame")
    assert latest.read() is None


def test_close_wakes_a_waiting_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waits for a camera that hangs gets None when another thread closes."""
    monkeypatch.setattr("edge.sources.wrappers.newest_frame.JOIN_S", 0.05)
    gated = _Gated()
    latest = LatestFrame(gated, stall_s=PATIENCE_S)
    answers: list[Frame | None] = []
    reader = threading.Thread(target=lambda: answers.append(latest.read()))
    reader.start()
    latest.close()
    reader.join(PATIENCE_S)
    assert answers == [None]
    gated.permits.release(2)
    join_threads("latest-frame")


def test_ended_source_ends() -> None:
    """A source that ends at once ends for the reader too."""
    latest = LatestFrame(FakeSource([]))
    assert latest.read() is None
    latest.close()


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("demo", "demo"),
        ("picamera", "picamera"),
        ("auto", "auto"),
        ("demo:live", "demo"),
        ("demo:moods", "demo"),
        ("0", "camera"),
        ("12", "camera"),
        ("/dev/video0", "camera"),
        ("/dev/v4l/by-id/usb-046d_C920-video-index0", "camera"),
        ("/dev/null", "camera"),
        ("rtsp://user:password@camera:554/live", "stream"),
        ("RTSP://camera/live", "stream"),
        ("http://camera/video.mjpg", "stream"),
        ("{folder}", "pictures"),
        ("{folder}/a.png", "pictures"),
        ("{folder}/clip.mp4", "file"),
        ("{folder}/noext", "file"),
    ],
)
def test_names_and_their_kinds(tmp_path: Path, spec: str, kind: str) -> None:
    """A source's kind follows from its name alone."""
    for name in ("a.png", "clip.mp4", "noext"):
        (tmp_path / name).write_bytes(b"x")
    assert source_kind(spec.format(folder=tmp_path)) == kind


@pytest.mark.parametrize(
    ("spec", "error", "exit_code"),
    [
        ("webcam", ConfigError, 2),
        ("", ConfigError, 2),
        ("-1", ConfigError, 2),
        ("ftp://host/a", ConfigError, 2),
        ("rtsp://", ConfigError, 2),
        ("rtsp://[broken/a", ConfigError, 2),
        ("gone.mp4", CameraError, 2),
        ("~nobody-of-that-name/clip.mp4", CameraError, 2),
        ("some/where", CameraError, 2),
        ("9999", CameraError, 1),
    ],
)
def test_unknown_names_are_one_line(spec: str, error: type, exit_code: int) -> None:
    """Unknown words and absent paths are bad usage, absent cameras a failure; each in one line."""
    with pytest.raises(error) as caught:
        open_source(SourceConfig(spec))
    assert caught.value.exit_code == exit_code
    assert "\n" not in str(caught.value)
    assert "demo" in str(caught.value) or "HOST" in str(caught.value)


def test_name_that_the_system_refuses_is_one_line() -> None:
    """A name too long for the file system is a failure in one line, not a traceback."""
    with pytest.raises(CameraError, match="name too long"):
        open_source(SourceConfig("x" * 300 + ".mp4"))


def test_stream_errors_keep_the_password() -> None:
    """Not even a wrong address is repeated with its password."""
    with pytest.raises(ConfigError) as caught:
        open_source(SourceConfig("srt://ann:hunter2@host/live"))
    assert "hunter2" not in str(caught.value)


def test_open_gives_the_right_source(tmp_path: Path) -> None:
    """Demo, folder, picture and video open as what they are, with their options."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((6, 8, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((6, 8, 3), np.uint8))
    clip = str(tmp_path / "clip.avi")
    writer = cv2.VideoWriter(clip, cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    demo = open_source(SourceConfig("demo", height=120, width=160))
    assert isinstance(demo, DemoSource)
    assert demo.read().size_hw == (120, 160)
    folder = open_source(SourceConfig(str(tmp_path), image_fps=4))
    assert isinstance(folder, ReplaySource)
    assert [folder.read().t_s, folder.read().t_s] == [0, 0.25]
    assert isinstance(open_source(SourceConfig(str(tmp_path / "a.png"))), ReplaySource)
    video = open_source(SourceConfig(clip))
    assert type(video).__name__ in {"OpenCvFilm", "AvFilm"}
    video.close()


def test_live_kinds() -> None:
    """Cameras and streams are live; files, pictures and the demo are not."""
    assert {"auto", "camera", "picamera", "stream"} == LIVE
