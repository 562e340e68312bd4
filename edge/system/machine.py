"""What the kernel tells about this machine; None where it does not."""

import os
import platform
import shutil
import struct
import sys
from pathlib import Path

_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
_MODEL = Path("/proc/device-tree/model")
CPUINFO = Path("/proc/cpuinfo")
_THROTTLING = ("under-voltage", "frequency capped", "throttled", "too hot")


def rss_mb() -> float:
    """Return this process's resident memory in MB (10**6 bytes)."""
    if sys.platform != "linux":
        import psutil

        return float(psutil.Process().memory_info().rss) / 1e6
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def free_mb(folder: Path) -> float | None:
    """Return what this user may still write on a folder's disk, in MB (10**6 bytes)."""
    try:
        return shutil.disk_usage(folder).free / 1e6
    except OSError:
        return None


def usable_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # as on Linux only
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def temperature_c() -> float | None:
    """Return the SoC's temperature in degrees Celsius."""
    try:
        return int(_TEMPERATURE.read_text("ascii")) / 1000
    except (OSError, ValueError):
        return None


def throttled() -> str | None:
    """Return a Raspberry Pi's throttling bits as hexadecimal; ``"0"`` means all is well."""
    try:
        return _THROTTLED.read_text("ascii").strip()
    except OSError:
        return None


def throttling(bits: str) -> tuple[str, ...]:
    """Return what throttling bits mean, what is so now first; nothing when all is well.

    Raspberry Pi documentation, "vcgencmd get_throttled": the lower bits tell of now, those from 16
    on of any time since the start.
    """
    try:
        value = int(bits, 16)
    except ValueError:
        return (f"unknown ({bits[:12]!r})",)
    now = [text for bit, text in enumerate(_THROTTLING) if value >> bit & 1]
    before = [f"{text} earlier" for bit, text in enumerate(_THROTTLING) if value >> bit + 16 & 1]
    return *now, *(text for text in before if text.removesuffix(" earlier") not in now)


def is_raspberry_pi() -> bool:
    """Tell whether the firmware calls this board a Raspberry Pi."""
    try:
        return "Raspberry Pi" in _MODEL.read_text("utf-8", "replace")
    except OSError:
        return False


def is_64_bit() -> bool:
    """Tell whether this Python is a 64-bit build (a 32-bit userland can sit on a 64-bit kernel)."""
    return struct.calcsize("P") == 8


def lacks_lse_atomics() -> bool:
    """Tell whether this is an arm64 processor without LSE atomics (Pi 4, Pi 3, Zero 2 W).

    mediapipe 1.x's aarch64 wheels are compiled for them and abort without.
    """
    return _has_features("atomics") is False


def computes_in_half_precision() -> bool:
    """Tell whether this is an arm64 processor with arithmetic in half precision, as in a Pi 5."""
    return _has_features("asimdhp") is True


def _has_features(name: str) -> bool | None:
    """Tell whether each core of an arm64 processor has a feature; None where nobody knows."""
    if platform.machine() != "aarch64":
        return None
    try:
        cpuinfo = CPUINFO.read_text("utf-8", "replace")
    except OSError:
        return None
    features = [line.split() for line in cpuinfo.splitlines() if line.startswith("Features")]
    return all(name in line for line in features) if features else None
