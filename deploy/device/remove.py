"""Take edgeemo off this device."""

import pwd
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from .activate import open_service
from .layout import DeviceError, Layout
from .service import Systemd

_LOGS = Path("/var/log/edgeemo")
_HOME = Path("/var/lib/edgeemo")
_CACHE = Path("/var/cache/edgeemo")
_OWN = frozenset(
    {"current", "releases", "envs", "wheels", "state.json", "pending.json", "agent.pyz", ".lock"}
)


def remove(layout: Layout, *, purge: bool) -> list[str]:
    """Stop the service and delete all that a push made; return what went and what stays, in lines.

    Logs, and the user that owns them, stay unless ``purge``; so does what somebody else has put
    into edgeemo's own folders.

    Raises:
        DeviceError: the prefix holds something that is not edgeemo's.
    """
    if not layout.prefix.is_dir():
        return []
    names = {path.name for path in layout.prefix.iterdir() if not path.name.endswith(".new")}
    if names - _OWN:
        strange = ", ".join(sorted(names - _OWN)[:3])
        raise DeviceError(f"{layout.prefix} holds {strange}, which is not edgeemo's; move it away")
    service = open_service(layout)
    gone, stays = service.remove(), []
    if isinstance(service, Systemd):
        data = _purge() if purge else _tidy()
        gone += data
        stays = [path for path in (_LOGS, _HOME) if path.exists()]
    shutil.rmtree(layout.prefix)  # last: a removal that is cut is known to be unfinished by it
    gone.append(layout.prefix)
    lines = [f"removed {', '.join(map(str, gone))}"]
    if stays:
        lines.append(f"kept {', '.join(map(str, stays))}; --purge removes that, too")
    return lines


def _tidy() -> list[Path]:
    """Remove the cache, and the folders where a person could have put models, and has not."""
    removed = []
    if _CACHE.exists():
        shutil.rmtree(_CACHE)
        removed.append(_CACHE)
    for path in (_HOME / "assets", _HOME / "models", _HOME):
        with suppress(OSError):
            path.rmdir()
            removed.append(path)
    return removed


def _purge() -> list[Path]:
    removed = [path for path in (_LOGS, _HOME, _CACHE) if path.exists()]
    for path in removed:
        shutil.rmtree(path)
    try:
        pwd.getpwnam("edgeemo")
    except KeyError:
        return removed
    quiet = subprocess.DEVNULL
    subprocess.run(["userdel", "edgeemo"], stdout=quiet, stderr=quiet, check=False)
    return removed
