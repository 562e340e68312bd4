"""What `edgeemo deploy` brings to a Pi, built in an emulated arm64 Debian without a network.

    arm64_deploy.py ROOTFS...     root only; ROOTFS: as made by arm64.sh

For each: its facts by deploy's own probe, the wheels that are resolved for them here, install and
preflight by deploy's own program, then `edgeemo doctor` and five frames of the demo. A Pi 4's
processor. Exit 1 at the first thing that should not be.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from deploy.facts import decode, probe
from deploy.release.archive import Contents, Release, build_release
from deploy.release.device_wheel import requirements
from deploy.release.wheelhouse import kind_of, wheelhouse
from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.contract.bundle import PACKAGED

HERE = Path(__file__).parent
TOP = HERE.parent.parent
PREFIX = "/opt/edgeemo"
STAGING = "/opt/staging"
PATIENCE_S = 1800
WITH_PROCESSOR = """
import os, runpy, subprocess, sys
run, chosen = subprocess.run, {"QEMU_CPU": os.environ["QEMU_CPU"]}
def run_with_it(*words, env=None, **more):
    return run(*words, env=None if env is None else {**env, **chosen}, **more)
subprocess.run, sys.argv = run_with_it, sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs the device's program so that its children have that processor, too: the emulator reads an
environment that the preflight clears, and its own processor, which no Pi has, computes wrongly."""


class Pi:
    """One emulated Debian, whose programs have no network."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *words: str, stdin: str = "") -> str:
        """Run a command inside and return what it printed; it must succeed."""
        done = subprocess.run(
            ["unshare", "--net", HERE / "arm64.sh", "run", self.root, *words],
            input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
            env={**os.environ, "QEMU_CPU": "cortex-a72"},
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(
                f"`{' '.join(words)}`: exit {done.returncode}: {done.stderr.strip()}\n{done.stdout}"
            )
        return done.stdout

    def inside(self, path: str) -> Path:
        """Return where a path of it is here."""
        return self.root / path.lstrip("/")


def prepare(pi: Pi) -> Release:
    """Resolve a release for what it says it is, and lay it down as a push would send it."""
    for place in (PREFIX, STAGING):
        shutil.rmtree(pi.inside(place), ignore_errors=True)
    facts = decode(pi.run("python3", "-", PREFIX, stdin=probe()))
    print(f"facts: {facts.os}, {facts.machine}, Python {facts.python_version}, {facts.libc}")
    wheels = wheelhouse(kind_of(facts), requirements(), TOP / "constraints.txt", print)
    print(f"wheels: {', '.join('-'.join(path.name.split('-')[:2]) for path in wheels)}")
    assets = {asset.name: asset_path(asset) for asset in (FACE_LANDMARKER, ASTRONAUT)}
    release = build_release(Contents(PACKAGED, assets, units={}), wheels, facts)
    staging = pi.inside(STAGING)
    staging.mkdir()
    for item in release.items:
        (staging / item.sha256).write_bytes(item.content())
    (staging / release.digest).write_bytes(release.manifest)
    megabytes = sum(item.size for item in release.items) / 1e6
    print(f"release {release.name}: {len(release.items)} files, {megabytes:.1f} MB")
    return release


def check(pi: Pi) -> None:
    """Install, ask the doctor, run."""
    release = prepare(pi)
    started = time.monotonic()
    agent = ["python3", "-c", WITH_PROCESSOR, f"{STAGING}/{release.agent}"]
    where = ["--prefix", PREFIX, "--staging", STAGING]
    pi.run(*agent, "install", *where, "--digest", release.digest)
    print(f"installed offline and preflighted by its own program in {clock(started)}")
    edgeemo = ["env", f"EDGEEMO_ASSETS={PREFIX}/releases/{release.name}/assets"]
    edgeemo.append(f"{PREFIX}/releases/{release.name}/bin/edgeemo")
    model = ["--model", f"{PREFIX}/releases/{release.name}/model"]
    print(pi.run(*edgeemo, "doctor").rstrip())
    started = time.monotonic()
    demo = ["--source", "demo", "--max-frames", "5", "--log-dir", "/tmp/log"]
    said = pi.run(*edgeemo, "run", *model, *demo)
    facts = dict(line.split(maxsplit=1) for line in said.splitlines() if " " in line.strip())
    if (facts.get("frames"), facts.get("tracks")) != ("5", "1"):
        raise SystemExit(f"expected 5 frames and 1 face of the demo: {said}")
    print(f"{said.rstrip()}\nfive frames of the demo in {clock(started)}")


def clock(started: float) -> str:
    """Return how long ago that was, of an emulation."""
    return f"{time.monotonic() - started:.0f} s"


def main(roots: list[str]) -> int:
    if not roots:
        raise SystemExit(__doc__)
    for root in roots:
        print(f"== {Path(root).name}")
        check(Pi(Path(root).resolve()))
    print("arm64 deploy: all as it should be")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(sys.argv[1:]))
