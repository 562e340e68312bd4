"""A camera is never trusted: however it fails, it is looked for until it is back."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge.config import LogConfig, SourceConfig
from edge.contract.logrecord import CameraLost, CameraRestored, TrackEnded
from edge.errors import CameraError, CameraStuckError, ConfigError
from edge.records import Frame
from edge.service.attend import is_capturing
from edge.service.daemon import Reloaded, Service, Supervision
from edge.service.notify import Notifier
from edge.service.reporter import Reporter
from edge.sources.cameras.identity import FollowedCamera, Places, first_camera
from edge.sources.wrappers.frame_health import PictureWatch, WatchedSource
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.sources.wrappers.reconnect import BackOff, Pauser, ReconnectingSource
from edge.testing.camera import play_card, unplug_card
from edge.testing.fakes import (
    FakeCamera,
    FakePauser,
    FakeSource,
    MemorySink,
    make_face,
    make_facts,
    make_frame,
    make_pipeline,
)
from tests.helpers import threads, until

PATIENCE_S = 30
LIMITS = SourceConfig(frozen_s=2.0, black_s=2.0)  # 20 pictures at the fake camera's 10 per second
FACTS = make_facts()


def reconnecting(camera: FakeCamera, pauser: Pauser | None = None) -> ReconnectingSource:
    return ReconnectingSource(camera.open, LIMITS, BackOff(), pauser or FakePauser())


def play(source) -> list[Frame | str]:
    """Read to the end; a loss is its reason."""
    told: list[Frame | str] = []
    while True:
        try:
            frame = source.read()
        except CameraError as error:
            told.append(str(error))
            if str(error) == "the camera ended":
                return told
            continue
        if frame is None:
            return told
        told.append(frame)


def shape(told: list[Frame | str]) -> list[int | str]:
    """Return runs of frames as their number, and the reasons between."""
    runs: list[int | str] = []
    for item in told:
        if isinstance(item, str):
            runs.append(item)
        elif runs and isinstance(runs[-1], int):
            runs[-1] += 1
        else:
            runs.append(1)
    return runs


@pytest.mark.parametrize(
    ("scenes", "expected"),
    [
        ([("absent", 5), ("good", 3)], ["no such camera", 3]),
        ([("good", 3), ("absent", 4), ("good", 2)], [3, "gives no more frames", 2]),
        ([("busy", 4), ("good", 2)], ["busy", 2]),
        (
            [("good", 2), ("absent", 2), ("busy", 3), ("good", 2)],
            [2, "gives no more frames", 2],
        ),
        ([("good", 2), ("garbage", 1), ("good", 2)], [2, "a picture of 17x31 among 64x48", 2]),
        (
            [("good", 2), ("frozen", 30), ("good", 2)],
            [22, "frozen: one and the same picture for 2 s", 2],
        ),
        ([("good", 2), ("black", 40), ("good", 2)], [22, "black pictures only, for 2 s", 2]),
        (
            [("good", 2), ("black", 200), ("good", 2)],
            [22, "black pictures only, for 2 s", 2],
        ),
    ],
    ids=["absent at boot", "unplugged", "busy", "unplugged then busy", "garbage", "frozen", "black",
         "a long night"],
)  # fmt: skip
def test_every_failure_is_told_once_and_survived(scenes, expected) -> None:
    """One loss an outage, with its reason, then good frames, and none of the bad ones between."""
    camera = FakeCamera(scenes)
    runs = shape(play(reconnecting(camera)))
    assert len(runs) == len(expected) + 1  # "the camera ended", as fakes do
    for run, wanted in zip(runs, expected, strict=False):
        assert run == wanted if isinstance(wanted, int) else wanted in str(run)
    assert camera.open_captures == 0


def test_frames_are_numbered_through_in_rising_time() -> None:
    """An outage leaves no trace in the numbers, and time only rises."""
    told = play(reconnecting(FakeCamera([("good", 3), ("absent", 2), ("good", 3)])))
    frames = [item for item in told if isinstance(item, Frame)]
    assert [frame.index for frame in frames] == list(range(6))
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()
    assert not any(frame.starts_new_clip for frame in frames)


def test_another_size_after_an_outage_is_a_cut() -> None:
    """A camera that comes back with another size starts afresh for tracker and mesher."""
    told = play(reconnecting(FakeCamera([("good", 1), ("absent", 1), ("garbage", 2)])))
    frames = [item for item in told if isinstance(item, Frame)]
    assert [frame.starts_new_clip for frame in frames] == [False, True, False]


def test_attempts_grow_rarer_up_to_the_cap() -> None:
    """Half a second, doubled each time, never more than half a minute; and never given up."""
    pauser = FakePauser()
    source = reconnecting(FakeCamera([("absent", 200), ("good", 1)]), pauser)
    with pytest.raises(CameraError):
        source.read()
    assert source.read() is not None
    assert [BackOff().delay_s(i) for i in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert sum(pauser.pauses) == sum(BackOff().delay_s(i) for i in range(200))
    assert max(pauser.pauses) <= 1  # it shows a sign of life in between


def test_a_camera_that_comes_and_goes_does_not_flood_the_log() -> None:
    """Only a camera that was steady for half a minute is tried again at once after a loss."""
    pauser = FakePauser()
    play(reconnecting(FakeCamera([("good", 2), ("absent", 1)] * 8 + [("good", 1)]), pauser))
    flapping_s = sum(pauser.pauses)
    assert flapping_s > 100
    pauser = FakePauser()
    play(reconnecting(FakeCamera([("good", 400), ("absent", 1)] * 8 + [("good", 1)]), pauser))
    assert sum(pauser.pauses) < 10


def test_a_camera_that_only_a_new_process_can_have_ends_it() -> None:
    """What native code holds for ever is not tried again, but handed on."""
    source = reconnecting(FakeCamera([("good", 1), ("stuck", 1)]))
    assert source.read() is not None
    with pytest.raises(CameraStuckError):
        source.read()
    latest = LatestFrame(reconnecting(FakeCamera([("stuck", 1)])))
    for _ in range(2):
        with pytest.raises(CameraStuckError):
            latest.read()
    latest.close()


def test_a_camera_that_begins_with_black_pictures_has_time_to_warm_up() -> None:
    """After an outage five seconds of bad pictures are skipped without opening it again."""
    camera = FakeCamera([("black", 60), ("good", 3)])  # lost after 20, then 40 more: 4 s
    assert shape(play(reconnecting(camera)))[2:3] == [3]
    assert camera.opened == 2
    camera = FakeCamera([("black", 85), ("good", 3)])  # 65 more: 6.5 s
    play(reconnecting(camera))
    assert camera.opened == 3


def test_a_loss_is_told_before_the_frames_that_follow_it() -> None:
    """A reader who was busy meanwhile hears of the outage first, then has the newest frame."""
    camera = FakeCamera([("absent", 1), ("good", 2), ("blocked", 1), ("good", 1)])
    latest = LatestFrame(reconnecting(camera))
    assert camera.blocked.wait(PATIENCE_S)
    with pytest.raises(CameraError, match="no such camera"):
        latest.read()
    assert latest.read().index == 1
    camera.release()
    latest.close()


def test_stop_ends_a_pause() -> None:
    """A source that waits for its next attempt ends soon after close."""
    camera = FakeCamera([("absent", 1000)])
    source = ReconnectingSource(camera.open, LIMITS, BackOff(first_s=1000, cap_s=1000))
    latest = LatestFrame(source)
    with pytest.raises(CameraError, match="no such camera"):
        latest.read()
    latest.close()
    assert not threads("latest-frame")


def test_a_bug_is_no_lost_camera() -> None:
    """Any error but ours ends the capture and reaches the reader."""

    def broken():
        raise ZeroDivisionError("a bug")

    latest = LatestFrame(ReconnectingSource(broken, LIMITS, BackOff(), FakePauser()))
    with pytest.raises(ZeroDivisionError):
        latest.read()
    latest.close()


# ---- the pictures themselves


def test_pictures_in_the_dark_are_black_not_frozen() -> None:
    """Equal black pictures are black's matter; with that switched off nothing is found."""
    frames = [make_frame(i, np.zeros((32, 32, 3), np.uint8), fps=1) for i in range(60)]
    found = [
        PictureWatch(SourceConfig(frozen_s=5, black_s=20)).judge(frame) for frame in frames[:1]
    ]
    watch = PictureWatch(SourceConfig(frozen_s=5, black_s=20))
    found = [watch.judge(frame) for frame in frames]
    assert found[:20] == [""] * 20
    assert "black pictures only" in found[20]
    watch = PictureWatch(SourceConfig(frozen_s=5, black_s=0))
    assert not any(watch.judge(frame) for frame in frames)


