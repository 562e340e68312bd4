"""Build a release beside the running one: environment, model, assets, units, then preflight."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from .child import run_child
from .layout import CONFIG, DeviceError, Layout, switch, sync_folder, write_json
from .preflight import preflight

_PIP_TIMEOUT_S = 1800
_DONE = ".edgeemo-complete"


class UnfitError(DeviceError):
    """The release was built, and does not work on this device."""


def install(layout: Layout, digest: str, staging: Path) -> str:
    """Build the release whose manifest has this SHA-256 from what was sent.

    Nothing that runs is touched. Whatever an interrupted call left behind is built anew.

    Args:
        layout: where.
        digest: SHA-256 of the manifest.
        staging: a folder of files named by their SHA-256.

    Returns:
        The name of the release.

    Raises:
        DeviceError: a file is missing or altered, the environment cannot be built, or the
            preflight found that this release does not work here.
    """
    manifest = json.loads(_read(staging / digest, digest))
    name = digest[:16]
    release = layout.release(name)
    if layout.is_whole(name):
        return name
    for folder in (layout.releases, layout.envs, layout.wheels):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(release, ignore_errors=True)
    _take_wheels(layout, manifest, staging)
    environment = _environment(layout, manifest)
    for entry in manifest["files"]:
        if not entry["path"].startswith("wheels/"):
            _place(layout, release, entry, staging)
    switch(release / "env", f"../../envs/{environment.name}")
    # The one program of it only: a Python reached through this folder would not find its packages.
    (release / "bin").mkdir()
    switch(release / "bin" / "edgeemo", "../env/bin/edgeemo")
    config = release / "config" / "edgeemo.toml"
    try:
        preflight(release, config if config.is_file() else CONFIG)
    except DeviceError as error:
        shutil.rmtree(release)
        raise UnfitError(str(error)) from error
    os.sync()  # thousands of files: all of them are on the disk before the one that says so
    write_json(release / "release.json", manifest)
    return name


def environment_key(manifest: dict[str, Any]) -> str:
    """Name the environment that a release needs: the same wheels on the same Python."""
    wheels = [entry["sha256"] for entry in _wheels(manifest)]
    parts = [manifest["python"], wheels]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _wheels(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in manifest["files"] if entry["path"].startswith("wheels/")]


def _take_wheels(layout: Layout, manifest: dict[str, Any], staging: Path) -> None:
    for entry in _wheels(manifest):
        path = layout.wheels / entry["sha256"] / Path(entry["path"]).name
        if not path.is_file() or _sha256(path) != entry["sha256"]:
            shutil.rmtree(path.parent, ignore_errors=True)  # else it would not be sent again
            _write(path, _read(staging / entry["sha256"], entry["sha256"]))


def _environment(layout: Layout, manifest: dict[str, Any]) -> Path:
    """Return the environment of a release, made offline where there is none yet."""
    environment = layout.envs / environment_key(manifest)
    if (environment / _DONE).is_file():
        return environment
    shutil.rmtree(environment, ignore_errors=True)
    paths = [
        layout.wheels / entry["sha256"] / Path(entry["path"]).name for entry in _wheels(manifest)
    ]
    pip = next((path for path in paths if path.name.startswith("pip-")), None)
    if pip is None:
        raise DeviceError("the release has no pip wheel; push with this version's `edgeemo deploy`")
    # Debian keeps ensurepip in python3-venv, which a bare device lacks: pip runs from its wheel.
    make = [sys.executable, "-m", "venv", "--without-pip"]
    run_isolated([*make, str(environment)], "the virtual environment could not be made")
    python = str(environment / "bin" / "python")
    options = ["--no-index", "--no-deps", "--no-input", "--no-cache-dir", "--quiet"]
    options += ["--disable-pip-version-check", "--no-warn-script-location"]
    wheels = [str(path) for path in paths if path is not pip]
    run_isolated(
        [python, f"{pip}/pip", "install", *options, *wheels], "a wheel could not be installed"
    )
    run_isolated([python, f"{pip}/pip", "check"], "the wheels do not fit together")
    os.sync()
    (environment / _DONE).touch()
    sync_folder(environment)
    return environment


def run_isolated(command: list[str], problem: str) -> None:
    """Run a command that sees none of the caller's settings of pip and Python.

    Raises:
        DeviceError: it failed; ``problem`` says what that means.
    """
    # PYTHONPATH, too: what is to be had by it would not be installed.
    foreign = ("PIP_", "PYTHON")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    environment["PIP_CONFIG_FILE"] = os.devnull
    try:
        run_child(
            command,
            _PIP_TIMEOUT_S,
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stdout.decode("utf-8", "replace").strip().splitlines()
        last = lines[-1] if lines else f"exit status {error.returncode}"
        raise DeviceError(f"{problem}: {last}") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{problem}: over {_PIP_TIMEOUT_S} s") from error


def _place(layout: Layout, release: Path, entry: dict[str, Any], staging: Path) -> None:
    """Write a file of the release: as it was sent, or as the current release has it."""
    relative = Path(entry["path"])
    if relative.is_absolute() or ".." in relative.parts:
        raise DeviceError(f"{entry['path']!r} leads out of the release; nothing was installed")
    known = layout.current / relative
    if known.is_file() and _sha256(known) == entry["sha256"]:
        content = known.read_bytes()
    else:
        content = _read(staging / entry["sha256"], entry["sha256"])
    # A configuration may hold a stream's password.
    _write(release / relative, content, 0o600 if relative.parts[0] == "config" else 0o644)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode)
    temporary.write_bytes(content)
    temporary.chmod(mode)
    temporary.replace(path)


def _read(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DeviceError(f"{sha256[:12]}... was not sent; push again") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        path.unlink()
        raise DeviceError(f"{sha256[:12]}... arrived altered and was deleted; push again")
    return content


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
