"""`edgeemo logs tail`: what was written, what comes, over every rotation, without DuckDB."""

import gzip
import json
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, LONGEST_LINE, closed_name, log_files
from edge.contract.logrecord import CameraLost, Emotion, HeadPose, Health, TrackEnded, encode_record
from edge.errors import LogError
from edge.logs.follow import Follower
from edge.logs.table import line_for_people
from edge.logs.tail import directories_in, last_lines
from edge.sinks.jsonl import JsonlSink
from edge.text import plain

HEADER = {"time": "2026-01-01T00:00:00.000Z", "monotonic_s": 1.0, "session": "s", "device": "d"}


def record(seq: int, size: int = 0, **header: str) -> CameraLost:
    return CameraLost(**HEADER | header, seq=seq, reason="x" * size)


def line(seq: int, **header: str) -> bytes:
    return encode_record(record(seq, **header))


def seqs(lines) -> list[int]:
    return [json.loads(text)["seq"] for text in lines]


def write_files(directory: Path, *contents: range, torn: bytes = b"") -> None:
    """Write closed files, every other one compressed, and the last as the one being written."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents, 1):
        data = b"".join(map(line, content))
        if number == len(contents):
            (directory / FILE_NAME).write_bytes(data + torn)
        elif number % 2:
            (directory / f"{closed_name(number, 0)}.gz").write_bytes(gzip.compress(data))
        else:
            (directory / closed_name(number, 0)).write_bytes(data)


@pytest.fixture
def follow():
    """Follows a directory until the end of the test."""
    with ExitStack() as stack:

        def start(directory: Path) -> Follower:
            follower = Follower(directory)
            stack.callback(follower.close)
            return follower

        yield start


@pytest.mark.parametrize("count", [0, 1, 3, 5, 12, 15, 99])
def test_the_last_lines_reach_back_over_files(tmp_path, count, follow):
    """As many as asked for, from as many files as it takes, without a torn one."""
    write_files(tmp_path, range(4), range(4, 9), range(9, 12), range(12, 15), torn=b'{"se')
    assert seqs(follow(tmp_path).history(count)) == list(range(15))[max(0, 15 - count) :]


def test_long_lines_are_read_whole(tmp_path, follow):
    """A line longer than the reader's block is neither cut nor lost, before and after the start."""
    big = encode_record(record(1, 300_000))
    (tmp_path / FILE_NAME).write_bytes(line(0) + big)
    follower = follow(tmp_path)
    assert seqs(follower.history(9)) == [0, 1]
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(big + line(2))
    assert seqs(follower.poll()) == [1, 2]


def test_a_line_without_end_is_no_record_and_hides_none(tmp_path, follow):
    """What is longer than a record can be is shown by its beginning; what follows is read."""
    (tmp_path / FILE_NAME).write_bytes(line(0))
    follower = follow(tmp_path)
    with (tmp_path / FILE_NAME).open("ab") as file:
        for _ in range(3):
            file.write(b"x" * 1_500_000)
            file.flush()
            shown = list(follower.poll())
            assert [len(text) for text in shown] in ([LONGEST_LINE], [])
        file.write(b"\n" + line(1))
    assert seqs(follower.poll()) == [1]
    later = follow(tmp_path).history(3)
    assert [len(text) == LONGEST_LINE for text in later] == [False, True, False]
    assert seqs([later[0], later[2]]) == [0, 1]


