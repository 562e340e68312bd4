"""Install edgeemo from wheels, as users do, and run every command of each installation.

Used as ``python tests/hosts/wheels.py BUILD_FOLDER [INSTALLATION...]``; without names all are made:
``device``, ``plain`` and every extra but those that ``LEFT_OUT`` explains. A wheelhouse is made
once, from the checkout and the package index; then each installation is made from it alone
(``--no-index``), in a fresh environment, and its commands run in an empty folder. A command ends
well, or says in one line which extra it needs.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

TOP = Path(__file__).parents[2]
CONSTRAINTS = "constraints.txt"
STEP_S = 900
"""Downloading everything, or installing TensorFlow on a slow disk."""

MAKE = """
import pathlib, shutil, sys, zipfile
import cv2, numpy as np
shutil.copytree(sys.argv[1], "runs/a")
with zipfile.ZipFile("runs/a/model.keras", "w") as archive:
    archive.writestr("metadata.json", "{}")
    archive.writestr("config.json", "{}")
random = np.random.default_rng(0)
for label in ("happy", "sad"):
    pathlib.Path("faces", label).mkdir(parents=True)
    for i in range(12):
        cv2.imwrite(f"faces/{label}/{i}.png", random.integers(0, 256, (48, 48, 3), np.uint8))
