"""Print which files of this device are not those of the release that runs, as JSON.

Changes nothing. Run as ``python3 -c``, hence one file.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PREFIX = "/opt/edgeemo"
"""Where the unit files of a release take edgeemo to be."""
CONFIG = "config/edgeemo.toml"
PLACES = {
    "units/edgeemo.service": "/etc/systemd/system/edgeemo.service",
    "units/sysusers.d/edgeemo.conf": "/etc/sysusers.d/edgeemo.conf",
    "units/tmpfiles.d/edgeemo.conf": "/etc/tmpfiles.d/edgeemo.conf",
    CONFIG: "/etc/edgeemo/edgeemo.toml",
}
"""Where files of a release are put beside it, for a service."""
_MOST = 100
_BLOCK = 1 << 20


def _sha256(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.digest()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _of_release(current: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of the release itself, with what they should be."""
    for entry in _json(current / "release.json").get("files", []):
        if not entry["path"].startswith("wheels/"):
            yield current / entry["path"], bytes.fromhex(entry["sha256"])


def _beside(prefix: Path, names: set[str]) -> Iterator[tuple[Path, bytes]]:
    """Yield what was installed for the service."""
    for name, place in PLACES.items():
        source = prefix / "current" / name
        if name in names and source.is_file():
            content = source.read_bytes()
            if name != CONFIG:
                content = content.replace(PREFIX.encode(), str(prefix).encode())
            yield Path(place), hashlib.sha256(content).digest()


def _of_packages(environment: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the files of the wheels, as each one's own record has them."""
    for record in sorted(environment.glob("lib/python3*/site-packages/*.dist-info/RECORD")):
        with record.open(encoding="utf-8", newline="") as file:
            for name, told, *_ in csv.reader(file):
                kind, _, text = told.partition("=")
                if kind == "sha256":
                    padded = text + "=" * (-len(text) % 4)
                    yield record.parent.parent / name, base64.urlsafe_b64decode(padded)


def drift(prefix: Path) -> dict[str, Any]:
    """Return which files are altered, missing or cannot be read, and how many were looked at."""
    current = prefix / "current"
    wanted = list(_of_release(current))
    if _json(prefix / "state.json").get("service") == "systemd":
        wanted += _beside(prefix, {str(path.relative_to(current)) for path, _ in wanted})
    wanted += _of_packages(current / "env")
    found: dict[str, list[str]] = {"altered": [], "missing": [], "unreadable": []}
    for path, expected in wanted:
        try:
            if _sha256(path) != expected:
                found["altered"].append(str(path))
        except FileNotFoundError:
            found["missing"].append(str(path))
        except OSError:
            found["unreadable"].append(str(path))
    counts = {f"{kind}_count": len(paths) for kind, paths in found.items()}
    return {kind: paths[:_MOST] for kind, paths in found.items()} | counts | {"files": len(wanted)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(drift(Path(sys.argv[1]))) + "\n")
