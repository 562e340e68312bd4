"""Rotation and tidying: by size and day, whatever the clock does, and nothing is lost by it."""

import gzip
import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, closed_files, closed_name, log_directories, log_files
from edge.sinks.jsonl.appender import Appender
from edge.sinks.jsonl.tidy import Archiver, Kept, SteadyClock, removal_plan, tidy

DAY_S = 86_400.0
NOON_S = 20_000 * DAY_S + DAY_S / 2


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now_s: float = NOON_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return the time it was set to."""
        return self.now_s


def line(seq: int, size: int = 0) -> bytes:
    return json.dumps({"seq": seq, "fill": "x" * size}).encode() + b"\n"


def opened(directory, clock, rotate_bytes=10_000) -> Appender:
    appender = Appender(directory, rotate_bytes, clock)
    appender.open()
    return appender


def dated(path, seconds) -> None:
    os.utime(path, (seconds, seconds))


def read_all(directory) -> list[int]:
    """Return the numbers of all records in the order of the files."""
    numbers = []
    for path in log_files(directory):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        numbers += [json.loads(text_line)["seq"] for text_line in text.splitlines()]
    return numbers


def test_no_file_grows_beyond_the_size(tmp_path):
    """A file is closed before the line that would not fit; order and lines stay."""
    appender = opened(tmp_path, Clock(), rotate_bytes=1000)
    closed = [appender.append(line(seq, 100)) for seq in range(50)]
    appender.close()
    assert sum(closed) == len(closed_files(tmp_path)) > 5
    assert all(path.stat().st_size <= 1000 for path in log_files(tmp_path))
    assert read_all(tmp_path) == list(range(50))


def test_a_line_longer_than_the_size_has_a_file_of_its_own(tmp_path):
    """It is neither lost nor does it close empty files."""
    appender = opened(tmp_path, Clock(), rotate_bytes=100)
    for seq in range(3):
        appender.append(line(seq, 500))
    appender.close()
    assert read_all(tmp_path) == [0, 1, 2]
    assert all(path.stat().st_size for path in log_files(tmp_path))


@pytest.mark.parametrize(
    ("hours", "files"),
    [
        ([0, 13], 2),  # over midnight
        ([0, 1, 2], 1),
        ([11, 13, 11, 13, 11], 2),  # stepping back and forth over midnight
        ([0, -24 * 400, -24 * 400 + 1], 2),  # a false future is left behind, once
        ([0, 24 * 10_000, 24 * 10_000 + 1, 0, 1], 3),
    ],
)
def test_a_day_is_closed_whatever_the_clock_does(tmp_path, hours, files):
    """The UTC day closes a file; steps back close none, or one when they are by days."""
    clock = Clock()
    appender = opened(tmp_path, clock)
    for seq, hour in enumerate(hours):
        clock.now_s = NOON_S + hour * 3600
        appender.append(line(seq))
    appender.close()
    assert len(log_files(tmp_path)) == files
    assert read_all(tmp_path) == list(range(len(hours)))


def test_an_empty_file_is_of_no_day(tmp_path):
    """The first record after a quiet midnight does not close an empty file, nor does the next."""
    clock = Clock()
    appender = opened(tmp_path, clock)
    clock.now_s += DAY_S
    appender.append(line(0))
    appender.append(line(1))
    appender.close()
    assert [path.name for path in log_files(tmp_path)] == [FILE_NAME]


@pytest.mark.parametrize("torn", [b"", b'{"seq":'])
def test_a_file_of_yesterday_is_closed_at_the_start(tmp_path, torn):
    """The day is that of the file's last write, not of its repair; the numbers go on."""
    (tmp_path / FILE_NAME).write_bytes(line(0) + line(1) + torn)
    dated(tmp_path / FILE_NAME, NOON_S - DAY_S)
    appender = opened(tmp_path, Clock())
    assert appender.next_seq == 2
    assert len(closed_files(tmp_path)) == 1
    appender.close()


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_numbers_go_on_after_a_file_that_was_just_closed(tmp_path, compress):
    """Where the file being written is empty or missing, the newest closed one tells."""
    appender = opened(tmp_path, Clock())
    for seq in range(5):
        appender.append(line(seq))
    appender.close()
    (tmp_path / FILE_NAME).rename(tmp_path / closed_name(1, NOON_S))
    tidy(tmp_path, LogConfig(compress=compress), NOON_S)
    appender = opened(tmp_path, Clock())
    assert appender.next_seq == 5
    appender.close()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b'{"seq":1}\n')[:-12]],
    ids=["empty", "no gzip", "half"],
)
def test_a_damaged_closed_file_does_not_keep_the_service_down(tmp_path, content):
    """The numbers begin anew when nobody can tell them."""
    (tmp_path / f"{closed_name(1, NOON_S)}.gz").write_bytes(content)
    appender = opened(tmp_path, Clock())
    assert appender.next_seq == 0
    appender.close()


