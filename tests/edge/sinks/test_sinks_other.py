"""The other sinks: each tells other programs, and none can harm the log or hold up the camera."""

import contextlib
import json
import logging
import os
import socket
import stat
import struct
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import load_config
from edge.contract.logrecord import CameraLost, Emotion, encode_record
from edge.errors import ConfigError, SinkError
from edge.sinks.fan_out import MultiSink
from edge.sinks.journal import JournalSink
from edge.sinks.jsonl import JsonlSink
from edge.sinks.stream import FifoSink, StdoutSink
from edge.sinks.unix_socket import UnixSocketSink
from edge.testing.fakes import MemorySink

HEADER = {"time": "2026-01-01T00:00:00.000Z", "monotonic_s": 1.0, "session": "s"}


def record(seq: int, fill: int = 100, device: str = "d") -> CameraLost:
    return CameraLost(**HEADER, device=device, seq=seq, reason="x" * fill)


def write_many(sink, count: int) -> None:
    for seq in range(count):
        sink.write(record(seq))


def seqs(data: bytes) -> list[int]:
    assert data.endswith(b"\n") or not data
    return [json.loads(line)["seq"] for line in data.splitlines()]


@pytest.fixture
def pipe():
    """A pipe; what a test leaves open is closed."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        with contextlib.suppress(OSError):
            os.close(fd)


def read_to_end(fd: int) -> bytes:
    data = b""
    while block := os.read(fd, 1 << 16):
        data += block
    return data


def test_a_reader_that_keeps_up_gets_every_record(pipe):
    """Each record is a line on the standard output, in order, the last one whole."""
    reader, writer = pipe
    got = []
    thread = threading.Thread(target=lambda: got.append(read_to_end(reader)))
    thread.start()
    sink = StdoutSink(writer)
    os.close(writer)
    written = []
    for seq in range(300):
        with contextlib.suppress(SinkError):
            sink.write(record(seq, 9000 if seq == 150 else 10))
            written.append(seq)
    sink.close()
    sink.close()
    thread.join()
    assert seqs(got[0]) == written


@given(st.lists(st.integers(0, 12_000), max_size=60), st.integers(0, 2**32))
def test_a_slow_reader_gets_whole_lines_or_none(sizes, seed):
    """However it reads, what arrives are exactly the records that were not refused."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    sink, data, taken = StdoutSink(writer), b"", []
    os.close(writer)
    for seq, size in enumerate(sizes):
        try:
            sink.write(record(seq, size))
            taken.append(seq)
        except SinkError:
            pass
        if (seed >> (seq % 32)) & 1:
            with contextlib.suppress(BlockingIOError):
                data += os.read(reader, 5000 + seed % 9000)
    os.set_blocking(reader, True)
    thread = threading.Thread(target=sink.close)
    thread.start()
    data += read_to_end(reader)
    thread.join()
    os.close(reader)
    assert seqs(data) == taken


def test_a_full_pipe_refuses_instead_of_waiting(pipe):
    """A program that does not read holds up nothing."""
    _, writer = pipe
    sink = StdoutSink(writer)
    refused = 0
    for seq in range(2000):
        try:
            sink.write(record(seq))
        except SinkError:
            refused += 1
    assert 0 < refused < 2000


def test_a_reader_that_left_is_an_error_of_ours(pipe):
    """A closed pipe is a record not taken, not a signal and not a crash."""
    reader, writer = pipe
    sink = StdoutSink(writer)
    os.close(reader)
    with pytest.raises(SinkError, match="Broken pipe"):
        sink.write(record(0))
    sink.close()


