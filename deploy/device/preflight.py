"""Does this release work on this device? Asked before anything is switched."""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path

from .child import run_child
from .layout import DeviceError

MOST_STEPS = 2.0
"""What golden outputs may differ by, in steps of the output: rounding of another processor."""
_TIMEOUT_S = 180
_GOLDEN = """
import pathlib, sys
from edge.contract.bundle import open_bundle
from edge.inference.golden import check_golden
print(check_golden(open_bundle(pathlib.Path(sys.argv[1]))))
"""
RIBBON_PROBE = """
import sys
from edge.errors import CameraError
from edge.sources.cameras.ribbon import NoRibbonCameraError
from edge.sources.cameras.picamera import probe_ribbon
try:
    probe_ribbon()
except NoRibbonCameraError as error:
    sys.exit(0 if error.why == "absent" else str(error))
except CameraError:
    pass
"""
"""A camera that is away, or that the release before holds, is nothing that a release can mend."""


def preflight(release: Path, config: Path) -> None:
    """Check hashes, imports, golden outputs, and the whole pipeline on the demo's face.

    Args:
        release: its folder.
        config: the configuration that it is to run with, if there is one.

    Raises:
        DeviceError: the release does not work here, and why.
    """
    check_hashes(release / "model")
    with tempfile.TemporaryDirectory(prefix="edgeemo-preflight-") as folder:
        user = _service_user()
        if user:
            shutil.chown(folder, user)
        _golden(release, Path(folder), user)
        run_demo(release, Path(folder), user)
        if configured_source(config) == "picamera":
            command = [str(release / "env" / "bin" / "python"), "-I", "-c", RIBBON_PROBE]
            _child(command, release, Path(folder), user, "the ribbon camera")


def configured_source(config: Path) -> str:
    """Return the source that a configuration names; what is wrong with the file is told later."""
    try:
        return str(tomllib.loads(config.read_text("utf-8"))["source"]["spec"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def check_hashes(model: Path) -> None:
    """Compare a bundle's files with its SHA256SUMS.

    Raises:
        DeviceError: one is missing or altered.
    """
    for line in (model / "SHA256SUMS").read_text("ascii").splitlines():
        digest, _, name = line.partition("  ")
        path = model / Path(name).name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DeviceError(f"preflight: the model's {path.name} is missing or altered")


def run_demo(release: Path, folder: Path, user: str | None = None) -> None:
    """Let the release watch the demo's face for a few frames.

    Raises:
        DeviceError: it failed.
    """
    command = [str(release / "bin" / "edgeemo"), "run", "--source", "demo", "--max-frames", "3"]
    command += ["--model", str(release / "model"), "--log-dir", str(folder / "log")]
    _child(command, release, folder, user, "a run on the demo")


def _golden(release: Path, folder: Path, user: str | None) -> None:
    command = [str(release / "env" / "bin" / "python"), "-I", "-c", _GOLDEN, str(release / "model")]
    steps = float(_child(command, release, folder, user, "the model's golden outputs"))
    if not steps <= MOST_STEPS:  # they need not be numbers
        raise DeviceError(
            f"preflight: the model's golden outputs differ by {steps:g} steps of 256 on this "
            f"device, at most {MOST_STEPS:g} are rounding; convert the model again"
        )


def _child(command: list[str], release: Path, folder: Path, user: str | None, what: str) -> str:
    """Run a child process, for native code that does not suit the processor kills its process."""
    environment: dict[str, str] = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "EDGEEMO_ASSETS": str(release / "assets"),
    }
    try:
        done = run_child(
            command,
            _TIMEOUT_S,
            capture_output=True,
            cwd=folder,
            env=environment,
            user=user,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"preflight: {what} took over {_TIMEOUT_S} s") from error
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace").strip()
    if done.returncode < 0:
        reason = f"killed by signal {-done.returncode}: a wheel does not suit this processor"
    else:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {done.returncode}"
    raise DeviceError(f"preflight: {what} failed: {reason}")


def _service_user() -> str | None:
    """Return the user that the service runs as, where root asks and there is one already."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("edgeemo").pw_name
    except KeyError:
        return None
