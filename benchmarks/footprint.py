"""What the device's installation costs beside the road over mediapipe: disk, memory, start-up.

    python benchmarks/footprint.py [--runs 5] [--python python3.11] [--machine aarch64]

Makes two virtual environments below build/footprint: the device's own, and the same with the extra
`mediapipe`. Runs `edgeemo run --source demo` in both by turns and prints, as ratios within this
run:

- disk: all that pip installed, without pip itself and without byte code;
- resident memory: the largest of the process over 100 frames;
- start-up: from starting the process to the end of the second frame, which has the first result
  (a face must be seen twice), the quickest of the runs;
- bare: the same for a plain loop over mediapipe, which edgeemo's own use of it is already leaner
  than, since it keeps matplotlib from being loaded;

and the size of the wheels that a device downloads, by machine.
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
from pathlib import Path

ROADS = ("litert", "mediapipe")
BARE = """
import sys
import mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
from edge.assets import FACE_LANDMARKER, asset_path
from edge.sources.demo import DemoSource
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
    interpreter = folder / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        target = "." if road == "litert" else ".[mediapipe]"
        # mediapipe asks for another OpenCV wheel than ours: as pip installs it, both are there.
        pip(interpreter, "install", "-c", "constraints.txt", target)
    return interpreter


def disk_bytes(interpreter: Path) -> int:
    """Return the size of what was installed."""
    site = next((interpreter.parents[1] / "lib").glob("python*/site-packages"))
    skipped = {"pip", "setuptools", "_distutils_hack", "pkg_resources"}
    files: Iterable[Path] = (
        file
        for entry in site.iterdir()
        if entry.name.split("-")[0] not in skipped
        for file in ([entry] if entry.is_file() else entry.rglob("*"))
    )
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")


def run(interpreter: Path, road: str, frames: int) -> tuple[float, float]:
    """Run the demo in a child; return its wall-clock seconds and largest resident MB."""
    with tempfile.TemporaryDirectory() as logs:
        command = [
            str(interpreter), "-m", "edge.cli", "run", "--source", "demo", "--mesher", road,
            "--max-frames", str(frames), "--log-dir", logs,
        ]  # fmt: skip
        if road == "bare":
            command = [str(interpreter), "-c", BARE, str(frames)]
        started = time.perf_counter()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        elapsed = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed")
    return elapsed, usage.ru_maxrss * 1024 / 1e6


def wheels_bytes(python: Path, machine: str, version: str, extra: list[str]) -> tuple[int, int]:
    """Download the wheels that a device of ``machine`` gets; return their size, and unpacked."""
    with tempfile.TemporaryDirectory() as folder:
        platforms = [f"--platform={p}_{machine}" for p in PLATFORMS]
        project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
        requirements = project["dependencies"] + extra
        pip(
            python, "download", "-c", "constraints.txt", "--only-binary=:all:", "-d", folder,
            f"--python-version={version}", *platforms, *requirements,
        )  # fmt: skip
        wheels = list(Path(folder).iterdir())
        unpacked = sum(m.file_size for wheel in wheels for m in zipfile.ZipFile(wheel).infolist())
        return sum(wheel.stat().st_size for wheel in wheels), unpacked


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
    interpreters["bare"] = interpreters["mediapipe"]

    rows: dict[str, list[float]] = {"disk, MB": [], "resident, MB": [], "start-up, s": []}
    starts: dict[str, list[float]] = {road: [] for road in interpreters}
    memory: dict[str, list[float]] = {road: [] for road in interpreters}
    for _ in range(options.runs):
        for road, interpreter in interpreters.items():
            starts[road].append(run(interpreter, road, 2)[0])
            memory[road].append(run(interpreter, road, 100)[1])
    for road, interpreter in interpreters.items():
        rows["disk, MB"].append(disk_bytes(interpreter) / 1e6)
        rows["resident, MB"].append(max(memory[road]))
        rows["start-up, s"].append(min(starts[road]))

    print(f"{'':14}{'litert':>10}{'mediapipe':>12}{'ratio':>8}{'bare':>12}{'ratio':>8}")
    for name, (ours, theirs, bare) in rows.items():
        print(
            f"{name:14}{ours:10.2f}{theirs:12.2f}{ours / theirs:8.2f}{bare:12.2f}{ours / bare:8.2f}"
        )
    for version in ("3.11", "3.13"):
        ours, theirs = (
            wheels_bytes(interpreters["litert"], options.machine, version, extra)
            for extra in ([], ["mediapipe>=1.2,<1.3"])
        )
        print(
            f"wheels for {options.machine}, Python {version}: {ours[0] / 1e6:.1f} MB, "
            f"with mediapipe {theirs[0] / 1e6:.1f}; unpacked {ours[1] / 1e6:.1f} and "
            f"{theirs[1] / 1e6:.1f}, ratio {ours[1] / theirs[1]:.2f}"
        )


if __name__ == "__main__":
    main()
