"""Switch to a release, watch it, and go back by itself when it is not healthy.

``activate`` only writes down what shall be tried and starts the watcher, which is a process of the
device: from there on nobody else is needed. Every step can be cut by a power failure; the watcher,
started again at boot, finds in ``pending.json`` how far it was.
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .layout import DeviceError, Layout, read_json, switch, write_json
from .service import NoService, Systemd, install_watcher

MOST_ATTEMPTS = 3
"""A release that takes the whole device down while it is watched is given up after so many."""
_FAILURES_KEPT = 5


def activate(layout: Layout, name: str, window_s: float, kind: str) -> None:
    """Note what is to be tried and start the watcher.

    Raises:
        DeviceError: that release is not here as a whole, or another one is being tried.
    """
    if not layout.is_whole(name):
        raise DeviceError(f"release {name} is not here as a whole; push it")
    if layout.pending.exists():
        raise DeviceError("another release is being tried on this device; ask for its status")
    agent = Path(sys.argv[0])
    if agent.resolve() != layout.agent.resolve():
        temporary = layout.agent.with_name(".agent.pyz.new")
        shutil.copyfile(agent, temporary)
        temporary.chmod(0o755)
        temporary.replace(layout.agent)
    state = read_json(layout.state)
    write_json(layout.state, {**state, "service": kind})
    write_json(layout.pending, {"release": name, "window_s": window_s, "attempts": 0})
    if kind == "systemd":
        install_watcher(layout.prefix)
        return
    null = subprocess.DEVNULL
    command = [sys.executable, str(layout.agent), "watch", "--prefix", str(layout.prefix)]
    subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)


def watch(layout: Layout) -> None:
    """Try what is pending; afterwards it is the last good release, or the one before runs again."""
    with layout.lock(wait=True):
        pending = read_json(layout.pending)
        if not pending:
            return
        service = open_service(layout)
        name = str(pending["release"])
        problem = str(pending.get("problem", "")) or _try(layout, service, pending)
        if problem:
            # Noted first: cut here, the next start goes on going back.
            write_json(layout.pending, {**pending, "problem": problem})
            _go_back(layout, service, name, problem)
        else:
            state = read_json(layout.state)
            good = [known for known in state.get("good", []) if known != name]
            failed = {key: why for key, why in state.get("failed", {}).items() if key != name}
            write_json(layout.state, {**state, "good": [*good, name], "failed": failed})
        layout.pending.unlink()
        prune(layout)


def _try(layout: Layout, service: NoService | Systemd, pending: dict[str, Any]) -> str:
    """Switch and watch; return what is wrong, or nothing."""
    attempts = int(pending.get("attempts", 0)) + 1
    if attempts > MOST_ATTEMPTS:
        return f"the device went down {MOST_ATTEMPTS} times while this release was tried"
    write_json(layout.pending, {**pending, "attempts": attempts})
    name, before = str(pending["release"]), layout.current_name()
    reload = before is not None and before != name and _differ_in_model_only(layout, before, name)
    switch(layout.current, f"releases/{name}")
    try:
        service.take_up(reload=reload)
        return service.observe(float(pending["window_s"])) or ""
    except (DeviceError, OSError, subprocess.SubprocessError) as error:
        return str(error)


def _go_back(layout: Layout, service: NoService | Systemd, name: str, problem: str) -> None:
    state = read_json(layout.state)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    failed = {**state.get("failed", {}), name: {"problem": problem, "time": when}}
    newest = sorted(failed.items(), key=lambda item: item[1]["time"])[-_FAILURES_KEPT:]
    write_json(layout.state, {**state, "failed": dict(newest)})
    good: list[str] = [known for known in state.get("good", []) if layout.is_whole(known)]
    others = [known for known in good if known != name]
    if not others:  # the first release ever: nothing to go back to
        service.stop()
        layout.current.unlink(missing_ok=True)
        return
    switch(layout.current, f"releases/{others[-1]}")
    service.take_up(reload=False)


def rollback(layout: Layout, window_s: float) -> str:
    """Try the last good release before the current one, and return its name.

    Raises:
        DeviceError: there is none.
    """
    state, current = read_json(layout.state), layout.current_name()
    good = [name for name in state.get("good", []) if name != current and layout.is_whole(name)]
    if not good:
        raise DeviceError("there is no earlier good release on this device to go back to")
    activate(layout, good[-1], window_s, str(state.get("service", "none")))
    return str(good[-1])


def prune(layout: Layout, keep: int = 3) -> None:
    """Delete old releases, environments and wheels; never the running or the last good ones."""
    state, current = read_json(layout.state), layout.current_name()
    good = [name for name in state.get("good", []) if layout.is_whole(name)]
    kept = {*good[-keep:], current}
    for release in sorted(layout.releases.glob("*")):
        if release.name not in kept:
            shutil.rmtree(release, ignore_errors=True)
    write_json(layout.state, {**state, "good": [name for name in good if name in kept]})
    manifests = [read_json(release / "release.json") for release in layout.releases.glob("*")]
    used = {(release / "env").readlink().name for release in layout.releases.glob("*")}
    hashes = {entry["sha256"] for manifest in manifests for entry in manifest.get("files", [])}
    for folder, names in ((layout.envs, used), (layout.wheels, hashes)):
        for path in folder.glob("*"):
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True)


def open_service(layout: Layout) -> NoService | Systemd:
    """Return the service that this device was set up with."""
    is_systemd = read_json(layout.state).get("service") == "systemd"
    return Systemd(layout) if is_systemd else NoService(layout)


def _differ_in_model_only(layout: Layout, one: str, other: str) -> bool:
    """Tell whether two releases are the same but for the model."""
    parts = [
        {
            (entry["path"], entry["sha256"])
            for entry in read_json(layout.release(name) / "release.json").get("files", [])
            if not entry["path"].startswith("model/")
        }
        for name in (one, other)
    ]
    return bool(parts[0]) and parts[0] == parts[1]