@pytest.mark.parametrize(
    "bad", [b"[" * 100_000, b'{"time":"\xff\xfe"}', b'{"time":5}', b"\0\0", b'{"time":' * 100_000]
)
def test_hostile_lines_stop_no_tail_of_a_fleet(tmp_path, bad):
    """They are merged by time like records, and shown on one line."""
    for name in ("pi-1", "pi-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE_NAME).write_bytes(line(0) + bad + b"\n" + line(1))
    shown = list(last_lines(directories_in(tmp_path), 6, follow=False))
    assert len(shown) == 6
    assert all(line_for_people(text).isprintable() for text in shown)


def test_a_torn_line_is_shown_when_it_is_whole_or_never(tmp_path, follow):
    """Half a line waits for its end; when a restart cuts it off, what follows is read."""
    path = tmp_path / FILE_NAME
    whole, half = line(0), line(1)[:20]
    path.write_bytes(whole + half)
    follower = follow(tmp_path)
    assert list(follower.poll()) == []
    with path.open("ab") as file:
        file.write(line(1)[20:] + line(2)[:30])
    assert seqs(follower.poll()) == [1]
    sink = JsonlSink(tmp_path)  # repairs
    sink.write(record(2))
    sink.close()
    assert seqs(follower.poll()) == [2]


@pytest.mark.slow
def test_a_reader_of_full_rate_rotation_misses_nothing(tmp_path, follow):
    """While a writer rotates, compresses and removes, every line arrives, in order and once."""
    sink = JsonlSink(tmp_path, LogConfig(fsync="never", rotate_mb=0.008))
    follower = follow(tmp_path)
    total, got = 3_000, []
    done = threading.Event()

    def write() -> None:
        for seq in range(total):
            sink.write(record(seq, seq % 300))
            if seq % 500 == 499:
                sink.flush()
        sink.close()
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        got += seqs(follower.poll())
    writer.join()
    got += seqs(follower.poll())
    assert sink.dropped == 0
    assert got == list(range(total))
    assert len(log_files(tmp_path)) > 50


def test_files_closed_between_two_looks_are_read(tmp_path, follow):
    """Several rotations at once, some compressed already, are made up for."""
    write_files(tmp_path, range(3))
    follower = follow(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    write_files(tmp_path, range(3), range(3, 5), range(5, 6), range(6, 9))
    assert seqs(follower.poll()) == [3, 4, 5, 6, 7, 8]
    assert seqs(follower.poll()) == []


def test_a_deleted_directory_is_waited_for(tmp_path, follow):
    """The reader goes on when the service makes its directory anew."""
    directory = tmp_path / "log"
    write_files(directory, range(3), range(3, 5))
    follower = follow(directory)
    shutil.rmtree(directory)
    assert list(follower.poll()) == []
    write_files(directory, range(7, 9))
    assert seqs(follower.poll()) == [7, 8]


def test_a_fleet_is_merged_by_time(tmp_path):
    """The last lines of several directories are the last ones of all, in the order of time."""
    for name, minutes in (("pi-1", (1, 4, 5)), ("pi-2", (2, 3, 6))):
        (tmp_path / name).mkdir()
        lines = (line(at, time=f"2026-01-01T00:0{at}:00.000Z", device=name) for at in minutes)
        (tmp_path / name / FILE_NAME).write_bytes(b"".join(lines))
    shown = last_lines(directories_in(tmp_path), 4, follow=False)
    assert seqs(shown) == [3, 4, 5, 6]


def test_a_damaged_closed_file_is_named(tmp_path, follow):
    """A compressed file that was cut is one clear error."""
    write_files(tmp_path, range(900), range(900, 901))
    path = log_files(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(LogError, match="edgeemo-000001"):
        follow(tmp_path).history(99)


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        (Emotion(**HEADER, seq=0, track=3, label="fear", confidence=0.514, scores={}, frame=1,
                 box=(0, 0, 1, 1), head_pose=HeadPose(0, 0, 0), latency_ms=1, file="a.png"),
         ("2026-01-01 00:00:00.000  d", "#3", "fear", "51%", "a.png")),
        (Emotion(**HEADER, seq=0, track=3, label="uncertain", confidence=0, scores={}, frame=1,
                 box=(0, 0, 1, 1), head_pose=None, latency_ms=1, quality="too_dark"),
         ("#3", "uncertain    too dark")),
        (TrackEnded(**HEADER, seq=0, track=3, duration_s=4.25, shares={"fear": 0.2, "anger": 0.8}),
         ("#3", "left after 4.2 s: anger 80%, fear 20%")),
        (Health(**HEADER, seq=0, fps=9.96, stage_ms={"mesh": 8.5, "classify": 1.0}, frames=9,
                dropped_frames=2, dropped_records=1, rss_mb=99.6, temperature_c=61.2,
                throttled="0x4", dropped_faces=3, disk_free_mb=1500.4),
         ("10.0 frames/s", "9.5 ms", "100 MB", "61 °C", "throttled 0x4", "2 frames, 1 records",
          "1,500 MB of disk free", "3 faces skipped")),
        (record(0, 3), ("camera lost", "xxx")),
    ],
)  # fmt: skip
def test_records_are_rows_for_people(record, parts):
    """Each kind says in one line what a person wants to know."""
    row = line_for_people(encode_record(record).rstrip(b"\n"))
    for part in parts:
        assert part in row


@given(st.text(max_size=80))
def test_nothing_a_log_holds_moves_the_cursor(text):
    """Whatever a name holds is printed on one line, without a character a terminal acts upon."""
    assert plain(text).isprintable()
    assert line_for_people(encode_record(record(0, device=text)).rstrip(b"\n")).isprintable()
    assert line_for_people(text.encode("utf-8", "surrogatepass")).isprintable()


def edgeemo(*arguments: object, block: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules.update({{{block}}}); from edgeemo.cli.main import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_tail_works_without_duckdb(tmp_path):
    """A device has no DuckDB, and its user sees what happens all the same."""
    write_files(tmp_path, range(3), range(3, 6))
    done = edgeemo("logs", "tail", tmp_path, "-n", 4, block="'duckdb': None")
    assert done.returncode == 0, done.stderr
    heading, *rows = done.stdout.splitlines()
    assert heading.startswith("time (UTC)")
    assert len(rows) == 4
    raw = edgeemo("logs", "tail", tmp_path, "--raw", block="'duckdb': None")
    assert seqs(raw.stdout.splitlines()) == list(range(6))


@pytest.mark.parametrize(
    "arguments", [["summary"], ["export", "-o", "out.csv"], ["report", "-o", "out.html"]]
)
def test_a_missing_duckdb_is_one_line_with_the_remedy(tmp_path, arguments):
    """What needs the extra says how to get it, and that tail does without."""
    write_files(tmp_path, range(3))
    done = edgeemo("logs", *arguments, tmp_path, block="'duckdb': None")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'edgeemo[analysis]'" in done.stderr
    assert "logs tail" in done.stderr


def test_no_log_is_one_line(tmp_path):
    """A folder without a log is said to be one."""
    done = edgeemo("logs", "tail", tmp_path / "none")
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no log" in done.stderr


def test_following_shows_what_comes_until_it_is_stopped(tmp_path):
    """`tail -f` prints new lines at once; Ctrl-C ends it without a complaint."""
    write_files(tmp_path, range(2))
    code = "from edgeemo.cli.main import main; main()"
    # A test run in the background ignores Ctrl-C, and so would its children.
    command = ["env", "--default-signal=INT", sys.executable, "-c", code]
    child = subprocess.Popen(
        [*command, "logs", "tail", str(tmp_path), "-f", "--raw", "-n", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    first = child.stdout.readline()
    sink = JsonlSink(tmp_path, LogConfig(rotate_mb=0.0003))
    for seq in range(2, 20):
        sink.write(record(seq, 50))
    sink.close()
    later = [child.stdout.readline() for _ in range(18)]
    child.send_signal(2)
    _, complaints = child.communicate(timeout=60)
    assert seqs([first, *later]) == [1, *range(2, 20)]
    assert (child.returncode, complaints) == (0, b"")
