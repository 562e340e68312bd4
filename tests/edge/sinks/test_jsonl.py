"""The JSON Lines sink: whole lines only, in order, and the camera never waits."""

import gzip
import json
import logging
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, LOCK_NAME, closed_name
from edge.contract.logrecord import CameraLost, encode_record
from edge.errors import SinkError
from edge.sinks.jsonl import JsonlSink
from edge.sinks.jsonl import sink as sink_module
from edge.sinks.jsonl.appender import Appender
from edge.sinks.jsonl.tidy import tidy
from tests.helpers import join_threads

ALWAYS, INTERVAL, NEVER = (LogConfig(fsync=how) for how in ("always", "interval", "never"))


def record(seq: int, reason: str = "gone") -> CameraLost:
    return CameraLost(
        time="2026-01-01T00:00:00.000Z",
        monotonic_s=1.0,
        seq=seq,
        session="s",
        device="d",
        reason=reason,
    )


def lines(directory) -> list[dict]:
    return [json.loads(line) for line in (directory / FILE_NAME).read_text().splitlines()]


def test_records_are_appended_in_order_over_sessions(tmp_path):
    """A second session continues the file and the numbers of the first."""
    for start in (0, 3):
        sink = JsonlSink(tmp_path)
        assert sink.next_seq == start
        for seq in range(sink.next_seq, sink.next_seq + 3):
            sink.write(record(seq))
        sink.close()
        sink.close()
    assert [line["seq"] for line in lines(tmp_path)] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", 0),
        (b'{"seq":7}\n', 8),
        (b'{"seq":7}\nno record\n\n', 8),
        (b'{"seq":7}\n{"seq":8,"to', 8),
        (b'no record\n{"seq":"7"}\n', 0),
        (b"\n", 0),
    ],
)
def test_numbers_go_on_after_the_last_record(tmp_path, content, expected):
    """Torn and foreign lines are skipped in the search for the last number."""
    (tmp_path / FILE_NAME).write_bytes(content)
    sink = JsonlSink(tmp_path)
    sink.close()
    assert sink.next_seq == expected


DEEP = b"[" * 100_000
HOSTILE = {
    "deep nesting": DEEP,
    "deep nesting of objects": b'{"seq":' * 100_000,
    "deep nesting beside the number": b'{"seq":9,"x":' + DEEP + b"}",
    "invalid UTF-8": b'{"seq":"\xff\xfe"}',
    "2^63": b'{"seq":9223372036854775808}',
    "2^53": b'{"seq":9007199254740992}',
    "5,000 digits": b'{"seq":' + b"9" * 5000 + b"}",
    "negative": b'{"seq":-1}',
    "a fraction": b'{"seq":9.5}',
    "1e400": b'{"seq":1e400}',
    "NaN": b'{"seq":NaN}',
    "NUL bytes": b"\0" * 1000,
    "spaces": b" " * 100_000,
    "a line without end": b'{"seq":9,"x":"' + b"x" * 3_000_000 + b'"}',
    "many lines": b"x\n" * 100_000,
}


