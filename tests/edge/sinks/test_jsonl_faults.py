"""What happens to disks and processes, really done to them: kills, full, read-only, gone, frozen.

``EDGEEMO_KILLS`` sets how often a writer is killed (``make soak``: 1,000 times).
"""

import json
import os
import random
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, log_files
from edge.contract.logrecord import CameraLost
from edge.sinks.jsonl import JsonlSink
from edge.sinks.jsonl.tidy import tidy

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("EDGEEMO_KILLS", "12"))


def record(seq: int, fill: int = 100) -> CameraLost:
    return CameraLost(
        time="2026-01-01T00:00:00.000Z",
        monotonic_s=1.0,
        seq=seq,
        session="s",
        device="d",
        reason="x" * fill,
    )


def numbers(directory) -> list[int]:
    return [
        json.loads(line)["seq"]
        for path in log_files(directory)
        for line in path.read_bytes().splitlines()
    ]


_WRITER = """
import sys
from pathlib import Path
from edge.contract.logrecord import CameraLost
from edge.config import LogConfig
from edge.sinks.jsonl import JsonlSink
sink = JsonlSink(Path(sys.argv[1]), LogConfig(rotate_mb=0.2, compress="none"))
seq = sink.next_seq
print(seq, flush=True)
while True:
    for _ in range(200):
        sink.write(CameraLost(time="2026-01-01T00:00:00.000Z", monotonic_s=1.0, seq=seq,
                              session="s", device="d", reason="x" * (seq % 997)))
        seq += 1
    if not sink.flush():
        sys.exit("the disk hangs")
    print(seq, flush=True)
"""


def _kill_after(directory: Path, seconds: float) -> tuple[int, int]:
    """Run a writer, kill it, and return its first number and the one up to which it synced."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE, bufsize=0
    )
    first = int(child.stdout.readline())
    select.select([], [], [], seconds)
    child.kill()
    said = child.stdout.read().split(b"\n")[:-1]  # what follows the last newline was cut off
    child.stdout.close()
    child.wait()
    return first, int(said[-1]) if said else first


def test_a_killed_writer_loses_nothing_that_was_synced(tmp_path):
    """SIGKILL at random moments of full-rate writing and rotating tears one line at most.

    Everything that was synced is there, without a gap, and the next start continues the numbers.
    """
    chance = random.Random(8)
    for _ in range(KILLS):
        before = _last_whole(tmp_path)
        first, synced = _kill_after(tmp_path, chance.uniform(0.0, 0.12))
        assert first == before + 1
        assert _last_whole(tmp_path) >= synced - 1
        for path in log_files(tmp_path)[:-4]:
            path.unlink()  # verified in an earlier round; a thousand rounds would be gigabytes
    sink = JsonlSink(tmp_path, LogConfig(compress="none"))
    sink.write(record(sink.next_seq))
    sink.close()
    written = numbers(tmp_path)
    assert written == list(range(written[0], written[0] + len(written)))


def _last_whole(directory: Path) -> int:
    """Check that all lines but the last parse and count up; return the last whole one's number."""
    data = b"".join(path.read_bytes() for path in log_files(directory))
    seqs = [json.loads(line)["seq"] for line in data.split(b"\n")[:-1]]
    if not seqs:
        return -1
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    return seqs[-1]


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"this machine does not let root mount: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB in memory."""
    path = tmp_path / "disk"
    path.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(path))
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def ext4_disk(tmp_path):
    """A small disk with a file system that can fail and freeze like an SD card's."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("making a file system needs mkfs.ext4")
    path, image = tmp_path / "disk", tmp_path / "image"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(16_000_000)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    _mount("-o", "loop", str(image), str(path))
    yield path
    subprocess.run(["umount", str(path)], check=True)


def _write_until(sink: JsonlSink, condition, seq: int) -> int:
    """Write records, each to the disk, until the condition holds; return the next number."""
    while not condition():
        sink.write(record(seq))
        seq += 1
        assert sink.flush()
    return seq


def test_a_full_disk_is_survived_and_its_losses_are_told(small_disk, caplog):
    """Records are dropped and counted while a disk of 1 MB is full, and told of when it is not.

    The file holds whole lines only, and all records that were not dropped.
    """
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    sink = JsonlSink(small_disk, LogConfig(compress="none", min_free_mb=0))
    seq = _write_until(sink, lambda: sink.dropped >= 50, 0)
    filler.unlink()
    for _ in range(100):
        sink.write(record(seq))
        seq += 1
    sink.close()
    written = numbers(small_disk)
    assert sink.dropped >= 50
    assert len(written) == seq - sink.dropped
    assert written == sorted(written)
    assert written[-100:] == list(range(seq - 100, seq))
    assert "records are being lost: No space left" in caplog.text
    assert f"{sink.dropped} were lost" in caplog.text


@pytest.mark.parametrize("runs_on_a_full_disk", [1, 3])
def test_what_a_full_disk_took_at_the_end_of_a_run_leaves_its_gap(small_disk, runs_on_a_full_disk):
    """Records written = records there + numbers missing, also over runs that lost all they had."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    written = lost = 0
    for _ in range(runs_on_a_full_disk):
        sink = JsonlSink(small_disk, LogConfig(compress="none", min_free_mb=0))
        assert sink.next_seq == written
        goal = 40 if lost else 1
        written = _write_until(sink, lambda sink=sink, goal=goal: sink.dropped >= goal, written)
        for _ in range(25):
            sink.write(record(written))
            written += 1
        sink.close()
        lost += sink.dropped
    filler.unlink()
    for _ in range(2):  # the second one finds no more than the files tell
        sink = JsonlSink(small_disk, LogConfig(compress="none", min_free_mb=0))
        assert sink.next_seq == written
        sink.write(record(written))
        written += 1
        sink.close()
    there = numbers(small_disk)
    assert lost >= 26
    assert there == sorted(set(there))
    assert len(there) + lost == written == there[-1] + 1
    assert not list(small_disk.glob("edgeemo.next-*"))