def test_a_fifo_serves_who_reads_it(tmp_path):
    """Without a reader records pass by; each reader gets whole lines from when it came."""
    path = tmp_path / "records"
    sink = FifoSink(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert path.stat().st_mode & 0o137 == 0
    sink.write(record(0))
    for first in (1, 5):
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        for seq in range(first, first + 3):
            sink.write(record(seq))
        got = os.read(reader, 1 << 16)
        os.close(reader)
        assert seqs(got) == [first, first + 1, first + 2]
        sink.write(record(first + 3))  # nobody there any more
    sink.close()
    sink.close()


def test_a_fifo_that_is_not_read_refuses(tmp_path):
    """A reader that hangs costs it records and nobody else anything."""
    sink = FifoSink(tmp_path / "records")
    reader = os.open(tmp_path / "records", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(SinkError, match="too slow"):
        write_many(sink, 2000)
    os.close(reader)
    sink.close()


def test_the_documented_line_reads_a_fifo(tmp_path):
    """`cat PATH` prints the records."""
    path = tmp_path / "records"
    sink = FifoSink(path)
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as cat:
        while not sink.is_read:  # until cat has opened it
            sink.write(record(0))
        sink.write(record(1))
        sink.close()
        assert seqs(cat.stdout.read())[-2:] == [0, 1]


def connected(path) -> socket.socket:
    reader = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    reader.connect(str(path))
    return reader


def received(reader: socket.socket) -> bytes:
    data = b""
    while block := reader.recv(1 << 16):
        data += block
    return data


def test_a_socket_serves_all_who_connect(tmp_path):
    """Each gets every record from when it came, and the end when the service ends."""
    path = tmp_path / "records"
    sink = UnixSocketSink(path)
    assert path.stat().st_mode & 0o117 == 0
    sink.write(record(0))
    with connected(path) as early:
        sink.write(record(1))
        with connected(path) as late:
            sink.write(record(2))
            sink.close()
            sink.close()
            assert seqs(received(early)) == [1, 2]
            assert seqs(received(late)) == [2]
    assert not path.exists()
    with pytest.raises(SinkError, match="closed"):
        sink.write(record(3))


def test_a_slow_reader_is_hung_up_on_and_others_are_not(tmp_path):
    """One program that does not read costs the others no record."""
    path = tmp_path / "records"
    sink = UnixSocketSink(path)
    with connected(path) as slow, connected(path) as good:
        data = b""
        for seq in range(5000):
            sink.write(record(seq))
            data += good.recv(1 << 16)
        assert seqs(data) == list(range(5000))
        behind = received(slow)  # ends: it was disconnected
        assert seqs(behind[: behind.rfind(b"\n") + 1]) == list(range(behind.count(b"\n")))
    sink.write(record(5000))
    sink.close()


def test_readers_are_limited(tmp_path):
    """A program gone wild cannot use up all descriptors."""
    path = tmp_path / "records"
    sink = UnixSocketSink(path)
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(20):
            readers.append(stack.enter_context(connected(path)))
            sink.write(record(0, 1))
        ended = [reader for reader in readers if reader.recv(1, socket.MSG_PEEK) == b""]
        assert len(ended) == 4
        sink.close()


def test_a_socket_left_behind_is_replaced(tmp_path):
    """A killed run is no obstacle, a running one is, and nothing but a socket is ever removed."""
    path = tmp_path / "records"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    sink = UnixSocketSink(path)
    with pytest.raises(SinkError, match="another process listens"):
        UnixSocketSink(path)
    sink.close()
    path.write_text("precious")
    for kind in (UnixSocketSink, FifoSink):
        with pytest.raises(SinkError, match="remove it"):
            kind(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("kind", [UnixSocketSink, FifoSink])
def test_a_path_that_can_not_be_is_one_clear_error(tmp_path, kind):
    """A missing folder or a name that is too long is told at the start."""
    with pytest.raises(SinkError, match="there"):
        kind(tmp_path / "no" / "folder")
    with pytest.raises(SinkError, match="there"):
        kind(tmp_path / ("x" * 300))


def parse_entry(data: bytes) -> dict[str, bytes]:
    """Read an entry as journald does."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, is_short, value = line.partition(b"=")
        if not is_short:
            (length,) = struct.unpack("<Q", data[:8])
            value, end, data = (
                data[8 : 8 + length],
                data[8 + length : 9 + length],
                data[9 + length :],
            )
            assert end == b"\n"
        fields[name.decode()] = value
    return fields


@pytest.fixture
def journal(tmp_path):
    """A socket where the journal's would be."""
    path = tmp_path / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        yield server, path


def test_the_journal_gets_a_field_for_each_field(journal):
    """A record can be searched by its fields; what is nested is JSON, and a text is for people."""
    server, path = journal
    sink = JournalSink(path)
    sink.write(
        Emotion(**HEADER, device="pi", seq=7, track=3, label="fear", confidence=0.51, frame=1,
                scores={"fear": 0.51}, box=(0, 0, 1, 1), head_pose=None, latency_ms=9.5)
    )  # fmt: skip
    sink.close()
    sink.close()
    fields = parse_entry(server.recv(1 << 16))
    assert fields["MESSAGE"] == b"#3: fear 51%"
    assert (fields["SYSLOG_IDENTIFIER"], fields["PRIORITY"]) == (b"edgeemo", b"6")
    assert (fields["EDGEEMO_KIND"], fields["EDGEEMO_TRACK"]) == (b"emotion", b"3")
    assert json.loads(fields["EDGEEMO_SCORES"]) == {"fear": 0.51}
    assert "EDGEEMO_HEAD_POSE" not in fields


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_journal_can_not_be_given_false_fields(device, reason):
    """A newline or an equals sign in a value stays in it."""
    from edge.sinks.journal import entry

    fields = parse_entry(entry(CameraLost(**HEADER, device=device, seq=0, reason=reason)))
    assert fields["EDGEEMO_DEVICE"].decode("utf-8") == device
    assert fields["EDGEEMO_REASON"].decode("utf-8") == reason
    assert all(name == "MESSAGE" or name.isupper() for name in fields)
    assert len(fields) == 11


def test_a_journal_that_is_busy_gone_or_back_harms_nothing(journal):
    """Records that it does not take are refused at once; a restarted one is found again."""
    server, path = journal
    sink = JournalSink(path)
    with pytest.raises(SinkError, match="does not take"):
        write_many(sink, 100_000)
    server.close()
    path.unlink()
    with pytest.raises(SinkError, match="does not take"):
        sink.write(record(0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(str(path))
        sink.write(record(1))
        assert parse_entry(again.recv(1 << 16))["EDGEEMO_SEQ"] == b"1"
    sink.close()


def test_no_journal_is_told_at_the_start(tmp_path):
    """A machine without systemd gets a clear line instead of silence."""
    with pytest.raises(SinkError, match="no journal runs"):
        JournalSink(tmp_path / "none")


class Refusing(MemorySink):
    """Takes nothing."""

    def write(self, record: object) -> None:  # noqa: ARG002
        """Refuse."""
        raise SinkError("no")


def test_the_log_comes_first(tmp_path, caplog):
    """What another sink refuses is in the log all the same, counted there as its own loss only."""
    caplog.set_level(logging.WARNING)
    log, bad, good = JsonlSink(tmp_path), Refusing(), MemorySink()
    tee = MultiSink(log, {"bad": bad, "good": good})
    for seq in range(50):
        tee.write(record(seq))
    tee.close()
    tee.close()
    assert seqs((tmp_path / "edgeemo.jsonl").read_bytes()) == list(range(50))
    assert [taken.seq for taken in good.records] == list(range(50))
    assert tee.dropped == 0
    assert bad.closed
    assert [entry.getMessage() for entry in caplog.records] == [
        "a record was not taken: no",
        "bad: 50 records were not taken",
    ]


class Broken(MemorySink):
    """Has a defect."""

    def write(self, record: object) -> None:  # noqa: ARG002
        """Fail as nobody has foreseen."""
        raise ZeroDivisionError("a\nb")

    def close(self) -> None:
        """Fail, too."""
        raise KeyError("c")


def test_a_defect_of_another_sink_harms_neither_log_nor_run(tmp_path, caplog):
    """It is counted as what it refuses would be; the log is closed all the same."""
    caplog.set_level(logging.WARNING)
    good = MemorySink()
    tee = MultiSink(JsonlSink(tmp_path), {"broken": Broken(), "good": good})
    for seq in range(3):
        tee.write(record(seq))
    tee.close()
    assert seqs((tmp_path / "edgeemo.jsonl").read_bytes()) == [0, 1, 2]
    assert good.closed
    assert [entry.getMessage() for entry in caplog.records] == [
        "a record was not taken: ZeroDivisionError: a b",
        "broken: not closed: KeyError: 'c'",
        "broken: 3 records were not taken",
    ]


def edgeemo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeemo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_gives_its_records_to_the_next_program(tmp_path):
    """With stdout the output is the log, line by line, and nothing else."""
    config = tmp_path / "c.toml"
    config.write_text(
        f'[log]\nalso = ["stdout", "unix:{tmp_path}/socket", "fifo:{tmp_path}/fifo"]\n'
    )
    done = edgeemo(
        "run", "--source", "demo", "--max-frames", 30, "--config", config, "--log-dir", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "edgeemo.jsonl").read_text()
    assert json.loads(done.stdout.splitlines()[-1])["kind"] == "service_stopped"
    assert "ended by" in done.stderr
    assert not (tmp_path / "socket").exists()


def test_a_sink_that_can_not_be_had_ends_the_start(tmp_path):
    """It is named, the exit code says failure, and the log directory is free again."""
    config = tmp_path / "c.toml"
    config.write_text(f'[log]\nalso = ["unix:{tmp_path}/no/socket"]\n')
    done = edgeemo("run", "--source", "demo", "--config", config, "--log-dir", tmp_path)
    assert done.returncode == 1
    assert "no/socket" in done.stderr
    JsonlSink(tmp_path).close()


@pytest.mark.parametrize("spec", ["mqtt", "unix:", "stdout:1", "file:/tmp/a"])
def test_an_unknown_sink_is_a_configuration_error(tmp_path, spec):
    """What is no sink is told with its key."""
    (tmp_path / "c.toml").write_text(f'[log]\nalso = ["{spec}"]\n')
    with pytest.raises(ConfigError, match=r"log\.also"):
        load_config(tmp_path / "c.toml")


def test_a_line_is_the_same_everywhere(pipe, tmp_path):
    """What other programs read is byte for byte what the log holds."""
    reader, writer = pipe
    sink = StdoutSink(writer)
    sink.write(record(3, device="ü\n"))
    assert os.read(reader, 1 << 16) == encode_record(record(3, device="ü\n"))
    sink.close()
