"""What is on this machine, and what to do about what is missing."""

import grp
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

from edge import machine
from edge.assets import FACE_LANDMARKER, asset_path
from edge.build import open_model, resolve_mesher
from edge.config import Config
from edge.errors import EdgeEmoError
from edge.golden import check_golden
from edge.interpreter import runtime_name

Status = Literal["ok", "warning", "failure"]

_CHILD_TIMEOUT_S = 60
_MESHER_PROBE = """
import sys
from edge.build import open_mesher
from edge.config import MesherConfig
from edge.errors import EdgeEmoError
try:
    open_mesher(MesherConfig(kind=sys.argv[1])).close()
except EdgeEmoError as error:
    sys.exit(str(error))
"""
"""Loads the mesher and meshes a blank picture."""

_LEAST_FREE_BYTES = 100_000_000
_HOT_C = 80.0
_ROUNDING_STEPS = 2
"""What kernels of different processors may differ by; arm64 was seen to differ by 1."""


class Check(msgspec.Struct, frozen=True):
    """One line of the report; ``remedy`` is empty when all is well."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(config: Config) -> list[Check]:
    """Run every check; none raises, for a doctor who faints helps nobody."""
    checks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        ("OpenCV", _opencv),
        ("TFLite runtime", _runtime),
        ("model", lambda: _model(config)),
        ("mesher", lambda: _mesher(config)),
        ("face model file", _face_model),
        ("cameras", lambda: _cameras(config)),
        ("groups", _groups),
        ("log directory", lambda: _log_directory(config)),
        ("temperature", _temperature),
    ]
    return [_guarded(name, check) for name, check in checks]


def show(checks: list[Check], *, as_json: bool) -> None:
    """Print the report as a table or as JSON."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(checks), indent=2).decode())  # noqa: T201
        return
    colors = {"ok": "green", "warning": "yellow", "failure": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "found", "remedy"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        color = colors[check.status]
        table.add_row(check.name, f"[{color}]{check.status}[/]", check.detail, check.remedy)
    Console().print(table)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except EdgeEmoError as error:
        return Check(name, "failure", str(error))
    except Exception as error:  # whatever it is, it is a finding
        return Check(name, "failure", f"{type(error).__name__}: {error}")


def _python() -> Check:
    detail = f"{platform.python_version()} on {platform.machine()}"
    if not machine.is_64_bit():
        return Check(
            "python",
            "failure",
            f"{detail}, 32-bit",
            "install the 64-bit Raspberry Pi OS: no TFLite runtime has 32-bit wheels",
        )
    return Check("python", "ok", detail)


def _opencv() -> Check:
    wheels = [
        name
        for name in (
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        )
        if _is_installed(name)
    ]
    import cv2

    windows = "GUI" in cv2.getBuildInformation() and not _is_headless(cv2.getBuildInformation())
    detail = f"{cv2.__version__} ({', '.join(wheels) or 'not from a wheel'})"
    detail += ", with windows" if windows else ", without windows"
    if len(wheels) > 1:
        return Check(
            "OpenCV",
            "warning",
            detail,
            f"these wheels overwrite each other's cv2: `pip uninstall -y {' '.join(wheels)}`, "
            "then `pip install opencv-python-headless`",
        )
    return Check("OpenCV", "ok", detail)


def _is_headless(build_information: str) -> bool:
    line = next((x for x in build_information.splitlines() if x.strip().startswith("GUI:")), "")
    return line.split(":")[-1].strip() in {"", "NONE"}


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _runtime() -> Check:
    return Check("TFLite runtime", "ok", runtime_name())


def _model(config: Config) -> Check:
    bundle = open_model(config.model)
    steps = check_golden(bundle, num_threads=config.model.threads)
    detail = f"{bundle.metadata.name}, {len(bundle.model):,} bytes, hashes hold"
    if steps > _ROUNDING_STEPS:
        return Check(
            "model",
            "warning",
            f"{detail}, golden outputs differ by up to {steps:g} steps of 1/256",
            "compare the TFLite runtime's version with the one in parity.json",
        )
    if bundle.metadata.forced:
        return Check(
            "model",
            "warning",
            f"{detail}, lost more accuracy in its conversion than its gate allows",
            "MODEL_CARD.md says how much; convert again without --force",
        )
    exactness = f"within {steps:g} of 256 steps" if steps else "equal"
    return Check("model", "ok", f"{detail}, golden outputs {exactness}")


def _mesher(config: Config) -> Check:
    kind = resolve_mesher(config.mesher.kind)
    # In a child process: a native library that does not suit the processor kills its process.
    child = subprocess.run(
        [sys.executable, "-c", _MESHER_PROBE, config.mesher.kind],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_S,
        check=False,
    )
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        remedy = "" if child.returncode > 0 else f"{kind}'s wheel does not suit this processor"
        return Check("mesher", "failure", f"{kind}: {last}", remedy)
    version = f" {metadata.version(kind)}" if kind == "mediapipe" else ""
    return Check("mesher", "ok", f"{kind}{version}")


def _face_model() -> Check:
    return Check("face model file", "ok", str(asset_path(FACE_LANDMARKER)))


def _cameras(config: Config) -> Check:
    devices = sorted(Path("/dev").glob("video*"))
    named = sorted(Path("/dev/v4l/by-id").glob("*"))
    if not devices:
        status: Status = "failure" if config.source.spec.isdecimal() else "ok"
        if config == Config():  # nobody asked for a camera yet
            status = "warning"
        return Check(
            "cameras", status, "none found", "plug one in; `--source demo` or a file needs none"
        )
    if unreadable := [str(path) for path in devices if not os.access(path, os.R_OK | os.W_OK)]:
        return Check(
            "cameras",
            "failure",
            f"no permission for {', '.join(unreadable)}",
            "`sudo usermod -aG video $USER`, then log in again",
        )
    return Check("cameras", "ok", ", ".join(str(path) for path in (named or devices)))


def _groups() -> Check:
    mine = {grp.getgrgid(number).gr_name for number in os.getgroups()}
    missing = [name for name in ("video", "render") if name not in mine]
    if missing and os.geteuid() != 0:
        return Check(
            "groups",
            "warning",
            f"not in {', '.join(missing)}",
            f"`sudo usermod -aG {','.join(missing)} $USER`, then log in again",
        )
    return Check("groups", "ok", "root" if os.geteuid() == 0 else "video, render")


def _log_directory(config: Config) -> Check:
    directory = Path(config.log.dir).absolute()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("log directory", "failure", f"{existing} can not be written", "--log-dir DIR")
    free = shutil.disk_usage(existing).free
    detail = f"{directory}, {free / 1e9:.1f} GB free"
    if free < _LEAST_FREE_BYTES:
        return Check("log directory", "warning", detail, "free some space")
    return Check("log directory", "ok", detail)


def _temperature() -> Check:
    celsius, bits = machine.temperature_c(), machine.throttled()
    if celsius is None:
        return Check("temperature", "ok", "not told by this machine")
    detail = f"{celsius:.0f} degrees C" + (f", throttling bits {bits}" if bits else "")
    if celsius > _HOT_C or (bits or "0") not in {"0", "0x0"}:
        return Check("temperature", "warning", detail, "cool the board; check its power supply")
    return Check("temperature", "ok", detail)