def test_a_dim_room_is_not_black_and_a_still_one_not_frozen() -> None:
    """A sensor's noise of two steps around dark grey is enough to be alive."""
    watch = PictureWatch(SourceConfig(frozen_s=1, black_s=1))
    rng = np.random.default_rng(5)
    for i in range(300):
        image = rng.integers(15, 19, (48, 64, 3), np.uint8)
        assert watch.judge(make_frame(i, image, fps=10)) == ""


def test_a_watched_run_tells_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """In the foreground bad pictures are warned of, once, and let through."""
    frames = [make_frame(i, fps=1) for i in range(20)]
    source = WatchedSource(FakeSource(frames), SourceConfig(frozen_s=5, black_s=5))
    assert sum(1 for _ in iter(source.read, None)) == 20
    assert [record.getMessage() for record in caplog.records] == [
        "the camera is frozen: one and the same picture for 5 s"
    ]


# ---- the same camera under another number


def test_a_renumbered_camera_is_found_again(tmp_path: Path) -> None:
    """A camera that was /dev/video0 and comes back as /dev/video1 goes on as if nothing were."""
    camera = FakeCamera([("good", 2), ("moved", 1), ("good", 2)], root=tmp_path)
    followed = FollowedCamera(camera.places.dev / "video0", camera.open_node, camera.places)
    source = ReconnectingSource(followed, LIMITS, BackOff(), FakePauser())
    assert shape(play(source))[:3] == [2, "gives no more frames", 2]
    assert camera.node.name == "video1"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "dev", tmp_path / "sys")


