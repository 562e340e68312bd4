"""Print what this device is and what is on it, as JSON. Changes nothing.

Sent to ``python3 -`` on standard input, hence one file, and readable by an old Python.
"""

from __future__ import annotations

import grp
import importlib.util
import json
import os
import platform
import pwd
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

SERVICE = "edgeemo.service"
_PROPERTIES = "ActiveState,SubState,Result,NRestarts,MainPID,StatusText"


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _os_release() -> str:
    values = {}
    try:
        for line in Path("/etc/os-release").read_text("utf-8").splitlines():
            key, _, value = line.partition("=")
            values[key] = value.strip('"')
    except OSError:
        pass
    return values.get("PRETTY_NAME", platform.system())


def _name(lookup: Any, number: int) -> str:
    """Return the name of a user or a group; there need not be one for every number."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def _sudo() -> bool:
    if os.geteuid() == 0:
        return True
    if shutil.which("sudo") is None:
        return False
    command = ["sudo", "-n", "true"]
    null = subprocess.DEVNULL
    return subprocess.call(command, stdin=null, stdout=null, stderr=null) == 0


def _service() -> dict[str, str]:
    command = ["systemctl", "show", SERVICE, "-p", _PROPERTIES]
    try:
        text = subprocess.check_output(command, stderr=subprocess.DEVNULL, timeout=20).decode()
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _names(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern)) if folder.is_dir() else []


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _libc() -> list[str]:
    name, version = platform.libc_ver()
    return [name or "unknown", version]


def gather(prefix: Path) -> dict[str, Any]:
    """Return the facts; ``deploy.facts.Facts`` says what each one means."""
    # First: what is said to be tried no more must be seen with its outcome.
    pending = _json(prefix / "pending.json")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    staging = Path(cache) / "edgeemo-deploy"
    place = _existing(prefix)
    has_systemd = Path("/run/systemd/system").is_dir()
    current = prefix / "current"
    releases = prefix / "releases"
    name = current.readlink().name if current.is_symlink() else None
    return {
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "os": _os_release(),
        "python": list(sys.version_info[:3]),
        "libc": _libc(),
        "free_bytes": shutil.disk_usage(place).free,
        "writable": os.access(place, os.W_OK | os.X_OK),
        "user": _name(pwd.getpwuid, os.geteuid()),
        "root": os.geteuid() == 0,
        "groups": sorted(_name(grp.getgrgid, number) for number in os.getgroups()),
        "sudo": _sudo(),
        "systemd": has_systemd,
        "venv": importlib.util.find_spec("venv") is not None,
        "cameras": _names(Path("/dev"), "video*"),
        "picamera2": importlib.util.find_spec("picamera2") is not None,
        "staging": str(staging),
        "staged": {path.name: path.stat().st_size for path in staging.glob("?" * 64)},
        "present": prefix.is_dir(),
        "wheels": _names(prefix / "wheels"),
        "releases": [
            name for name in _names(releases) if (releases / name / "release.json").is_file()
        ],
        "current": name,
        "release": _json(current / "release.json") or {},
        "state": _json(prefix / "state.json") or {},
        "pending": pending,
        "service": _service() if has_systemd else {},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(gather(Path(sys.argv[1]))) + "\n")
