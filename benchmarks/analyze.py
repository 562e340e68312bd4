"""What processes bring to `edgeemo analyze`: films in parallel beside one process on one core.

python benchmarks/analyze.py [FILMS] [FRAMES]
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2

import edgeemo
from edge.config import SourceConfig
from edge.sources.select import open_source


def main(films: int = 8, frames: int = 150) -> None:
    """Make films, analyze them both ways, print."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "films")
        study.mkdir()
        for number in range(films):
            make(study / f"{number}.avi", frames)
        os.sched_setaffinity(0, cores[:1])
        alone_s = timed(study, Path(folder, "one.csv"), 1)
        os.sched_setaffinity(0, cores)
        together_s = timed(study, Path(folder, "all.csv"), len(cores))
    print(f"{films} films of {frames} frames, {len(cores)} cores, load {os.getloadavg()[0]:.1f}")
    print(f"one process on one core  {alone_s:7.1f} s")
    times = alone_s / together_s
    print(f"{len(cores)} processes              {together_s:7.1f} s   {times:.2f} times")


def make(path: Path, frames: int) -> None:
    """Write a film of the demo."""
    source = open_source(SourceConfig("demo"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 480))
    for _ in range(frames):
        writer.write(source.read().image)
    writer.release()


def timed(study: Path, out: Path, workers: int) -> float:
    """Return how many seconds an analysis takes."""
    began = time.perf_counter()
    report = edgeemo.analyze(study, out, workers=workers)
    if report.failures:
        raise SystemExit(f"failed: {report.failures}")
    return time.perf_counter() - began


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
