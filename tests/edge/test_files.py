"""What is written beside its place, to appear there whole, goes through nobody else's link."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, closed_name
from edge.contract.logrecord import ServiceStarted, ServiceStopped, encode_record
from edge.errors import SinkError
from edge.files import open_to_group, replacing
from edge.logs.forget import forget_participant
from edge.preview.snapshot import Snapshot
from edge.sinks.jsonl.tidy import tidy
from edge.sinks.metrics import MetricsSink
from edge.sinks.stream import FifoSink
from edge.testing.fakes import make_facts, make_frame, make_pipeline

HEADER = {"time": "2026-01-01T00:00:00.000Z", "monotonic_s": 1.0, "session": "s", "device": "d"}
STARTED = ServiceStarted(**HEADER, seq=0, participant="p07", **make_facts())
STOPPED = ServiceStopped(**HEADER, seq=1, reason="x", frames=1, tracks=0, records=2)
ME = os.getpid()


def _replace(folder: Path) -> None:
    with replacing(folder / "new") as file:
        file.write(b"new")


def _forget(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(encode_record(STARTED))
    assert forget_participant(folder, "p07").sessions == 1


def _compress(folder: Path) -> None:
    (folder / closed_name(1, 0)).write_bytes(encode_record(STARTED))
    tidy(folder, LogConfig(min_free_mb=0), None)


def _count(folder: Path) -> None:
    MetricsSink(folder / "edgeemo.prom").write(STARTED)


def _picture(folder: Path) -> None:
    snapshot = Snapshot(folder / "new.png")
    snapshot(make_pipeline().process(make_frame(0)))
    snapshot.close()


WRITERS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "a file": (_replace, f".new.{ME}", "new"),
    "a log without a code": (_forget, f".{FILE_NAME}.forget", FILE_NAME),
    "a compressed log": (_compress, f"{closed_name(1, 0)}.gz.part", f"{closed_name(1, 0)}.gz"),
    "metrics": (_count, ".edgeemo.prom.part", "edgeemo.prom"),
    "a snapshot": (_picture, f".edgeemo-{ME}.part", "new.png"),
}
"""What writes, the name beside, and the name in the end."""


@pytest.mark.parametrize("link", ["symbolic", "hard"])
@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_a_link_that_waits_leads_nowhere(tmp_path, writer, link):
    """Whoever owns the folder knows the name, and may have put another account's file there."""
    write, beside, there = writer
    precious = tmp_path / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    folder = tmp_path / "theirs"
    folder.mkdir()
    if link == "symbolic":
        (folder / beside).symlink_to(precious)
    else:
        (folder / beside).hardlink_to(precious)
    write(folder)
    assert precious.read_text() == "precious"
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600
    assert (folder / there).lstat().st_nlink == 1
    assert not (folder / there).is_symlink()
    assert not os.path.lexists(folder / beside)


def test_a_fifo_that_becomes_something_else_is_not_written(tmp_path):
    """Nothing of what takes its place is opened as if it were the FIFO: no link, no file."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    path = tmp_path / "records"
    sink = FifoSink(path)
    for put in (path.symlink_to, path.hardlink_to):
        path.unlink()
        put(precious)
        with pytest.raises(SinkError, match="cannot be written"):
            sink.write(STOPPED)
    assert precious.read_text() == "precious"
    with pytest.raises(SinkError, match="is no FIFO"):
        FifoSink(path)


def test_only_a_socket_is_opened_to_the_group(tmp_path):
    """A link or a file that has taken its name keeps its mode, and so does what it leads to."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    (tmp_path / "link").symlink_to(precious)
    for name in ("link", "precious"):
        with pytest.raises(OSError, match="something else"):
            open_to_group(tmp_path / name)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "socket"))
        open_to_group(tmp_path / "socket")
    assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == 0o660
