"""The JSON Lines sink: whole lines only, whatever happens."""

import json
import multiprocessing
import os
import resource
import stat
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.contract.logrecord import CameraLost, encode_record
from edge.errors import SinkError
from edge.sinks.jsonl import FILE_NAME, JsonlSink


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
    """A second session continues the file of the first."""
    for start in (0, 3):
        sink = JsonlSink(tmp_path)
        for seq in range(start, start + 3):
            sink.write(record(seq))
        sink.close()
        sink.close()
    assert [line["seq"] for line in lines(tmp_path)] == [0, 1, 2, 3, 4, 5]


def test_the_file_is_not_for_everybody(tmp_path):
    """Logs about people are 0640 at most."""
    JsonlSink(tmp_path / "deep" / "er").close()
    mode = stat.S_IMODE((tmp_path / "deep" / "er" / FILE_NAME).stat().st_mode)
    assert mode & ~0o640 == 0


@given(whole=st.integers(0, 5), torn=st.binary(max_size=200).map(lambda b: b.replace(b"\n", b"")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_last_line_is_cut_off(tmp_path, whole, torn):
    """Whatever bytes follow the last newline go, and nothing else does."""
    path = tmp_path / FILE_NAME
    kept = b"".join(encode_record(record(seq)) for seq in range(whole))
    path.write_bytes(kept + torn)
    sink = JsonlSink(tmp_path)
    assert sink.recovered_bytes == len(torn)
    sink.write(record(99))
    sink.close()
    assert path.read_bytes() == kept + encode_record(record(99))


def test_a_torn_line_longer_than_the_search_block_is_cut_off(tmp_path):
    """The search for the last newline goes back as far as it must."""
    kept = encode_record(record(0))
    (tmp_path / FILE_NAME).write_bytes(kept + b"x" * 300_000)
    JsonlSink(tmp_path).close()
    assert (tmp_path / FILE_NAME).read_bytes() == kept


def test_a_second_writer_is_refused(tmp_path):
    """Two processes can not interleave their records."""
    first = JsonlSink(tmp_path)
    with pytest.raises(SinkError, match="another edgeemo writes there"):
        JsonlSink(tmp_path)
    first.close()
    JsonlSink(tmp_path).close()


@pytest.mark.parametrize("fsync", ["always", "interval", "never"])
def test_each_record_is_one_write(tmp_path, monkeypatch, fsync):
    """Another process reading along never sees half a line."""
    sink = JsonlSink(tmp_path, fsync)
    calls = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: calls.append(data) or write(fd, data))
    sink.write(record(0))
    sink.write(record(1))
    assert calls == [encode_record(record(0)), encode_record(record(1))]
    sink.close()


@pytest.mark.parametrize("name", ["a file", "below a file"])
def test_an_unusable_directory_is_one_clear_error(tmp_path, name):
    """A path that can not be a directory is refused with the remedy."""
    blocker = tmp_path / "blocker"
    blocker.write_text("")
    directory = blocker if name == "a file" else blocker / "below"
    with pytest.raises(SinkError, match="choose another --log-dir"):
        JsonlSink(directory)


def _fill_until_refused(directory, limit, results):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    # A file at its limit gives EFBIG, after SIGXFSZ, which Python ignores: a full disk's twin.
    sink = JsonlSink(directory)
    refused = 0
    for seq in range(100):
        try:
            sink.write(record(seq, "x" * 100))
        except SinkError:
            refused += 1
    sink.close()
    results.put(refused)


def test_a_disk_that_refuses_in_mid_line_leaves_whole_lines(tmp_path):
    """A line that does not fit is taken back, and the sink keeps trying without damage."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    child = context.Process(target=_fill_until_refused, args=(tmp_path, 5_000, results))
    child.start()
    refused = results.get(timeout=60)
    child.join()
    written = lines(tmp_path)
    assert refused > 0
    assert len(written) + refused == 100
    assert [line["seq"] for line in written] == list(range(len(written)))


def _write_forever(directory):
    sink = JsonlSink(directory, "never")
    seq = 0
    while True:
        sink.write(record(seq))
        seq += 1


def test_a_killed_writer_leaves_a_file_that_goes_on(tmp_path):
    """After SIGKILL the next session finds whole lines and continues."""
    context = multiprocessing.get_context("spawn")
    child = context.Process(target=_write_forever, args=(tmp_path,))
    child.start()
    path = tmp_path / FILE_NAME
    while not path.exists() or path.stat().st_size < 100_000:
        time.sleep(0.01)
    child.kill()
    child.join()
    sink = JsonlSink(tmp_path)
    sink.write(record(0))
    sink.close()
    seqs = [line["seq"] for line in lines(tmp_path)]
    assert seqs[:-1] == list(range(len(seqs) - 1))
