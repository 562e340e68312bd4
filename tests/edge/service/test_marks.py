"""Markers from outside reach a log that is being written, whoever sends what."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME
from edge.contract.logrecord import Marker, decode_record
from edge.errors import LogError
from edge.preview.window import Window
from edge.records import Frame
from edge.service.daemon import Service, Supervision
from edge.service.marks import (
    LONGEST_TEXT,
    SOCKET_NAME,
    MarkBox,
    MarkRequest,
    Marks,
    send_mark,
)
from edge.service.reporter import Reporter
from edge.testing.fakes import FakeSource, MemorySink, make_facts, make_frame, make_pipeline

FACTS = make_facts()


def run(source: FakeSource, marks: Marks) -> list[Marker]:
    """Return the markers in the records of a whole run."""
    sink = MemorySink()
    pipeline = make_pipeline()
    reporter = Reporter("session", "device", LogConfig(emit="frame", interval_s=1.0))
    Service(source, pipeline, sink, reporter, (), Supervision(marks=marks.take)).run(FACTS)
    assert [record.seq for record in sink.records] == list(range(len(sink.records)))
    return [record for record in sink.records if isinstance(record, Marker)]


def test_a_marker_arrives(tmp_path):
    """What is sent into a directory is what is taken there, in order, and once."""
    box = MarkBox(tmp_path)
    for text, phase in (("task A", "start"), ("Ω ok", "point"), ("task A", "end")):
        send_mark(tmp_path, text, phase)
    assert [(mark.marker, mark.phase) for mark in box.take()] == [
        ("task A", "start"), ("Ω ok", "point"), ("task A", "end")
    ]  # fmt: skip
    assert list(box.take()) == []
    box.close()
    assert list(tmp_path.iterdir()) == []


def test_the_group_may_mark_and_others_may_not(tmp_path):
    """The socket is for the account that runs, and its group."""
    box = MarkBox(tmp_path)
    assert stat.S_IMODE((tmp_path / SOCKET_NAME).lstat().st_mode) == 0o660
    box.close()


def test_a_directory_with_a_long_name_will_do(tmp_path):
    """The name of a socket has at most 108 bytes; the path of a log has no such limit."""
    deep = tmp_path / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    box = MarkBox(deep)
    send_mark(deep, "task A")
    assert len(list(box.take())) == 1
    box.close()


def test_nobody_there_is_told(tmp_path):
    """No directory, no run, and a run that was killed: one line, and nothing is left behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:  # as a killed process leaves it
        left.bind(str(tmp_path / SOCKET_NAME))
    for place in (tmp_path, tmp_path / "none", Path(__file__)):
        with pytest.raises(LogError, match="no running edgeemo"):
            send_mark(place, "task A")
    again = MarkBox(tmp_path)
    send_mark(tmp_path, "task A")
    assert len(list(again.take())) == 1
    again.close()


def test_a_flood_fills_nothing(tmp_path):
    """The kernel holds a few markers; then the sender is told, and the service still runs."""
    box = MarkBox(tmp_path)

    def flood() -> None:
        for _ in range(100_000):
            send_mark(tmp_path, "task A")

    with pytest.raises(LogError, match="not reading its markers"):
        flood()
    assert 0 < len(list(box.take())) < 100_000
    send_mark(tmp_path, "task A")
    assert len(list(box.take())) == 1
    box.close()


HOSTILE = [
    b"", b"\xff\xfe", b"[" * 4000, b"x" * 4096, b'{"marker":"x"}',
    json.dumps({"marker": "x" * (LONGEST_TEXT + 1), "phase": "point", "monotonic_s": 1}).encode(),
    b'{"marker":"x","phase":"never","monotonic_s":1}',
    b'{"marker":"x","phase":"point","monotonic_s":1e999}',
    b'{"marker":"x","phase":"point","monotonic_s":-1}',
    b'{"marker":"x","phase":"point","monotonic_s":1,"seq":9}',
    b'{"marker":"","phase":"point","monotonic_s":1}',
]  # fmt: skip


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_marker_is_passed_over(tmp_path, content):
    """Whatever arrives, it is not taken, and the marker after it is."""
    box = MarkBox(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(content, str(tmp_path / SOCKET_NAME))
    send_mark(tmp_path, "after")
    assert [mark.marker for mark in box.take()] == ["after"]
    box.close()


def test_hostile_text_stays_one_line_of_text(tmp_path):
    """Line breaks, escape sequences and turned text become visible text in the record."""
    box = MarkBox(tmp_path)
    send_mark(tmp_path, 'a\n{"kind":"health"}\x1b[2J\x00\u202e')
    (mark,) = box.take()
    assert mark.marker.isprintable()
    assert mark.marker.startswith('a {"kind":"health"}')
    box.close()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, os.mkfifo])