def test_the_oldest_files_make_room_on_a_full_disk(small_disk):
    """With a floor of free space a full disk heals itself: the service writes for ever."""
    policy = LogConfig(rotate_mb=0.1, compress="none", min_free_mb=0.3)
    sink = JsonlSink(small_disk, policy)
    wanted = 20_000  # four times what fits
    for seq in range(wanted):
        sink.write(record(seq))
        if seq % 500 == 499:
            assert sink.flush()
            tidy(small_disk, policy, None)  # what the sink's thread does every few seconds
    sink.close()
    written = numbers(small_disk)
    assert sink.dropped == 0
    assert written == list(range(written[0], wanted))
    assert shutil.disk_usage(small_disk).free >= 200_000


def test_a_disk_remounted_read_only_is_survived(small_disk, caplog):
    """The sink lets go of the disk, so that it can be remounted, and goes on when it may."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(900_000))
    sink = JsonlSink(small_disk, LogConfig(compress="none", min_free_mb=0))
    seq = _write_until(sink, lambda: sink.dropped > 0, 0)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    lost = sink.dropped
    seq = _write_until(sink, lambda: sink.dropped >= lost + 30, seq)
    assert sink.dropped == lost + 30
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    filler.unlink()
    sink.write(record(seq))
    sink.close()
    written = numbers(small_disk)
    assert written[-1] == seq
    assert len(written) == seq + 1 - sink.dropped
    assert f"{sink.dropped} were lost" in caplog.text


def test_a_disk_that_fails_under_an_open_file_is_survived(ext4_disk, caplog):
    """A file system that goes read-only by itself, as a worn SD card's does, stops nothing."""
    sink = JsonlSink(ext4_disk, LogConfig(compress="none", min_free_mb=0))
    seq = _write_until(sink, lambda: sink.waiting == 0 and numbers(ext4_disk) == [0, 1], 0)
    subprocess.run(["mount", "-o", "remount,abort", str(ext4_disk)], check=False)
    seq = _write_until(sink, lambda: sink.dropped >= 20, seq)
    assert numbers(ext4_disk) == [0, 1]
    # Another disk in its place, as after an exchange of the card.
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(ext4_disk))
    sink.write(record(seq))
    sink.close()
    assert numbers(ext4_disk) == [seq]
    subprocess.run(["umount", str(ext4_disk)], check=True)
    assert "Read-only file system" in caplog.text
    assert "20 were lost" in caplog.text


def test_a_frozen_disk_keeps_the_camera_going(ext4_disk):
    """Writes that hang in the kernel hang nobody else, and come through when it thaws."""
    if shutil.which("fsfreeze") is None:
        pytest.skip("freezing a disk needs fsfreeze")
    sink = JsonlSink(ext4_disk, LogConfig(compress="none", min_free_mb=0))
    sink.write(record(0))
    assert sink.flush()
    subprocess.run(["fsfreeze", "-f", str(ext4_disk)], check=True)
    try:
        for seq in range(1, 5001):
            sink.write(record(seq))  # would hang for ever, were it written here
        dropped = sink.dropped
        assert not sink.flush(0.1)
    finally:
        subprocess.run(["fsfreeze", "-u", str(ext4_disk)], check=True)
    sink.close()
    assert dropped == sink.dropped > 0
    written = numbers(ext4_disk)
    assert written == sorted(written)
    assert len(written) == 5001 - dropped


@pytest.mark.parametrize("at", ["directory", "file"])
def test_what_is_deleted_under_the_service_is_made_anew(tmp_path, at):
    """No record after the deletion is lost: each is written where it can be found."""
    directory = tmp_path / "a" / "b"
    sink = JsonlSink(directory, LogConfig(compress="none", min_free_mb=0))
    for seq in range(10):
        sink.write(record(seq))
    assert sink.flush()
    if at == "directory":
        shutil.rmtree(tmp_path / "a")
    else:
        (directory / FILE_NAME).unlink()
    for seq in range(10, 20):
        sink.write(record(seq))
    sink.close()
    assert numbers(directory) == list(range(10, 20))
    assert sink.dropped == 0


def test_a_directory_taken_over_by_another_process_is_left_to_it(tmp_path, caplog):
    """After a deletion the first to come back has the directory; the other counts its losses."""
    directory = tmp_path / "log"
    first = JsonlSink(directory)
    first.write(record(0))
    assert first.flush()
    shutil.rmtree(directory)
    second = JsonlSink(directory)
    second.write(record(100))
    first.write(record(1))
    assert first.flush()
    assert second.flush()
    assert (first.dropped, second.dropped) == (1, 0)
    assert "another edgeemo writes there" in caplog.text
    second.close()
    first.write(record(2))
    first.close()
    assert numbers(directory) == [100, 2]


def test_a_slow_sync_is_not_waited_for(tmp_path, monkeypatch):
    """Handing over a record does not wait for the disk, although each is synced."""
    sink = JsonlSink(tmp_path, LogConfig(fsync="always"))
    taken = threading.Event()
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: taken.wait(60) and real(fd))
    for seq in range(300):
        sink.write(record(seq))
    taken.set()
    sink.close()
    assert numbers(tmp_path) == list(range(300))
