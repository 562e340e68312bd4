"""What the device's installation costs beside the road over mediapipe: disk, memory, start-up.

    python benchmarks/footprint.py [--runs 5] [--python python3.11] [--machine aarch64]

Makes three virtual environments below build/footprint: the device's own as pip installs it, the
same after `python -m edge.slim`, and the one with the extra `mediapipe` as pip installs it. Runs
`edgeemo run --source demo` in all by turns and prints, as ratios within this run:

- disk: all that pip installed, without pip itself and without byte code;
- resident memory: the largest of the process over 100 frames;
- start-up: from starting the process to its end after the second frame, which has the first
  result (a face must be seen twice), the quickest of the runs; and the CPU time of all threads in
  it, which other work on the machine disturbs less;
- mediapipe: `run --mesher mediapipe`, where edgeemo keeps mediapipe from loading matplotlib;
- untrimmed: the same with mediapipe as it comes, imported as its documentation does;
- bare: a plain loop over mediapipe as it comes, without emotions or a log;

and the size of the wheels that a device downloads, by machine, with what `edge.slim` takes out of
them once they are unpacked. The wheels of this machine are real environments; those of another one
are unpacked, not installed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from edge.slim import CUTS, plan

ROADS = ("litert", "slimmed", "mediapipe")
REFERENCES = ("mediapipe", "untrimmed", "bare")
MESHERS = {"slimmed": "litert", "untrimmed": "mediapipe"}
AS_IT_COMES = """
import mediapipe
from mediapipe.tasks.python import vision
from edgeemo.cli.main import entry
entry()
"""
"""edgeemo, when mediapipe has been imported already, with all that it brings."""
BARE = """
import sys
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.sources.demo.source import DemoSource
options = vision.FaceLandmarkerOptions(
    base_options=BaseOptions(model_asset_path=str(asset_path(FACE_LANDMARKER))),
    running_mode=vision.RunningMode.VIDEO, num_faces=4)
landmarker = vision.FaceLandmarker.create_from_options(options)
source = DemoSource(int(sys.argv[1]))
while (frame := source.read()) is not None:
    image = mp.Image(image_format=mp.ImageFormat.SRGB, data=frame.image[:, :, ::-1].copy())
    landmarker.detect_for_video(image, round(frame.t_s * 1000))
landmarker.close()
"""
"""What people write with mediapipe as it comes: the mesh alone, no emotion, no log."""
PLATFORMS = (
    "manylinux_2_28",
    "manylinux_2_27",
    "manylinux_2_26",
    "manylinux2014",
    "manylinux_2_17",
)


def pip(python: Path, *arguments: str) -> None:
    """Run pip quietly."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def environment(root: Path, road: str, python: str) -> Path:
    """Make the virtual environment of a road and return its interpreter."""
    folder = root / road
    interpreter = folder.absolute() / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        target = ".[mediapipe]" if road == "mediapipe" else "."
        # mediapipe asks for another OpenCV wheel than ours: as pip installs it, both are there.
        pip(interpreter, "install", "-c", "constraints.txt", target)
        if road == "slimmed":
            subprocess.run([str(interpreter), "-m", "edge.slim"], check=True)
    else:  # what is measured is the code as it is now, installed and with its byte code
        pip(interpreter, "install", "--force-reinstall", "--no-deps", ".")
    return interpreter


def site_packages(interpreter: Path) -> Path:
    """Return where an environment's packages are."""
    return next((interpreter.parents[1] / "lib").glob("python*/site-packages"))


def cut_bytes(interpreter: Path) -> int:
    """Return what `edge.slim` could take out of an environment, byte code apart."""
    findings = plan(site_packages(interpreter), interpreter.parents[1])
    files = (file for finding in findings for file in finding.files)
    return sum(file.stat().st_size for file in files if file.suffix != ".pyc")


def disk_bytes(interpreter: Path) -> int:
    """Return the size of what was installed."""
    site = site_packages(interpreter)
    skipped = {"pip", "setuptools", "_distutils_hack", "pkg_resources"}
    files: Iterable[Path] = (
        file
        for entry in site.iterdir()
        if entry.name.split("-")[0] not in skipped
        for file in ([entry] if entry.is_file() else entry.rglob("*"))
    )
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")


def run(interpreter: Path, road: str, frames: int) -> tuple[float, float, float]:
    """Run the demo in a child; return its wall-clock and CPU seconds and largest resident MB."""
    with tempfile.TemporaryDirectory() as logs:
        command = [
            str(interpreter.with_name("edgeemo")), "run", "--source", "demo", "--max-frames",
            str(frames), "--log-dir", logs, "--mesher", MESHERS.get(road, road),
        ]  # fmt: skip
        if road == "untrimmed":
            command[:1] = [str(interpreter), "-c", AS_IT_COMES]
        elif road == "bare":
            command = [str(interpreter), "-c", BARE, str(frames)]
        started = time.perf_counter()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=logs, stdout=quiet, stderr=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return elapsed, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6