def test_file_numbers_rise_although_old_files_go(tmp_path):
    """A number is never given twice, so a copy elsewhere cannot be mistaken for another file."""
    appender = opened(tmp_path, Clock(), rotate_bytes=10)
    seen = []
    for seq in range(20):
        appender.append(line(seq, 50))
        tidy(tmp_path, LogConfig(keep_mb=1e-6), NOON_S)
        if seq % 7 == 6:
            appender.close()
            appender = opened(tmp_path, Clock(), rotate_bytes=10)
        seen += [file.number for file in closed_files(tmp_path)]
    appender.close()
    assert sorted(set(seen)) == list(dict.fromkeys(seen)) == list(range(1, 20))


def test_closed_files_are_compressed_whole_and_keep_their_time(tmp_path):
    """Content and last write are the same, the mode is no wider, and gzip can read it."""
    path = tmp_path / closed_name(3, NOON_S)
    content = b"".join(line(seq, 500) for seq in range(2000))
    path.write_bytes(content)
    dated(path, NOON_S)
    tidy(tmp_path, LogConfig(), NOON_S)
    (file,) = closed_files(tmp_path)
    assert file.path.name == f"{path.name}.gz"
    assert gzip.decompress(file.path.read_bytes()) == content
    status = file.path.stat()
    assert (status.st_mtime, status.st_mode & 0o137) == (NOON_S, 0)
    assert not path.exists()


