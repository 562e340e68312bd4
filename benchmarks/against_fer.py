"""Edgeemo beside fer: install size, time to the first result, pictures a second.

python benchmarks/against_fer.py EDGEEMO_VENV FER_VENV [ROUNDS]

Two fresh environments, into each of which only the one was installed (`pip install fer`). By turns,
each in a process of its own: the shortest program for one photo, from the start of Python to the
printed answer; then the demo's moving face, 640x480, as arrays that were decoded before.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from edge.assets.store import ASTRONAUT, asset_path
from edge.config import SourceConfig
from edge.sources.select import open_source

FIRST = {
    "edgeemo": "import sys, edgeemo\nprint(edgeemo.Analyzer().image(sys.argv[1]).faces)",
    "fer": "import sys, cv2\nfrom fer.fer import FER\n"
    "print(FER().detect_emotions(cv2.imread(sys.argv[1])))",
    "fer, mtcnn=True": "import sys, cv2\nfrom fer.fer import FER\n"
    "print(FER(mtcnn=True).detect_emotions(cv2.imread(sys.argv[1])))",
}
RATE = """
import sys, time, glob, cv2
pictures = [cv2.imread(path) for path in sorted(glob.glob(sys.argv[1] + "/*.png"))]
{setup}
ask(pictures[0])
began, cpu = time.perf_counter(), time.process_time()
found = sum(len(ask(picture)) for picture in pictures)
seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
print(len(pictures) / seconds, cpu / len(pictures), found)
"""
SETUP = {
    "edgeemo": "import edgeemo; ask = edgeemo.Analyzer().image",
    "fer": "from fer.fer import FER; ask = FER().detect_emotions",
    "fer, mtcnn=True": "from fer.fer import FER; ask = FER(mtcnn=True).detect_emotions",
}
PICTURES = 40


def main(edgeemo: str, fer: str, rounds: int) -> None:
    """Measure by turns, print a table."""
    pythons = {name: Path(fer if "fer" in name else edgeemo, "bin", "python") for name in FIRST}
    firsts: dict[str, list[tuple[float, float]]] = {name: [] for name in FIRST}
    rates: dict[str, list[list[float]]] = {name: [] for name in FIRST}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        for name in list(pythons) * rounds:
            if name in failed:
                continue
            try:
                began, cpu = time.perf_counter(), cpu_s()
                run(pythons[name], FIRST[name], str(asset_path(ASTRONAUT)))
                firsts[name].append((time.perf_counter() - began, cpu_s() - cpu))
                said = run(pythons[name], RATE.format(setup=SETUP[name]), folder)
                rates[name].append([float(word) for word in said.splitlines()[-1].split()])
            except subprocess.CalledProcessError as error:
                failed[name] = f"exit code {error.returncode}: {error.stderr[-500:]}"
    print("| | MB installed | first result, s | its CPU s | pictures/s | CPU ms a picture "
          "| faces found |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for name, python in pythons.items():
        if name in failed:
            print(f"{name}: {failed[name]}", file=sys.stderr)
            continue
        size = sum(path.lstat().st_size for path in python.parents[1].rglob("*")) / 1e6
        rate, cpu, found = (statistics.median(column) for column in zip(*rates[name], strict=True))
        first, first_cpu = (statistics.median(column) for column in zip(*firsts[name], strict=True))
        print(f"| {name} | {size:,.0f} | {first:.1f} | {first_cpu:.1f} | {rate:.1f} "
              f"| {cpu * 1e3:.0f} | {found:.0f} of {PICTURES} |")  # fmt: skip


def cpu_s() -> float:
    """Return the CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make(folder: Path) -> None:
    """Write the demo's frames."""
    source = open_source(SourceConfig("demo"))
    for number in range(PICTURES):
        cv2.imwrite(str(folder / f"{number:03}.png"), source.read().image)


def run(python: Path, code: str, argument: str) -> str:
    """Run a program; return what it printed."""
    return subprocess.run(
        [python, "-c", code, argument], capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3)
