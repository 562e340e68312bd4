"""The machine: groups, disk, temperature, throttling."""

import os
import shutil
import sys
from pathlib import Path

from edge.config import Config
from edge.doctor.report import Check
from edge.system import machine

_HOT_C = 80.0
_LEAST_FREE_MB = 100.0


def groups() -> Check:
    """Tell whether the user may use cameras and the graphics processor."""
    if sys.platform == "win32":
        return Check("groups", "ok", "this system has none")
    if os.geteuid() == 0:
        return Check("groups", "ok", "root")
    mine = {*os.getgroups(), os.getegid()}
    missing = [name for name in ("video", "render") if _gid(name) not in {None, *mine}]
    if missing:
        return Check(
            "groups",
            "warning",
            f"not in {', '.join(missing)}",
            f"`sudo usermod -aG {','.join(missing)} $USER`, then log in again",
        )
    return Check("groups", "ok", "video, render")


def _gid(name: str) -> int | None:
    """Return a group's number; None where the system has no such group."""
    if sys.platform == "win32":
        return None
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def log_directory(config: Config) -> Check:
    """Tell whether the log can be written, and has space."""
    directory = Path(config.log.dir).absolute()
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Check("log directory", "failure", f"{existing} cannot be written", "--log-dir DIR")
    free_mb = shutil.disk_usage(existing).free / 1e6
    detail = f"{directory}, {free_mb / 1e3:.1f} GB free"
    least_mb = max(_LEAST_FREE_MB, config.log.min_free_mb)
    if free_mb < least_mb:
        return Check(
            "log directory",
            "warning",
            detail,
            f"free some space: below {least_mb:.0f} MB (log.min_free_mb) old files are removed",
        )
    return Check("log directory", "ok", detail)


def temperature() -> Check:
    """Tell the SoC's temperature."""
    celsius = machine.temperature_c()
    if celsius is None:
        return Check("temperature", "ok", "not reported by this machine")
    if celsius > _HOT_C:
        remedy = "cool the board: a heat sink or a fan; until then [thermal] lowers the rate"
        return Check("temperature", "warning", f"{celsius:.0f} degrees C", remedy)
    return Check("temperature", "ok", f"{celsius:.0f} degrees C")


def throttling() -> Check:
    """Tell what a Raspberry Pi's firmware says of its supply and its heat."""
    bits = machine.throttled()
    if bits is None:
        return Check("throttling", "ok", "not reported by this machine")
    meanings = machine.throttling(bits)
    if not meanings:
        return Check("throttling", "ok", "never since its start")
    power = "a supply and a cable that hold 5.1 V" if "under-voltage" in str(meanings) else ""
    heat = "better cooling" if any("under" not in text for text in meanings) else ""
    remedy = f"give the board {' and '.join(filter(None, (power, heat)))}"
    return Check("throttling", "warning", ", ".join(meanings), remedy)