"""
"""A small data set, and a run whose network is none: a missing extra is told before that."""
DEVICE_WHEEL = """
import sys
from deploy.release.device_wheel import build_edge_wheel
name, content = build_edge_wheel()
open(f"{sys.argv[1]}/{name}", "wb").write(content)
"""

NOWHERE = "nobody@127.0.0.1:1"
"""A device that refuses every connection: no command may change the machine that this runs on."""

COMMANDS = {
    "run": ("", "--source demo --max-frames 30 --log-dir logs"),
    "doctor": ("", "--json"),
    "bench": ("", "--frames 5 --starts 1 --json bench.json"),
    "view": ("view", "--source demo --max-frames 3 --port 0"),
    "config example": ("", ""),
    "logs tail": ("", "logs"),
    "logs summary": ("analysis", "logs"),
    "logs export": ("analysis", "logs -o emotions.csv"),
    "logs report": ("analysis", "logs -o report.html"),
    "logs collect": ("deploy", f"{NOWHERE} --out fleet"),
    "data audit": ("", "faces"),
    "data prepare": ("", "faces --out prepared --workers 1"),
    "train": ("host", "--data faces --arch micro --epochs 1 --out runs/b"),
    "runs list": ("", "runs"),
    "runs compare": ("", "runs/a runs/a"),
    "evaluate": ("host", "default --data faces"),
    "convert": ("host", "{run} --int8 --data faces --out bundle --force"),
    "inspect": ("", "default"),
    "deploy push": ("deploy", f"{NOWHERE} --dry-run"),
    "deploy status": ("deploy", NOWHERE),
    "deploy rollback": ("deploy", NOWHERE),
    "deploy remove": ("deploy", NOWHERE),
    "deploy logs": ("", NOWHERE),
}
"""The extra that each command needs, and its line. What is not here is asked for its help."""

MAY_FAIL = {"doctor", "logs collect"} | {name for name in COMMANDS if name.startswith("deploy ")}
"""Without a camera, and on a device that nobody can reach, these end with one line of their own."""


def main(build: Path, only: list[str]) -> None:
    started_s = time.monotonic()
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if name not in LEFT_OUT]
    house = make_wheelhouse(build / "wheelhouse", extras)
    installations = only or ["device", "plain", *extras]
    failures = []
    for extra in installations:
        failures += try_installation(build / "wheel-tests" / extra, house, extra)
    print(*failures, sep="\n")
    print(
        f"{len(installations)} installations, {len(failures)} failures, "
        f"{time.monotonic() - started_s:.0f} s"
    )
    sys.exit(bool(failures))


LEFT_OUT = {
    "dev": "tools, no feature",
    "mediapipe": "its OpenCV overwrites the headless one: see Makefile, and tests/reference",
    "host-jax": "another backend of Keras: see tests/host_training/training/test_jax.py",
    "torch": "an engine of train, which wants host; some of its builds have gigabytes",
    "tflite-runtime": "for Python 3.11 and NumPy 1 only: see `make test-runtimes`",
}


def make_wheelhouse(house: Path, extras: list[str]) -> Path:
    """Download once what all installations need; what lies there already is not fetched again."""
    house.mkdir(parents=True, exist_ok=True)
    for old in house.glob("edgeemo-*.whl"):
        old.unlink()
    call([*PIP, "wheel", "--quiet", "--no-deps", "--wheel-dir", house, TOP], TOP)
    (wheel,) = house.glob("edgeemo-*.whl")
    made_from, wanted = house / "made-from.txt", " ".join(extras)
    wanted += "".join((TOP / name).read_text("utf-8") for name in ("pyproject.toml", CONSTRAINTS))
    if made_from.is_file() and made_from.read_text("utf-8") == wanted:
        return house
    needs = [f"{wheel}[{','.join(extras)}]", "-c", TOP / CONSTRAINTS]
    call([*PIP, "download", "--quiet", "--only-binary=:all:", "--find-links", house, "--dest",
          house, *needs], TOP)  # fmt: skip
    made_from.write_text(wanted, "utf-8")
    return house


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def try_installation(folder: Path, house: Path, extra: str) -> list[str]:
    """Install into a fresh environment and run every command in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    python, work = folder / "venv" / "bin" / "python", folder / "work"
    work.mkdir(parents=True)
    call([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    wheel = device_wheel(house) if extra == "device" else next(house.glob("edgeemo-*.whl"))
    asked = f"{wheel}[{extra}]" if extra not in {"plain", "device"} else wheel
    call([*PIP, "--python", python, "install", "--quiet", "--no-compile", "--no-index",
          "--find-links", house, asked], folder)  # fmt: skip
    call([python, "-c", MAKE, TOP / "docs" / "trained" / "micro"], work)
    failures = [
        f"{extra}: edgeemo {command}: {problem}"
        for command in offered(python.with_name("edgeemo"), work)
        if (problem := try_command(python.with_name("edgeemo"), work, command, extra))
    ]
    shutil.rmtree(folder / "venv")  # TensorFlow's takes 2 GB
    return failures


def device_wheel(house: Path) -> Path:
    """Have the plain wheel, as it is installed, make the wheel that a device gets."""
    folder = house.parent / "wheel-tests"
    for old in folder.glob("edgeemo-*.whl"):
        old.unlink()
    python = folder / "maker" / "bin" / "python"
    call([sys.executable, "-m", "venv", "--without-pip", python.parents[1]], folder)
    wheel = next(house.glob("edgeemo-*.whl"))
    call([*PIP, "--python", python, "install", "--quiet", "--no-compile", "--no-index",
          "--find-links", house, wheel], folder)  # fmt: skip
    call([python, "-c", DEVICE_WHEEL, folder], folder)
    shutil.rmtree(python.parents[1])
    return next(folder.glob("edgeemo-*.whl"))


def offered(edgeemo: Path, work: Path, *group: str) -> list[str]:
    """Return the commands that an installation lists, those of groups included, in our order."""
    section = call([edgeemo, *group, "--help"], work).partition("Commands:\n")[2]
    found = []
    for name in re.findall(r"^  ([a-z-]+)  ", section, re.MULTILINE):
        command = [*group, name]
        inner = call([edgeemo, *command, "--help"], work)
        found += offered(edgeemo, work, name) if "Commands:\n" in inner else [" ".join(command)]
    order = list(COMMANDS)
    return sorted(found, key=lambda one: order.index(one) if one in order else len(order))


def try_command(edgeemo: Path, work: Path, command: str, extra: str) -> str:
    """Run a command's line; return what is wrong with its end, or nothing."""
    needs, line = COMMANDS.get(command, ("", "--help"))
    words = f"{command} {line.format(run='runs/b' if extra == 'host' else 'runs/a')}".split()
    done = subprocess.run(
        [edgeemo, *words], cwd=work, env=clean(), capture_output=True, text=True, timeout=STEP_S,
        check=False,
    )  # fmt: skip
    last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
    print(f"{extra:9} {done.returncode} edgeemo {' '.join(words)}: {last[:110]}", flush=True)
    if "this is a bug" in done.stderr or "Traceback" in done.stderr:
        return done.stderr
    if needs not in {"", extra}:
        told = f"edgeemo[{needs}]" in last and len(done.stderr.splitlines()) == 1
        return "" if told and done.returncode == 2 else f"does not say its extra: {last}"
    is_fine = done.returncode == 0 or (command in MAY_FAIL and done.returncode == 1)
    return "" if is_fine else f"exit code {done.returncode}: {done.stderr}"


def clean() -> dict[str, str]:
    """Return the environment without what could lead back to a checkout."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"COLUMNS": "80"}


def call(command: list[object], folder: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=clean(), capture_output=True, text=True,
        timeout=STEP_S, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))[:300]}\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
