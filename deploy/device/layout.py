"""Where things are on a device, and how they are written so that a power cut does not matter.

::

    /opt/edgeemo/current -> releases/<id>     the one switch, an atomic rename
    /opt/edgeemo/releases/<id>/               bin/edgeemo, env -> ../../envs/<key>, model/,
                                              assets/, units/; release.json, written last, says
                                              that it is whole
    /opt/edgeemo/envs/<key>/                  a virtual environment; releases that differ in the
                                              model only share one
    /opt/edgeemo/wheels/<sha256>/             what the next environment need not be sent again
    /opt/edgeemo/state.json, pending.json     what was good, what failed and why, what is tried
    /opt/edgeemo/agent.pyz                    this program, as of the newest push
"""

import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

CONFIG = Path("/etc/edgeemo/edgeemo.toml")
_LOCK_POLL_S = 0.2


class DeviceError(Exception):
    """Why something cannot be done here, in one line for the person at the other end."""


class Layout:
    """The paths below one prefix."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.current = prefix / "current"
        self.releases = prefix / "releases"
        self.envs = prefix / "envs"
        self.wheels = prefix / "wheels"
        self.state = prefix / "state.json"
        self.pending = prefix / "pending.json"
        self.agent = prefix / "agent.pyz"

    def release(self, name: str) -> Path:
        """Return the folder of a release.

        Raises:
            DeviceError: no name of a release, so that no path can be smuggled in.
        """
        if len(name) != 16 or not set(name) <= set("0123456789abcdef"):
            raise DeviceError(f"{name!r} is no release; expected 16 hexadecimal digits")
        return self.releases / name

    def is_whole(self, name: str) -> bool:
        """Tell whether a release was built to its end."""
        return (self.release(name) / "release.json").is_file()

    def current_name(self) -> str | None:
        """Return the name of the release that ``current`` points to."""
        try:
            return self.current.readlink().name
        except OSError:
            return None

    def kept_config(self, name: str) -> Path:
        """Return where a release's configuration is kept while that of a later one is tried."""
        return self.release(name) / "edgeemo.toml.kept"

    @contextmanager
    def lock(self, patience_s: float = math.inf) -> Iterator[None]:
        """Keep other calls from changing anything meanwhile.

        Raises:
            DeviceError: somebody else still does after ``patience_s``.
        """
        self.prefix.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + patience_s
        with (self.prefix / ".lock").open("w") as file:
            while not _locked(file):
                if time.monotonic() > deadline:
                    raise DeviceError(
                        "another deployment is at work on this device; wait for it to end"
                    )
                time.sleep(_LOCK_POLL_S)
            yield


def _locked(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where there is none."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON file durably: it holds the old or the new value, whatever happens."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def switch(link: Path, target: str) -> None:
    """Let a symbolic link point elsewhere, by one atomic rename."""
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and deletions in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
