"""Print what this device is and what is on it, as JSON. Changes nothing.

Sent to ``python3 -`` on standard input, hence one file, and readable by an old Python.
"""

from __future__ import annotations

import grp
import hashlib
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
    return sorted(_text(path) for path in folder.glob(pattern)) if folder.is_dir() else []


def _text(path: Path) -> str:
    """Return a name as text: a name may be any bytes."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def _named(folder: Path, length: int) -> list[Path]:
    """Return what is called by so many hexadecimal digits; anybody may have put something else."""
    found = sorted(folder.glob("?" * length)) if folder.is_dir() else []
    return [path for path in found if set(path.name) <= set("0123456789abcdef")]


def _staged(folder: Path) -> dict[str, int]:
    """Return the sizes of files that are, to the bit, what they are called."""
    staged = {}
    for path in _named(folder, 64):
        digest, size = hashlib.sha256(), 0
        try:
            with path.open("rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
                    size += len(block)
        except OSError:
            continue
        if digest.hexdigest() == path.name:
            staged[path.name] = size
    return staged


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
    name = _text(current.readlink()) if current.is_symlink() else None
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
        "staging": str(staging),
        "staged": _staged(staging),
        "present": prefix.is_dir(),
        "wheels": [path.name for path in _named(prefix / "wheels", 64)],
        "releases": [
            path.name for path in _named(releases, 16) if (path / "release.json").is_file()
        ],
        "current": name,
        "release": _json(current / "release.json") or {},
        "state": _json(prefix / "state.json") or {},
        "pending": pending,
        "service": _service() if has_systemd else {},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(gather(Path(sys.argv[1]))) + "\n")
