"""What a frame costs on a Raspberry Pi, counted in instructions without one, against a budget.

python pi_budget.py BUILD PYTHON [--cpu CPU]... [--scene SCENE]... [--write] [--cycles]

BUILD is a directory to keep things in, PYTHON that of a device's environment here. An emulated
Debian (arm64.sh) runs pi_frames.py; count.c counts. Instructions are counted exactly and hardly
differ from run to run, on a busy machine, too. A section that takes more than 2 % over what
pi_budget.json says fails; --write makes what was counted the new budget.

--cycles predicts milliseconds besides, by llvm-mca 19 on the hottest blocks: a lower bound, with
perfect caches and no waiting. docs/hardware.md says how far to trust it.

Needs root, gcc and: debootstrap qemu-user (and llvm-19 for --cycles).
"""

import argparse
import collections
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pi_frames import COUNTED, SCENES

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
BUDGET = HERE / "pi_budget.json"
SUITE, PYTHON = "bookworm", (3, 11)
PACKAGES = ("numpy", "opencv-python-headless", "ai-edge-litert", "msgspec", "typer", "rich")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
CPUS = ("cortex-a72", "cortex-a76")
ALLOWED = 1.02
START = "start to first result"
MOST_S = 3600
LLVM = Path("/usr/lib/llvm-19/bin")
MODELS = {"cortex-a72": ("cortex-a72", 1.8), "cortex-a76": ("neoverse-n1", 2.4)}
"""llvm-mca's model of each core, and the clock of the Pi that has it, in GHz. The Neoverse N1 is
the A76's sister, and better modelled."""
HOTTEST = 300
Blocks = collections.Counter[bytes]
"""How often each block of instructions ran."""