class _Opened:
    """Notes which nodes were opened, those that are there."""

    def __init__(self) -> None:
        self.nodes: list[str] = []

    def __call__(self, node: Path) -> FakeSource:
        if not node.exists():
            raise CameraError(f"{node}: no such camera")
        self.nodes.append(node.resolve().name)
        return FakeSource([])


@pytest.mark.parametrize(
    ("link", "new_port", "new_link", "found"),
    [
        ("", "1-1", "", True),
        ("", "1-2", "", True),
        ("usb-A_123", "1-2", "usb-A_123", True),
        ("usb-A_123", "1-2", "usb-A_999", False),
        ("usb-A_123", "1-1", "usb-A_999", False),
        ("usb-A_123", "1-1", "", True),
    ],
    ids=[
        "same socket",
        "other socket",
        "other socket, same serial",
        "another serial",
        "same socket, another serial",
        "same socket, udev is not done",
    ],
)
def test_what_makes_it_the_same_camera(places, link, new_port, new_link, found) -> None:
    """Socket, serial number, or being the only new one of its name; not a number."""
    opened = _Opened()
    node = play_card(places, 0, "A", "1-1", link)
    followed = FollowedCamera(node, opened, places)
    followed()
    unplug_card(places, 0)
    play_card(places, 3, "A", new_port, new_link)
    if found:
        followed()
        assert opened.nodes == ["video0", "video3"]
    else:
        with pytest.raises(CameraError, match="no such camera"):
            followed()


@pytest.mark.parametrize(
    ("port", "serial", "found"),
    [("1-1", "1", True), ("1-2", "1", True), ("1-1", "2", False), ("1-1", "", False)],
    ids=["the same", "in another socket", "another one in its socket", "one without"],
)
def test_the_serial_number_counts_before_udev_is_done(places, port, serial, found) -> None:
    """The kernel tells it at once, the link below by-id comes later."""
    opened = _Opened()
    followed = FollowedCamera(play_card(places, 0, "A", "1-1", serial="1"), opened, places)
    followed()
    unplug_card(places, 0)
    play_card(places, 0, "A", port, serial=serial)
    if found:
        followed()
        assert opened.nodes == ["video0", "video0"]
    else:
        with pytest.raises(CameraError, match=r"is another camera now .*waiting for A, serial"):
            followed()


def test_another_camera_is_never_taken_for_it(places: Places) -> None:
    """Neither one that took its number, nor a twin that was there all along."""
    opened = _Opened()
    node = play_card(places, 0, "A", "1-1")
    play_card(places, 1, "A", "1-2")
    followed = FollowedCamera(node, opened, places)
    followed()
    unplug_card(places, 0)
    with pytest.raises(CameraError, match="no such camera"):
        followed()
    play_card(places, 0, "B", "1-3")
    with pytest.raises(CameraError, match=r"another camera now \(B\); waiting for A"):
        followed()
    play_card(places, 2, "A", "1-1")
    followed()
    assert opened.nodes == ["video0", "video2"]