def wheels_bytes(
    python: Path, machine: str, version: str, extra: list[str]
) -> tuple[int, int, int]:
    """Download the wheels that a device of ``machine`` gets.

    Returns:
        Their size, the size of what is in them, and of that without what `edge.slim` takes out.
    """
    with tempfile.TemporaryDirectory() as folder:
        platforms = [f"--platform={p}_{machine}" for p in PLATFORMS]
        project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
        requirements = project["dependencies"] + extra
        pip(
            python, "download", "-c", "constraints.txt", "--only-binary=:all:", "-d", folder,
            f"--python-version={version}", *platforms, *requirements,
        )  # fmt: skip
        wheels = list(Path(folder).iterdir())
        sizes = [wheel_sizes(wheel) for wheel in wheels]
        unpacked, left = (sum(column) for column in zip(*sizes, strict=True))
        return sum(wheel.stat().st_size for wheel in wheels), unpacked, left


def wheel_sizes(wheel: Path) -> tuple[int, int]:
    """Return the size of a wheel's members, and of those that `edge.slim` leaves."""
    name = wheel.name.partition("-")[0].replace("_", "-").lower()
    cuts = [cut for cut in CUTS if cut.distribution == name]
    unpacked = left = 0
    for member in zipfile.ZipFile(wheel).infolist():
        unpacked += member.file_size
        goes = any(
            any(fnmatchcase(member.filename, pattern) for pattern in cut.patterns)
            and not any(fnmatchcase(member.filename, pattern) for pattern in cut.kept)
            for cut in cuts
        )
        left += 0 if goes else member.file_size
    return unpacked, left


def show_environments(rows: dict[str, dict[str, float]]) -> None:
    """Print a table of the roads, and below it our two as ratios to each reference."""
    roads = ("litert", "slimmed", *REFERENCES)
    print(f"{'':14}" + "".join(f"{road:>11}" for road in roads))
    for name, row in rows.items():
        print(f"{name:14}" + "".join(f"{row[road]:11.2f}" for road in roads))
    for reference in REFERENCES:
        print(f"of {reference}'s:")
        for name, row in rows.items():
            ratios = (row[road] / row[reference] for road in ("litert", "slimmed"))
            print(f"{name:14}" + "".join(f"{ratio:11.3f}" for ratio in ratios))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--machine", default="aarch64")
    options = parser.parse_args()
    root = Path("build/footprint")
    root.mkdir(parents=True, exist_ok=True)
    interpreters = {road: environment(root, road, options.python) for road in ROADS}
    interpreters |= dict.fromkeys(REFERENCES, interpreters["mediapipe"])

    starts: dict[str, list[tuple[float, float]]] = {road: [] for road in interpreters}
    memory: dict[str, list[float]] = {road: [] for road in interpreters}
    for _ in range(options.runs):
        for road, interpreter in interpreters.items():
            starts[road].append(run(interpreter, road, 2)[:2])
            memory[road].append(run(interpreter, road, 100)[2])
    show_environments(
        {
            "disk, MB": {road: disk_bytes(path) / 1e6 for road, path in interpreters.items()},
            "resident, MB": {road: max(values) for road, values in memory.items()},
            "start-up, s": {road: min(s for s, _ in values) for road, values in starts.items()},
            "its CPU, s": {road: min(s for _, s in values) for road, values in starts.items()},
        }
    )
    theirs = disk_bytes(interpreters["mediapipe"]) - cut_bytes(interpreters["mediapipe"])
    ratio = disk_bytes(interpreters["slimmed"]) / theirs
    print(f"slimmed in the same way, mediapipe's would be {theirs / 1e6:.1f} MB: ratio {ratio:.3f}")
    for version in ("3.11", "3.13"):
        (ours, unpacked, left), reference = (
            wheels_bytes(interpreters["litert"], options.machine, version, extra)
            for extra in ([], ["mediapipe>=1.2,<1.3"])
        )
        print(
            f"wheels for {options.machine}, Python {version}: {ours / 1e6:.1f} MB, with mediapipe "
            f"{reference[0] / 1e6:.1f}, ratio {ours / reference[0]:.3f}; unpacked "
            f"{unpacked / 1e6:.1f} and {reference[1] / 1e6:.1f}, ratio "
            f"{unpacked / reference[1]:.3f}; slimmed {left / 1e6:.1f}, ratio "
            f"{left / reference[1]:.3f}"
        )


if __name__ == "__main__":
    main()