@pytest.mark.parametrize("where", ["current", "closed", "compressed"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_line_keeps_a_run_from_starting(tmp_path, name, where):
    """What is no record is skipped, and the numbers go on after the last one before it."""
    content = b'{"seq":7}\n' + HOSTILE[name] + b"\n"
    closed = tmp_path / closed_name(1, 0)
    if where == "current":
        (tmp_path / FILE_NAME).write_bytes(content)
    elif where == "closed":
        closed.write_bytes(content)
    else:
        closed.with_name(f"{closed.name}.gz").write_bytes(gzip.compress(content, 1))
    sink = JsonlSink(tmp_path, LogConfig(compress="none"))
    sink.close()
    assert sink.next_seq == 8


@pytest.mark.parametrize("damaged", [b"no record\n", b"\xff\n" * 50, b"", b'{"seq":"8"}\n'])
def test_the_numbers_go_on_from_older_files_when_newer_ones_have_no_record(tmp_path, damaged):
    """A current file, and a closed one, with damaged lines only do not begin the numbers anew."""
    (tmp_path / FILE_NAME).write_bytes(damaged)
    (tmp_path / closed_name(3, 0)).write_bytes(damaged)
    (tmp_path / f"{closed_name(2, 0)}.gz").write_bytes(b"no gzip")
    packed = gzip.compress(b"".join(encode_record(record(seq)) for seq in range(5)))
    (tmp_path / f"{closed_name(1, 0)}.gz").write_bytes(packed)
    sink = JsonlSink(tmp_path, LogConfig(compress="none"))
    sink.close()
    assert sink.next_seq == 5


def _put(path: Path, what: str, victim: Path) -> None:
    """Put something else in a file's place."""
    if what == "link":
        path.symlink_to(victim)
    elif what == "link to nowhere":
        path.symlink_to(victim.with_name("nowhere"))
    elif what == "hard link":
        path.hardlink_to(victim)
    elif what == "FIFO":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # /dev/null


@pytest.mark.parametrize("name", [FILE_NAME, LOCK_NAME])
@pytest.mark.parametrize(
    "what",
    ["link", "link to nowhere", "hard link", "FIFO", "directory", "socket", "device", "account"],
)
def test_what_is_in_a_files_place_is_refused(tmp_path, name, what):
    """In one line that names it; it is neither waited for, nor written through, nor removed."""
    if what in {"device", "account"} and os.geteuid() != 0:
        pytest.skip("making a device, or a file of another account, needs root")
    victim, directory = tmp_path / "victim", tmp_path / "log"
    victim.write_bytes(b"precious\n")
    directory.mkdir()
    if what == "account":
        (directory / name).write_bytes(b"")
        for path in (directory, directory / name):
            os.chown(path, 12345, 12345)
    else:
        _put(directory / name, what, victim)
    with pytest.raises(SinkError) as caught:
        JsonlSink(directory)
    message = str(caught.value)
    assert str(directory / name) in message
    remedy = "run as 12345" if what == "account" else "remove it"
    assert f"{remedy}, or choose another --log-dir" in message
    assert "\n" not in message
    assert victim.read_bytes() == b"precious\n"
    assert not (tmp_path / "nowhere").exists()
    assert os.path.lexists(directory / name)


def test_compression_writes_through_no_link(tmp_path):
    """One that waits where the compressed file will be made is removed, not followed."""
    victim, directory = tmp_path / "victim", tmp_path / "log"
    victim.write_bytes(b"precious\n")
    directory.mkdir()
    closed = directory / closed_name(1, 0)
    closed.write_bytes(encode_record(record(0)))
    closed.with_name(f"{closed.name}.gz.part").symlink_to(victim)
    closed.with_name(f"{closed.name}.gz").symlink_to(victim)
    (directory / closed_name(2, 0)).symlink_to(victim)
    tidy(directory, LogConfig(keep_mb=1e-6), None)
    assert victim.read_bytes() == b"precious\n"
    packed = closed.with_name(f"{closed.name}.gz")
    assert gzip.decompress(packed.read_bytes()) == encode_record(record(0))


def test_the_files_are_not_for_everybody(tmp_path):
    """Logs about people are 0640 at most, and so is the lock."""
    JsonlSink(tmp_path / "deep" / "er").close()
    for name in (FILE_NAME, LOCK_NAME):
        mode = stat.S_IMODE((tmp_path / "deep" / "er" / name).stat().st_mode)
        assert mode & ~0o640 == 0


@given(whole=st.integers(0, 5), torn=st.binary(max_size=200).map(lambda b: b.replace(b"\n", b"")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_last_line_is_cut_off(tmp_path, whole, torn):
    """Whatever bytes follow the last newline go, and nothing else does."""
    path = tmp_path / FILE_NAME
    kept = b"".join(encode_record(record(seq)) for seq in range(whole))
    path.write_bytes(kept + torn)
    sink = JsonlSink(tmp_path, NEVER)
    assert sink.recovered_bytes == len(torn)
    assert sink.next_seq == whole
    sink.write(record(99))
    sink.close()
    assert path.read_bytes() == kept + encode_record(record(99))


def test_a_torn_line_longer_than_the_search_block_is_cut_off(tmp_path):
    """The search for the last newline goes back as far as it must."""
    kept = encode_record(record(0))
    (tmp_path / FILE_NAME).write_bytes(kept + b"x" * 300_000)
    JsonlSink(tmp_path).close()
    assert (tmp_path / FILE_NAME).read_bytes() == kept


_SECOND = """
import sys
from pathlib import Path
from edge.errors import SinkError
from edge.sinks.jsonl import JsonlSink
try:
    JsonlSink(Path(sys.argv[1])).close()
except SinkError as error:
    print(error)
"""


def test_a_second_writer_is_refused_with_the_name_of_the_first(tmp_path):
    """Two processes cannot interleave their records, nor two sinks of one process."""
    first = JsonlSink(tmp_path)
    with pytest.raises(SinkError, match="another edgeemo writes there"):
        JsonlSink(tmp_path)
    second = [sys.executable, "-c", _SECOND, str(tmp_path)]
    refused = subprocess.run(second, capture_output=True, text=True, check=True).stdout
    assert f"process {os.getpid()}" in refused
    assert "--log-dir" in refused
    first.close()
    assert subprocess.run(second, capture_output=True, text=True, check=True).stdout == ""


def test_the_lock_of_a_killed_process_is_no_obstacle(tmp_path):
    """A lock file that names a process which is gone refuses nobody."""
    (tmp_path / LOCK_NAME).write_text("999999999\n")
    JsonlSink(tmp_path).close()
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("policy", [ALWAYS, INTERVAL, NEVER], ids=lambda policy: policy.fsync)
def test_each_record_is_one_write(tmp_path, monkeypatch, policy):
    """Another process reading along never sees half a line."""
    sink = JsonlSink(tmp_path, policy)
    calls = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: calls.append(data) or write(fd, data))
    sink.write(record(0))
    sink.write(record(1))
    sink.close()
    assert calls == [encode_record(record(0)), encode_record(record(1))]


def _synced_after_a_second(tmp_path, monkeypatch, policy) -> bool:
    sink = JsonlSink(tmp_path, policy)
    synced = threading.Event()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: synced.set() or fsync(fd))
    sink.write(record(0))
    happened = synced.wait(3.0)
    sink.close()
    return happened


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(ALWAYS, True), (INTERVAL, True), (NEVER, False)],
    ids=["always", "interval", "never"],
)
def test_the_last_record_is_synced_without_another_one(tmp_path, monkeypatch, policy, expected):
    """A record of a quiet hour is on the disk within the interval, unless syncing is off."""
    assert _synced_after_a_second(tmp_path, monkeypatch, policy) is expected