def test_a_link_is_followed_wherever_it_leads(places: Places) -> None:
    """A /dev/v4l/by-id path means what udev makes it mean by then."""
    opened = _Opened()
    play_card(places, 0, "A", "1-1", "usb-A_1")
    followed = FollowedCamera(places.dev / "v4l/by-id/usb-A_1", opened, places)
    followed()
    unplug_card(places, 0)
    with pytest.raises(CameraError, match="no such camera"):
        followed()
    play_card(places, 2, "A", "1-4", "usb-A_1")
    followed()
    assert opened.nodes == ["video0", "video2"]


def test_auto_takes_usb_cameras_first_and_no_codec(places: Places) -> None:
    """A Pi's codecs and pipeline stages are no webcams; a USB camera is preferred to others."""
    assert first_camera(places) is None
    play_card(places, 0, "unicam", "soc/unicam")
    play_card(places, 10, "bcm2835-codec-decode", "soc/codec")
    assert first_camera(places) is None
    play_card(places, 5, "vivid-000-vid-cap", "vivid.0")
    assert first_camera(places).name == "video5"
    play_card(places, 12, "HD Webcam", "1-1", "usb-HD_Webcam-video-index0")
    assert first_camera(places).name == "video12"


# ---- the service around it


class Beats(Notifier):
    """Counts the signs of life, each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def progress(self, status) -> None:
        """Count one."""
        assert status(1.0)
        self.count += 1


def service(source, sink: MemorySink, notifier: Notifier | None = None, **more) -> Service:
    pipeline = make_pipeline(lambda _: [make_face((10, 10, 30, 40))])
    reporter = Reporter("session", "device", LogConfig(emit="frame", interval_s=1.0))
    supervision = Supervision(notifier or Notifier(), **more)
    return Service(source, pipeline, sink, reporter, (), supervision)


class _Stepped:
    """Makes every frame count: gives the next one only after the last was processed."""

    fps = None
    recovers = True

    def __init__(self, inner: ReconnectingSource) -> None:
        self._inner = inner
        self.dropped = 0
        self.progress_s = time.monotonic()

    def wait(self, timeout_s: float) -> bool:  # noqa: ARG002
        return True

    def read(self) -> Frame | None:
        try:
            return self._inner.read()
        except CameraError as error:
            if str(error) == "the camera ended":
                return None
            raise

    def close(self) -> None:
        self._inner.close()


def test_an_outage_is_two_records_around_ended_tracks() -> None:
    """camera_lost, the open track's end, camera_restored with the outage, and a new track."""
    camera = FakeCamera([("good", 3), ("absent", 2), ("good", 2)])
    sink = MemorySink()
    summary = service(_Stepped(reconnecting(camera)), sink).run(FACTS)
    assert [type(record).__name__ for record in sink.records] == [
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "Emotion",
        "CameraLost", "TrackEnded", "CameraRestored", "TrackStarted", "Emotion", "Emotion",
        "TrackEnded", "ServiceStopped",
    ]  # fmt: skip
    lost, restored = sink.records[5], sink.records[7]
    assert isinstance(lost, CameraLost)
    assert lost.reason == "gives no more frames"
    assert isinstance(restored, CameraRestored)
    assert restored.outage_s == pytest.approx(0.1)  # by the camera's own clock
    assert (summary.frames, summary.tracks) == (5, 2)


def test_absence_at_boot_is_an_outage_too() -> None:
    """A service without its camera starts, tells, and goes on when it comes."""
    camera = FakeCamera([("absent", 3), ("good", 2)], start_s=time.monotonic() + 7)
    sink = MemorySink()
    service(_Stepped(reconnecting(camera)), sink).run(FACTS)
    names = [type(record).__name__ for record in sink.records]
    assert names[:4] == ["ServiceStarted", "CameraLost", "CameraRestored", "TrackStarted"]
    assert sink.records[2].outage_s == pytest.approx(7, abs=PATIENCE_S)


def test_a_blocked_capture_is_a_loss_that_may_end() -> None:
    """Silence is told as a loss; should native code return after all, the camera is back."""
    camera = FakeCamera([("good", 1), ("blocked", 1), ("good", 10)])
    latest = LatestFrame(reconnecting(camera), stall_s=0.05)
    assert latest.read().index == 0
    until(lambda: latest.wait(0.01))
    with pytest.raises(CameraError, match=r"no frame for 0\.05 s"):
        latest.read()
    assert not latest.wait(0.1)  # told once
    camera.release()
    assert latest.wait(PATIENCE_S)
    assert latest.read() is not None
    latest.close()


