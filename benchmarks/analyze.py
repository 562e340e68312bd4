"""What processes bring to `edgeemo analyze`: films in parallel beside one process on one core.

python benchmarks/analyze.py [FILMS] [FRAMES] [ROUNDS]

Two processors are seldom two cores, and another program may have one of them: so each round also
has two processes that only count, alone and together, which is as much as parallel work can gain
here. CPU seconds are of all processes.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2

import edgeemo
from edge.config import SourceConfig
from edge.sources.select import open_source

COUNT = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
x = 0
for i in range(12_000_000):
    x = (x * 1103515245 + 12345 + i) & 0x7FFFFFFF
"""


def main(films: int = 8, frames: int = 150, rounds: int = 3) -> None:
    """Make films, analyze them both ways by turns, print medians."""
    cores = sorted(os.sched_getaffinity(0))
    took: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "films")
        study.mkdir()
        for number in range(films):
            make(study / f"{number}.avi", frames)
        edgeemo.Analyzer()  # loads what the first call loads
        ways: dict[str, tuple[Sequence[int], Callable[[], object]]] = {
            "analyze, pinned": (cores[:1], lambda: analyze(study, 1)),
            "analyze, parallel": (cores, lambda: analyze(study, len(cores))),
            "count, pinned": (cores, lambda: count(cores[:1])),
            "count, parallel": (cores, lambda: count(cores)),
        }
        for _ in range(rounds):
            for name, (on, work) in ways.items():
                os.sched_setaffinity(0, on)
                took.setdefault(name, []).append(timed(work))
    print(f"{films} films of {frames} frames, {len(cores)} processors, {rounds} rounds, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, each in took.items():
        wall_s, cpu_s = map(statistics.median, zip(*each, strict=True))
        print(f"{name:20}{wall_s:7.1f} s, CPU {cpu_s:6.1f} s")
    gained = ratio(took["analyze, pinned"], took["analyze, parallel"])
    possible = len(cores) * ratio(took["count, pinned"], took["count, parallel"])
    print(f"analyze {gained:.2f} times as fast, of {possible:.2f} times: {gained / possible:.0%}")


def ratio(first: Sequence[tuple[float, float]], second: Sequence[tuple[float, float]]) -> float:
    """Return the median over rounds of how much longer the first took."""
    return statistics.median(a[0] / b[0] for a, b in zip(first, second, strict=True))


def make(path: Path, frames: int) -> None:
    """Write a film of the demo."""
    source = open_source(SourceConfig("demo"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
    for _ in range(frames):
        writer.write(source.read().image)
    writer.release()


def analyze(study: Path, workers: int) -> None:
    """Analyze all films afresh."""
    report = edgeemo.analyze(study, study.with_name("out.csv"), workers=workers, restart=True)
    if report.failures:
        raise SystemExit(f"failed: {report.failures}")


def count(cores: Sequence[int]) -> None:
    """Count on each of the cores at the same time."""
    started = [subprocess.Popen([sys.executable, "-c", COUNT, str(core)]) for core in cores]
    if any(process.wait() for process in started):
        raise SystemExit("counting failed")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds, those of its processes among them."""
    began_s, cpu_s = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - began_s, cpu_seconds() - cpu_s


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it has waited for."""
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