def prepare(build: Path, python: str) -> tuple[Path, Path]:
    """Make what is not there yet; return the emulated Debian and the plugin."""
    root, plugin = build / "arm64-files", build / "libcount.so"
    if told(python, "-c", "import sys; print(sys.version_info[:2])") != str(PYTHON):
        sys.exit(f"{python}: expected Python {PYTHON[0]}.{PYTHON[1]}, that of Debian {SUITE}")
    build.mkdir(parents=True, exist_ok=True)
    if not root.is_dir():
        subprocess.run([HERE / "arm64.sh", "unpack", root, SUITE], check=True)
    source = HERE / "count.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", plugin, source], check=True)
    packages = root / "opt/packages"
    if not packages.is_dir():
        partial = packages.with_suffix(".partial")
        pip = [python, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--target"]
        constraints = ["-c", TOP / "constraints.txt", "--only-binary=:all:"]
        platforms = [f"--platform={name}" for name in PLATFORMS]
        subprocess.run([*pip, partial, *constraints, *platforms, *PACKAGES], check=True)
        partial.rename(packages)
    checkout = root / "opt/budget"
    shutil.rmtree(checkout, ignore_errors=True)
    for package in ("edge", "edgeemo"):
        shutil.copytree(TOP / package, checkout / package)
    shutil.copy(HERE / "pi_frames.py", checkout)
    # As on a device, where everything is compiled once; the bytecode is the same everywhere.
    library = root / f"usr/lib/python{PYTHON[0]}.{PYTHON[1]}"
    places = [library, packages, checkout]
    subprocess.run([python, "-m", "compileall", "-qq", *places], check=False)
    assets = root / "opt/assets"
    assets.mkdir(exist_ok=True)
    copy = (
        "import shutil, sys; from edge.assets.store import *; "
        "[shutil.copy(asset_path(a), sys.argv[1]) for a in (ASTRONAUT, FACE_LANDMARKER)]"
    )
    told(python, "-c", copy, assets)
    told(python, HERE / "pi_frames.py", "render", checkout / "scenes.npz")
    return root, plugin


def told(python: str, *options: str | Path) -> str:
    """Run Python with this checkout; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(TOP)}
    command = [python, *options]
    run = subprocess.run(command, check=True, env=environment, text=True, stdout=subprocess.PIPE)
    return run.stdout.strip()


def count(root: Path, plugin: Path, cpu: str, scenes: list[str]) -> dict[str, Blocks]:
    """Run scenes on an emulated core; return what ran in each, and from the start."""
    out = root / "opt/budget/count"
    options = f"-plugin /host{plugin.resolve()},out=/opt/budget/count"
    program = ["/usr/bin/python3.11", "/opt/budget/pi_frames.py", "run", "/opt/budget/scenes.npz"]
    command = [HERE / "arm64.sh", "alone", root, options, *program, *scenes]
    environment = os.environ | {"QEMU_CPU": cpu, "PYTHONPATH": "/opt/budget:/opt/packages"}
    subprocess.run(command, check=True, timeout=MOST_S, env=environment)
    counted = {START: read_blocks(out.with_name("count.0"))}
    for number, scene in enumerate(scenes, 1):
        counted[scene] = read_blocks(out.with_name(f"count.{2 * number}"))
    return counted


def read_blocks(path: Path) -> Blocks:
    """Read a section that count.c wrote."""
    blocks: Blocks = collections.Counter()
    content, at = path.read_bytes(), 0
    while at < len(content):
        times, length = struct.unpack_from("<QI", content, at)
        at += 12 + 4 * length
        blocks[content[at - 4 * length : at]] += times
    return blocks


def millions(blocks: Blocks, section: str) -> float:
    """Return a section's instructions, in millions a frame, or all those of the start."""
    total = sum(times * len(code) // 4 for code, times in blocks.items())
    return total / 1e6 / (1 if section == START else COUNTED)


def predicted_ms(blocks: Blocks, cpu: str) -> float:
    """Return a lower bound of a frame's milliseconds, by llvm-mca on the hottest blocks."""
    model, ghz = MODELS[cpu]
    weights = {code: times * len(code) // 4 for code, times in blocks.items()}
    hottest = sorted(weights, key=lambda code: -weights[code])[:HOTTEST]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        costs = list(pool.map(lambda code: cycles(code, model), hottest))
    known = [(code, cost) for code, cost in zip(hottest, costs, strict=True) if cost is not None]
    covered = sum(weights[code] for code, _ in known)
    spent = sum(blocks[code] * cost for code, cost in known)
    print(f"  {cpu}: {covered / sum(weights.values()):.0%} of the instructions looked at")
    return spent * sum(weights.values()) / covered / COUNTED / (ghz * 1e6)


def cycles(code: bytes, model: str) -> float | None:
    """Return the cycles of a block, run over and over; None where llvm cannot tell."""
    text = " ".join(f"0x{byte:02x}" for byte in code)
    assemble = [LLVM / "llvm-mc", "--disassemble", "-triple=aarch64", "-mattr=+all"]
    lines = subprocess.run(assemble, input=text, text=True, capture_output=True, check=False)
    analyse = [
        LLVM / "llvm-mca", "-mtriple=aarch64", f"-mcpu={model}", "-iterations=64",
        "-mattr=+dotprod,+fullfp16,+lse,+rdm,+crc", "-skip-unsupported-instructions=any",
    ]  # fmt: skip
    report = subprocess.run(
        analyse, input=lines.stdout, text=True, capture_output=True, check=False
    )
    found = re.search(r"Total Cycles:\s+(\d+)", report.stdout)
    return int(found[1]) / 64 if found else None


def main() -> None:
    """Count, print, and compare with the budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("python")
    parser.add_argument("--cpu", action="append", choices=CPUS)
    parser.add_argument("--scene", action="append", choices=tuple(SCENES))
    parser.add_argument("--write", action="store_true", help="make this the budget")
    parser.add_argument("--cycles", action="store_true", help="predict milliseconds, too")
    options = parser.parse_args()
    root, plugin = prepare(options.build.resolve(), options.python)
    budget = json.loads(BUDGET.read_text("utf-8"))
    over = []
    for cpu in options.cpu or CPUS:
        counted = count(root, plugin, cpu, options.scene or list(SCENES))
        for section, blocks in counted.items():
            allowed, found = budget.get(cpu, {}).get(section), millions(blocks, section)
            than = f", budget {allowed:.2f}: {found / allowed - 1:+.1%}" if allowed else ""
            print(f"{cpu}, {section}: {found:.2f} million instructions{than}", flush=True)
            if options.cycles and section != START:
                print(f"  at least {predicted_ms(blocks, cpu):.1f} ms a frame", flush=True)
            if options.write:
                budget.setdefault(cpu, {})[section] = round(found, 2)
            elif allowed is None or found > allowed * ALLOWED:
                over.append(f"{cpu}, {section}")
    if options.write:
        BUDGET.write_text(json.dumps(budget, indent=2) + "\n", "utf-8")
    elif over:
        remedy = "make it cheaper, or say in CHANGELOG.md why it costs more and run with --write"
        sys.exit(f"over budget by more than 2 %, or without one: {'; '.join(over)}; {remedy}")


if __name__ == "__main__":
    main()
