"""The wheels of one kind of device, resolved and downloaded here, so that it needs no internet."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from deploy.errors import DeployError
from deploy.facts import Facts

_TIMEOUT_S: Final = 1800
_OLDEST_MINOR: Final = {"aarch64": 17, "x86_64": 5}
_LEGACY: Final = {
    "aarch64": {17: "manylinux2014"},
    "x86_64": {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"},
}


class Kind(msgspec.Struct, frozen=True):
    """What decides which wheels fit: processor, Python as ``3.11``, glibc 2.x."""

    machine: str
    python: str
    glibc_minor: int

    def tags(self) -> list[str]:
        """Return the platform tags that fit (PEP 600 and its elders), the newest first."""
        tags = []
        for minor in range(self.glibc_minor, _OLDEST_MINOR[self.machine] - 1, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if legacy := _LEGACY[self.machine].get(minor):
                tags.append(f"{legacy}_{self.machine}")
        return tags


def kind_of(facts: Facts) -> Kind:
    """Return what kind of device this is.

    Raises:
        DeployError: its glibc's version cannot be read.
    """
    version = re.fullmatch(r"2\.([0-9]{1,3})", facts.libc[1])
    if version is None:
        raise DeployError(f"glibc {facts.libc[1]!r} of the device is unknown; expected 2.x")
    return Kind(facts.machine, facts.python_version, int(version[1]))


def wheelhouse(
    kind: Kind,
    requirements: list[str],
    constraints: Path | None,
    report: Callable[[str], object],
) -> list[Path]:
    """Return the wheels for a kind of device, pip's own included, downloading them once.

    Args:
        kind: of device.
        requirements: requirement lines.
        constraints: a file of tested versions, or None for the newest that fit.
        report: called with a line before a download begins.

    Raises:
        DeployError: pip found no set of wheels, or could not fetch them.
    """
    tested = constraints.read_text("utf-8") if constraints else ""
    key = json.dumps([msgspec.to_builtins(kind), requirements, tested], sort_keys=True)
    place = _cache() / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not place.is_dir():
        report(f"downloading wheels for {kind.machine}, Python {kind.python}")
        _download(kind, requirements, constraints, place)
    return sorted(place.glob("*.whl"))


def _download(kind: Kind, requirements: list[str], constraints: Path | None, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as temporary:
        folder = Path(temporary) / "wheels"
        _pip(kind, [*requirements, "pip"], constraints, folder)
        try:
            folder.rename(place)  # whole or not at all
        except OSError:
            if not place.is_dir():  # else somebody else was faster
                raise
            shutil.rmtree(folder)


def _pip(kind: Kind, requirements: list[str], constraints: Path | None, folder: Path) -> None:
    compact = kind.python.replace(".", "")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    command += ["--no-input", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--implementation=cp", f"--python-version={kind.python}"]
    command += [f"--abi=cp{compact}", "--abi=abi3", "--abi=none"]
    command += [f"--platform={tag}" for tag in kind.tags()]
    command += ["--constraint", str(constraints)] if constraints else []
    try:
        subprocess.run(
            [*command, *requirements],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
        )
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no reason"]
        raise DeployError(
            f"no wheels for {kind.machine}, Python {kind.python}, glibc 2.{kind.glibc_minor}: "
            f"{errors[-1].removeprefix('ERROR: ')}; see whether this machine reaches its index"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeployError(f"downloading wheels took over {_TIMEOUT_S} s; try again") from error


def _cache() -> Path:
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    top = configured if configured.is_absolute() else Path.home() / ".cache"
    return top / "edgeemo" / "wheelhouse"
