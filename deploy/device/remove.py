"""Take edgeemo off this device."""

import pwd
import shutil
import subprocess
from pathlib import Path

from .activate import open_service
from .layout import DeviceError, Layout

_DATA = (Path("/var/log/edgeemo"), Path("/var/lib/edgeemo"), Path("/var/cache/edgeemo"))
_OWN = frozenset(
    {"current", "releases", "envs", "wheels", "state.json", "pending.json", "agent.pyz", ".lock"}
)


def remove(layout: Layout, *, purge: bool) -> list[Path]:
    """Stop the service and delete all that a push made; return what went.

    Logs, and the user that owns them, stay unless ``purge``.

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
    with_systemd = type(service).__name__ == "Systemd"
    removed = service.remove()
    shutil.rmtree(layout.prefix)
    removed.append(layout.prefix)
    if purge and with_systemd:
        removed += _purge()
    return removed


def _purge() -> list[Path]:
    removed = [path for path in _DATA if path.exists()]
    for path in removed:
        shutil.rmtree(path)
    try:
        pwd.getpwnam("edgeemo")
    except KeyError:
        return removed
    quiet = subprocess.DEVNULL
    subprocess.run(["userdel", "edgeemo"], stdout=quiet, stderr=quiet, check=False)
    return removed
