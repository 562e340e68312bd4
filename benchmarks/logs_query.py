"""What it takes to summarise ten million records: time and peak memory, in a process of its own.

    python benchmarks/logs_query.py [--records N] [--dir DIR]

Writes a fleet of four devices as `edgeemo run --emit frame` would (three faces at 10 frames a
second), in files of 16 MB, compressed but for the last of each device; a directory that is there
is used again, without its store. Then runs the commands over the raw files, makes the store, and
asks that. Prints, for each, seconds, seconds of CPU time (which other work on the machine lengthens
less), and the peak of resident memory.
"""

import argparse
import gzip
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.contract.labels import EMOTIONS
from edge.contract.logfiles import FILE_NAME, STORE_NAME, closed_name
from edge.contract.logrecord import Emotion, Health, LogRecord, TrackEnded, encode_record

_DEVICES = 4
_FILE_BYTES = 16_000_000
_START = datetime(2026, 1, 1, tzinfo=UTC)
_FRAMES_A_TRACK = 600
_FACES = 3
_ENDS = {"fleet": (0, 1)}  # 1: some device needs attention, as these do


def records(device: str, count: int, seq: int = 0, frame: int = 0) -> Iterator[LogRecord]:
    """Yield ``count`` records of one session, from a number and a frame on."""
    chance = random.Random(device)
    count += seq
    while seq < count:
        t_s = frame / 10
        head = {
            "time": f"{_START + timedelta(seconds=t_s):%Y-%m-%dT%H:%M:%S}.{frame % 10}00Z",
            "monotonic_s": t_s,
            "session": "4be0c1d2a6f7",
            "device": device,
        }
        first = frame // _FRAMES_A_TRACK * _FACES
        for track in range(first, first + _FACES):
            top = EMOTIONS[(track + frame // 50) % len(EMOTIONS)]
            sure = round(chance.uniform(0.4, 1.0), 4)
            rest = round((1 - sure) / 7, 4)
            yield Emotion(
                **head, seq=seq, track=track, label=top, confidence=sure,
                scores={name: sure if name == top else rest for name in EMOTIONS},
                box=(265.6, 167.1, 373.1, 293.8), head_pose=None, frame=frame,
                latency_ms=round(chance.uniform(9, 14), 2),
            )  # fmt: skip
            seq += 1
            if frame % _FRAMES_A_TRACK == _FRAMES_A_TRACK - 1:
                yield TrackEnded(**head, seq=seq, track=track, duration_s=59.9, shares={top: 1.0})
                seq += 1
        if frame % 600 == 0:
            yield Health(
                **head, seq=seq, fps=10.0, stage_ms={"mesh": 9.0}, frames=frame, dropped_frames=0,
                dropped_records=0, rss_mb=101.0, temperature_c=55.0, throttled="0",
            )  # fmt: skip
            seq += 1
        frame += 1


def write_fleet(root: Path, count: int) -> None:
    """Write the directories of all devices."""
    for number in range(_DEVICES):
        directory = root / f"pi-{number}"
        directory.mkdir(parents=True)
        buffer, size, files = [], 0, 0
        for record in records(directory.name, count // _DEVICES):
            line = encode_record(record)
            if size + len(line) > _FILE_BYTES:
                files += 1
                name = closed_name(files, _START.timestamp() + files)
                (directory / f"{name}.gz").write_bytes(gzip.compress(b"".join(buffer), 1))
                buffer, size = [], 0
            buffer.append(line)
            size += len(line)
        (directory / FILE_NAME).write_bytes(b"".join(buffer))


@contextmanager
def a_day_later(directory: Path, seq: int) -> Iterator[None]:
    """Have the file that was being written closed, and another one begun, inside the block."""
    current, closed = directory / FILE_NAME, directory / closed_name(999_999, time.time())
    current.rename(closed)
    lines = map(encode_record, records(directory.name, 2000, seq, 864_000))
    current.write_bytes(b"".join(lines))
    try:
        yield
    finally:
        closed.rename(current)


def show(root: Path, *arguments: str) -> None:
    """Measure a command, and print a line."""
    seconds, cpu_s, peak_mb = measure(arguments[0], str(root), *arguments[1:])
    shown = " ".join(word for word in arguments if not word.startswith(str(root)))
    print(f"logs {shown:28} {seconds:7.1f} s  {cpu_s:7.1f} s CPU  {peak_mb:7.0f} MB")


def measure(*arguments: str) -> tuple[float, float, float]:
    """Run a command of edgeemo; return seconds, CPU seconds and its peak of memory in MB."""
    start_s = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "edgeemo", "logs", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status) not in _ENDS.get(arguments[0], (0,)):
        sys.exit(f"edgeemo logs {' '.join(arguments)}: exit status {status}")
    elapsed_s = time.perf_counter() - start_s
    return elapsed_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Write, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--dir", type=Path, default=Path("build/logs-benchmark"))
    options = parser.parse_args()
    root = options.dir
    if not root.exists():
        write_fleet(root, options.records)
    shutil.rmtree(root / STORE_NAME, ignore_errors=True)
    size = sum(path.stat().st_size for path in root.rglob("*.jsonl*"))
    print(f"{options.records:,} records in {size / 1e6:,.0f} MB on disk, {os.cpu_count()} cores")
    measured = (
        ("summary",),
        ("summary", "--by", "hour"),
        ("summary", "--by", "track"),
        ("export", "--format", "parquet", "-o", str(root / "all.parquet")),
        ("report", "-o", str(root / "report.html")),
        ("store",),
        ("store",),  # with nothing new
        ("summary",),
        ("summary", "--by", "hour"),
        ("summary", "--by", "track"),
        ("summary", "--since", "2026-01-01T06:00"),
        ("fleet",),
    )
    show(root / "pi-0", "tail")
    for arguments in measured:
        show(root, *arguments)
    with a_day_later(root / "pi-0", options.records):
        show(root, "store")


if __name__ == "__main__":
    main()