def test_the_heartbeat_stops_when_native_code_holds_the_capture() -> None:
    """Who restarts a hung service hears nothing then; a camera that is looked for is alive."""
    camera = FakeCamera([("good", 1), ("blocked", 1)])
    latest = LatestFrame(reconnecting(camera), stall_s=PATIENCE_S)
    assert camera.blocked.wait(PATIENCE_S)
    last_s = latest.progress_s
    assert is_capturing(latest, last_s + 29)
    assert not is_capturing(latest, last_s + 31)
    time.sleep(0.05)
    assert latest.progress_s == last_s
    camera.release()
    latest.close()

    absent = ReconnectingSource(FakeCamera([("absent", 10**6)]).open, LIMITS, BackOff(0.001, 0.001))
    latest = LatestFrame(absent)
    first_s = latest.progress_s
    until(lambda: latest.progress_s > first_s + 0.05)
    latest.close()
    assert is_capturing(FakeSource([]), 1e9)


def test_the_service_beats_while_it_waits_and_stops_promptly() -> None:
    """Without a single frame there are heartbeats, and a signal is minded within a second or so."""
    camera = FakeCamera([("absent", 10**6)])
    latest = LatestFrame(ReconnectingSource(camera.open, LIMITS, BackOff(0.01, 0.01)))
    beats = Beats()
    running = service(latest, MemorySink(), beats)
    thread = threading.Thread(target=lambda: running.run(FACTS))
    thread.start()
    until(lambda: beats.count >= 3)
    running.stop("signal")
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    latest.close()


@pytest.mark.parametrize(("held_for_s", "is_heard"), [(0, True), (100, False)])
def test_the_service_passes_on_no_heartbeat_of_a_held_capture(held_for_s, is_heard) -> None:
    """The loop's own life is no sign of life: what counts is that of the capture."""
    source = _Stepped(reconnecting(FakeCamera([("good", 3)])))
    source.progress_s -= held_for_s
    beats = Beats()
    service(source, MemorySink(), beats).run(FACTS)
    assert bool(beats.count) == is_heard


def test_a_run_by_hand_ends_on_a_silent_camera() -> None:
    """Without reconnecting, a camera that gives nothing fails the run; it is not waited for."""
    camera = FakeCamera([("good", 2), ("blocked", 1)])
    latest = LatestFrame(camera.open(), stall_s=0.3)
    sink = MemorySink()
    with pytest.raises(CameraError, match="no frame for"):
        service(latest, sink).run(FACTS)
    assert sink.records[-1].reason.startswith("error: the camera gave no frame")
    camera.release()
    latest.close()


def test_a_reload_does_not_wait_for_a_lost_camera() -> None:
    """The configuration is read again while no frame comes."""
    camera = FakeCamera([("absent", 10**6)])
    latest = LatestFrame(ReconnectingSource(camera.open, LIMITS, BackOff(0.01, 0.01)))
    asked = threading.Event()

    def renew() -> Reloaded:
        asked.set()
        raise ConfigError("not today")

    running = service(latest, MemorySink(), renew=renew)
    thread = threading.Thread(target=lambda: running.run(FACTS))
    thread.start()
    running.reload()
    assert asked.wait(PATIENCE_S)
    running.stop("signal")
    thread.join(PATIENCE_S)
    latest.close()


def test_a_run_that_fails_for_good_still_ends_its_tracks() -> None:
    """A camera that only a new process can have ends the run, with its reason in the log."""
    sink = MemorySink()
    with pytest.raises(CameraStuckError):
        service(_Stepped(reconnecting(FakeCamera([("good", 2), ("stuck", 1)]))), sink).run(FACTS)
    assert any(isinstance(record, TrackEnded) for record in sink.records)
    assert sink.records[-1].reason.startswith("error: does not stop")


def test_a_capture_that_blocks_for_ever_can_not_stop_the_shutdown(tmp_path: Path) -> None:
    """SIGTERM ends the whole command although a thread hangs in a read that never returns."""
    code = """
        import sys
        from edge.runtime import build
        from edge.sources.wrappers.newest_frame import LatestFrame
        from edge.sources.wrappers.reconnect import ReconnectingSource
        from edge.testing.fakes import FakeCamera
        from edgeemo.cli import main

        camera = FakeCamera([("good", 3), ("blocked", 1)])
        build.open_source = lambda *_, **__: LatestFrame(ReconnectingSource(camera.open))
        sys.argv = ["edgeemo", "run", "--source", "0", "--log-dir", sys.argv[1]]
        main.entry()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    log = tmp_path / "edgeemo.jsonl"
    until(lambda: log.exists() and log.read_bytes())
    time.sleep(0.5)  # until it hangs
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert b"signal" in out
    assert b'"reason":"signal"' in log.read_bytes()
    assert b"its thread is left behind" in err