def test_something_else_with_the_sockets_name_stays(tmp_path, make, caplog):
    """A file, a folder or a pipe in its place is not removed: there are no markers, and a run."""
    make(tmp_path / SOCKET_NAME)
    box = MarkBox(tmp_path)
    assert list(box.take()) == []
    box.close()
    assert (tmp_path / SOCKET_NAME).exists()
    assert "no markers can be given" in caplog.text


def test_of_a_recording_a_marker_has_the_films_time():
    """It is dated by the last frame before it: a recording's clock is its own."""
    marks = Marks()

    class Source(FakeSource):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is not None and frame.index == 10:
                marks.add("here")
            return frame

    (mark,) = run(Source([make_frame(index) for index in range(20)]), marks)
    assert (mark.marker, mark.phase) == ("here", "point")
    assert mark.monotonic_s == pytest.approx(9 / 25, abs=0.05)


def test_of_a_camera_a_marker_has_the_moment_it_was_made():
    """Late by a second, it is dated a second back; whatever it says, by no more than 60 s."""
    late: list[MarkRequest] = []

    class Late(Marks):
        """Markers that were on their way for long, or say so."""

        def take(self) -> Iterator[MarkRequest]:
            """Give them once."""
            while late:
                yield late.pop(0)

    class Live(FakeSource):
        recovers = False
        progress_s = 0.0

        def wait(self, _: float) -> bool:
            return True

        def read(self) -> Frame | None:
            frame = super().read()
            if frame is not None and frame.index == 1:
                now_s = time.monotonic()
                for age_s in (1.0, -50.0, 10_000.0):
                    made_s = max(now_s - age_s, 0.0)
                    late.append(MarkRequest(f"{age_s:g}", "point", made_s))
            return frame

    found = run(Live([make_frame(0), make_frame(1)]), Late())
    ages = {mark.marker: -mark.monotonic_s for mark in found}
    assert ages["1"] - ages["-50"] == pytest.approx(1, abs=0.5)
    assert ages["10000"] - ages["-50"] == pytest.approx(60, abs=0.5)


def test_a_marker_before_a_cameras_first_frame_waits_for_it():
    """`logs mark --wait` comes first: it is dated before the frame, and on the frames' clock."""
    marks = Marks()

    class Live(FakeSource):
        recovers = False
        progress_s = 0.0
        waited = False

        def wait(self, _: float) -> bool:
            if not self.waited:
                self.waited = True
                marks.add("early", "start")
                return False
            return True

    (mark,) = run(Live([make_frame(index) for index in range(10_000, 10_003)]), marks)
    assert (mark.marker, mark.phase) == ("early", "start")
    first_s = make_frame(10_000).t_s
    assert first_s - 60 < mark.monotonic_s <= first_s


def test_a_marker_of_a_camera_that_never_came_is_written():
    """A run that ends without a frame has its markers all the same."""
    marks = Marks()
    marks.add("early")
    assert [mark.marker for mark in run(FakeSource([]), marks)] == ["early"]


def test_markers_of_the_last_moment_are_written():
    """What arrives while the source ends comes before service_stopped."""
    marks = Marks()

    class Source(FakeSource):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is None:
                marks.add("end")
            return frame

    assert [mark.marker for mark in run(Source([make_frame(0)]), marks)] == ["end"]


def test_a_key_marks(monkeypatch):
    """In the window, the digits 1 to 9 mark; other keys do not."""
    import cv2

    keys = iter([ord("1"), ord("x"), ord("9"), 255])
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("edge.preview.window.has_windows", lambda: True)
    for name in ("namedWindow", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(cv2, name, lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: next(keys))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 1.0)
    pressed: list[str] = []
    window = Window("t", pressed.append)
    for _ in range(4):
        assert window.show(make_frame(0).image)
    assert pressed == ["1", "9"]


@pytest.mark.slow
def test_the_command_marks_a_run(tmp_path):
    """`edgeemo logs mark` beside `edgeemo run`: the log has the markers, in time and in order."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "edgeemo"]
    running = subprocess.Popen(
        [*command, "run", "--source", "demo:live", "--log-dir", log],
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    watchdog = threading.Timer(300, running.kill)
    watchdog.start()
    try:
        for words in (["task A", "--start", "--wait", "200"], ["a note"], ["task A", "--end"]):
            subprocess.run([*command, "logs", "mark", *words, "--log-dir", log], check=True)
        running.terminate()
        assert running.wait() == 0
    finally:
        watchdog.cancel()
        running.kill()
        running.wait()
    lines = (log / FILE_NAME).read_bytes().splitlines()
    marks = [r for r in map(decode_record, lines) if isinstance(r, Marker)]
    assert [(mark.marker, mark.phase) for mark in marks] == [
        ("task A", "start"), ("a note", "point"), ("task A", "end")
    ]  # fmt: skip
    assert [mark.monotonic_s for mark in marks] == sorted(mark.monotonic_s for mark in marks)
    assert not (log / SOCKET_NAME).exists()