def test_compression_that_was_interrupted_is_done_again_or_finished(tmp_path):
    """Neither half a file nor a pair of the same records is left behind."""
    half, twice = tmp_path / closed_name(1, NOON_S), tmp_path / closed_name(2, NOON_S)
    half.write_bytes(line(1))
    half.with_name(f"{half.name}.gz.part").write_bytes(b"half")
    twice.write_bytes(line(2))
    twice.with_name(f"{twice.name}.gz").write_bytes(gzip.compress(line(2)))
    assert read_all(tmp_path) == [1, 2]
    foreign = tmp_path / "film.part"
    foreign.write_bytes(b"not ours")
    tidy(tmp_path, LogConfig(), NOON_S)
    assert read_all(tmp_path) == [1, 2]
    assert all(file.is_compressed for file in closed_files(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3
    assert foreign.exists()


def test_compression_gives_way_to_the_end_of_the_service(tmp_path):
    """A file that is being compressed when the service ends stays as it was."""
    path = tmp_path / closed_name(1, NOON_S)
    path.write_bytes(line(0, 1_000_000))
    answers = iter([False, False, True])
    tidy(tmp_path, LogConfig(), NOON_S, lambda: next(answers))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_archiver_does_it_by_itself(tmp_path):
    """A closed file is compressed soon after, without anybody asking."""
    (tmp_path / closed_name(1, NOON_S)).write_bytes(line(0))
    archiver = Archiver(tmp_path, LogConfig())
    pause = threading.Event()
    while not closed_files(tmp_path)[0].is_compressed:
        pause.wait(0.01)
    archiver.close(10)
    assert read_all(tmp_path) == [0]


def test_the_archiver_works_where_it_may_not_be_nice(tmp_path, monkeypatch):
    """A service whose filter of system calls forbids setpriority, as ours does, is tidied, too."""

    def forbidden(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.setpriority", forbidden)
    test_the_archiver_does_it_by_itself(tmp_path)


def test_age_counts_from_the_last_record(tmp_path):
    """Files older than the limit go, compressed or not, and are named."""
    for number, age_days in enumerate((40, 31, 29, 50, 0), 1):
        path = tmp_path / closed_name(number, NOON_S)
        path.write_bytes(line(number))
        dated(path, NOON_S - age_days * DAY_S)
    removed = tidy(tmp_path, LogConfig(keep_days=30, compress="none"), NOON_S)
    assert [path.name for path in removed] == [closed_name(n, NOON_S) for n in (1, 2)]
    # Number 4 seems older than 3 because the clock stepped back: order is by number.
    assert read_all(tmp_path) == [3, 4, 5]


sizes = st.lists(st.integers(0, 100), max_size=12)


@given(sizes, st.integers(0, 300), st.integers(1, 500), st.integers(0, 400), st.integers(0, 400))
def test_removal_takes_the_oldest_and_no_more_than_it_must(taken, other, keep, free, floor):
    """The plan is the shortest run of oldest files that meets the limits; the newest stays."""
    files = [Kept(None, size, 0.0) for size in taken]
    policy = LogConfig(keep_mb=keep / 1e6, min_free_mb=floor / 1e6)
    plan = removal_plan(files, policy, None, other=other, free=free)
    assert plan == files[: len(plan)]
    assert len(plan) < max(1, len(files))

    def is_met(count: int) -> bool:
        gone = sum(taken[:count])
        return other + sum(taken) - gone <= keep and free + gone >= floor

    assert is_met(len(plan)) or len(plan) == max(0, len(files) - 1)
    assert not any(is_met(count) for count in range(len(plan)))


def lived(directory, days: int, until_s: float = NOON_S) -> None:
    """Leave a log that was kept going for so many days: a file a day, and the current one."""
    for number in range(days):
        path = directory / closed_name(number + 1, NOON_S)
        path.write_bytes(line(number))
        dated(path, until_s - (days - number) * DAY_S)
    (directory / FILE_NAME).write_bytes(line(days))
    dated(directory / FILE_NAME, until_s)


def tidied(directory, now_s: float) -> list[int]:
    """Let an archiver that comes up at ``now_s`` tidy; return the numbers of what it removed."""
    before = {file.number for file in closed_files(directory)}
    policy = LogConfig(keep_days=30, compress="none")
    archiver = Archiver(directory, policy, SteadyClock(Clock(now_s)))
    archiver.close(10)
    archiver.tidy_once()
    return sorted(before - {file.number for file in closed_files(directory)})


@pytest.fixture
def synchronized(tmp_path, monkeypatch):
    """Says whether a time server has set the clock."""
    marker = tmp_path / "run" / "synchronized"
    marker.parent.mkdir()
    monkeypatch.setattr("edge.sinks.jsonl.tidy.SYNCHRONIZED", marker)
    return marker


@pytest.mark.parametrize("wrong_days", [-20_000, -400, -3, 3, 31, 400, 30_000])
@pytest.mark.parametrize("days", [5, 29, 200])
def test_a_clock_that_is_wrong_at_boot_removes_nothing(tmp_path, synchronized, wrong_days, days):
    """However long the log, and however far the clock is off, ahead or behind."""
    folder = tmp_path / "log"
    folder.mkdir()
    lived(folder, days)
    assert tidied(folder, NOON_S + wrong_days * DAY_S) == []


@pytest.mark.parametrize("restarts", [1, 5])
def test_a_wrong_clock_is_not_believed_for_having_been_written_with(
    tmp_path, synchronized, restarts
):
    """Records, rotated files and restarts in a false future do not make it true."""
    folder = tmp_path / "log"
    folder.mkdir()
    lived(folder, 200)
    future_s = NOON_S + 10_000 * DAY_S
    for number in range(restarts):
        path = folder / closed_name(201 + number, future_s)
        path.write_bytes(line(0))
        dated(path, future_s + number)
    dated(folder / FILE_NAME, future_s + restarts)
    assert tidied(folder, future_s + restarts + 1) == []


def test_a_log_that_was_kept_going_bears_witness(tmp_path, synchronized):
    """Without any time server, in the month after the next: what is too old goes, two days late."""
    folder = tmp_path / "log"
    folder.mkdir()
    lived(folder, 50)
    assert tidied(folder, NOON_S + 60) == list(range(1, 20))


def test_a_clock_that_was_set_is_believed(tmp_path, synchronized):
    """A device that was off for a year, and has heard from a time server, removes what is old."""
    synchronized.touch()
    folder = tmp_path / "log"
    folder.mkdir()
    lived(folder, 5)
    assert tidied(folder, NOON_S + 365 * DAY_S) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("ages_days", "gone"),
    [
        ((40, -27_000, 39, 0), [1, 2, 3]),  # written in 2099: no older than the next one
        ((40, -27_000, 3, 0), [1]),
        ((40, 20_000, 20_000, 3, 0), [1]),  # written in 1970, after a file of this year
        ((40, 20_000, 35, 0), [1, 2, 3]),
        ((20_000, 3, 0), [1]),
    ],
)
def test_a_file_of_a_wrong_clock_is_as_old_as_the_next(tmp_path, ages_days, gone):
    """A false date neither removes a new file nor keeps all that come after it."""
    for number, days in enumerate(ages_days, 1):
        path = tmp_path / closed_name(number, NOON_S)
        path.write_bytes(line(number))
        dated(path, NOON_S - days * DAY_S)
    removed = tidy(tmp_path, LogConfig(keep_days=30, compress="none"), NOON_S)
    assert [int(path.name[8:14]) for path in removed] == gone


def test_a_leap_of_the_clock_removes_nothing_for_a_day():
    """A false future must not make every file too old at once; a true one does a day later."""
    wall, steady = Clock(1000.0), Clock(0.0)
    clock = SteadyClock(wall, steady)
    assert clock.now_s() == 1000.0
    wall.now_s += 400 * DAY_S
    assert clock.now_s() is None
    for moved in (wall, steady):
        moved.now_s += DAY_S - 1
    assert clock.now_s() is None
    for moved in (wall, steady):
        moved.now_s += 2
    assert clock.now_s() == wall.now_s
    wall.now_s -= 400 * DAY_S
    assert clock.now_s() == wall.now_s


def test_a_fleet_is_found_below_one_folder(tmp_path):
    """Every folder with log files is one, however deep; others are not."""
    for name, file in (("a/b", FILE_NAME), ("c", closed_name(1, NOON_S)), ("d", "other.jsonl")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text("")
    assert list(log_directories(tmp_path)) == [tmp_path / "a" / "b", tmp_path / "c"]