def test_flush_waits_for_the_disk(tmp_path):
    """What was written before is in the file when it returns."""
    sink = JsonlSink(tmp_path)
    for seq in range(500):
        sink.write(record(seq))
    assert sink.flush()
    assert len(lines(tmp_path)) == 500
    sink.close()


@pytest.mark.parametrize("name", ["a file", "below a file"])
def test_an_unusable_directory_is_one_clear_error(tmp_path, name):
    """A path that cannot be a directory is refused with the remedy."""
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    directory = blocker if name == "a file" else blocker / "below"
    with pytest.raises(SinkError, match="choose another --log-dir"):
        JsonlSink(directory)


def test_nothing_is_taken_after_the_end(tmp_path):
    """A closed sink says so instead of losing records in silence."""
    sink = JsonlSink(tmp_path)
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(record(0))


def test_a_disk_that_hangs_keeps_nobody_waiting(tmp_path, monkeypatch, caplog):
    """The camera goes on; what the queue cannot hold is counted, the rest is written later."""
    monkeypatch.setattr(sink_module, "QUEUE_RECORDS", 10)
    sink = JsonlSink(tmp_path)
    goes_on = threading.Event()
    write = os.write

    def hanging(fd, data):
        goes_on.wait(60)
        return write(fd, data)

    monkeypatch.setattr(os, "write", hanging)
    sink.write(record(0))
    while sink.waiting:  # until the writer hangs with the first record
        time.sleep(0.001)
    for seq in range(1, 31):
        sink.write(record(seq))
    assert sink.dropped == 20
    goes_on.set()
    sink.close()
    assert [line["seq"] for line in lines(tmp_path)] == list(range(11))
    assert "20 were lost" in caplog.text


def test_a_disk_that_never_answers_does_not_keep_the_service_from_ending(
    tmp_path, monkeypatch, caplog
):
    """The end waits for a while, then counts what is still in the queue as lost."""
    monkeypatch.setattr(sink_module, "GRACE_S", 0.2)
    sink = JsonlSink(tmp_path)
    goes_on = threading.Event()
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: goes_on.wait(60) and write(fd, data))
    for seq in range(6):
        sink.write(record(seq))
    while sink.waiting == 6:
        time.sleep(0.001)
    sink.close()
    assert sink.dropped >= 5
    assert "hangs" in caplog.text
    goes_on.set()
    join_threads("log-writer")


def test_a_writer_that_dies_ends_the_service(tmp_path, monkeypatch):
    """A defect in the thread is not an "active" unit that writes nothing."""
    failures = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    sink = JsonlSink(tmp_path)
    monkeypatch.setattr(Appender, "append", lambda *_: 1 / 0)
    sink.write(record(0))
    join_threads("log-writer")
    with pytest.raises(RuntimeError, match="the writer died"):
        sink.write(record(1))
    sink.close()
    assert failures[0].exc_type is ZeroDivisionError


def test_an_outage_is_told_twice_not_for_each_record(tmp_path, caplog):
    """Once when records begin to be lost, once with their number when they are written again."""
    caplog.set_level(logging.WARNING)
    directory = tmp_path / "log"
    sink = JsonlSink(directory)
    sink.write(record(0))
    assert sink.flush()
    (directory / FILE_NAME).unlink()
    (directory / LOCK_NAME).unlink()
    directory.rmdir()
    directory.write_text("a file in the way")
    for seq in range(1, 51):
        sink.write(record(seq))
    assert sink.flush()
    assert sink.dropped == 50
    directory.unlink()
    sink.write(record(51))
    sink.close()
    assert [line["seq"] for line in lines(directory)] == [51]
    told = [entry.getMessage() for entry in caplog.records if "lost" in entry.getMessage()]
    assert len(told) == 2
    assert "50 were lost" in told[1]
