"""Switch to a release, watch it, and go back by itself when it is not healthy.

``activate`` only writes down what shall be tried and starts the watcher, which is a process of the
device: from there on nobody else is needed. Every step can be cut by a power failure; the watcher,
started again at boot, finds in ``pending.json`` how far it was.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .health import REFUSED
from .layout import DeviceError, Layout, read_json, switch, sync_folder, write_json
from .service import NoService, Systemd, install_watcher, start_watcher

MOST_ATTEMPTS = 3
"""A release that takes the whole device down while it is watched is given up after so many."""
_FAILURES_KEPT = 5
_LONGEST_PROBLEM = 2000


def activate(
    layout: Layout, name: str, window_s: float, kind: str, *, is_back: bool = False
) -> None:
    """Note what is to be tried and start the watcher.

    Args:
        layout: where.
        name: of the release.
        window_s: how long it is watched.
        kind: of service, ``systemd`` or ``none``.
        is_back: a person goes back to it; what was pushed after it is not good any more.

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
    if kind == "systemd":
        install_watcher(layout.prefix)  # before anything is pending: a boot finds it then
    pending = {"release": name, "window_s": window_s, "attempts": 0, "is_back": is_back}
    write_json(layout.pending, pending)
    resume(layout)


def resume(layout: Layout) -> None:
    """Start the watcher for what is pending, if that was cut; one that is at work goes on."""
    if not layout.pending.exists():
        return
    if read_json(layout.state).get("service") == "systemd":
        start_watcher()
        return
    command = [sys.executable, str(layout.agent), "watch", "--prefix", str(layout.prefix)]
    quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet, setsid=True)


def watch(layout: Layout) -> None:
    """Try what is pending; afterwards it is the last good release, or the one before runs again."""
    with layout.lock():
        pending = read_json(layout.pending)
        if not pending:
            return
        service = open_service(layout)
        name = str(pending["release"])
        problem = str(pending.get("problem", "")) or _try(layout, service, pending)
        if problem:
            # Noted first: cut here, the next start goes on going back.
            write_json(layout.pending, {**read_json(layout.pending), "problem": problem})
            _go_back(layout, service, name, problem)
        else:
            _note_good(layout, name, is_back=bool(pending.get("is_back")))
        layout.pending.unlink()
        sync_folder(layout.prefix)
        prune(layout)


def _try(layout: Layout, service: NoService | Systemd, pending: dict[str, Any]) -> str:
    """Switch and watch; return what is wrong, or nothing."""
    attempts = int(pending.get("attempts", 0)) + 1
    if attempts > MOST_ATTEMPTS:
        return f"the device went down {MOST_ATTEMPTS} times while this release was tried"
    name, before = str(pending["release"]), layout.current_name()
    pending = {"before": before, **pending, "attempts": attempts}
    write_json(layout.pending, pending)
    config, is_back = layout.release(name) / "config" / "edgeemo.toml", pending.get("is_back")
    reload = before is not None and before != name and _differ_in_model_only(layout, before, name)
    try:
        if is_back:
            config = layout.kept_config(name)
        elif before and before != name and config.is_file():
            service.keep_config(layout.kept_config(before))
        switch(layout.current, f"releases/{name}")
        service.take_up(reload=reload, config=config if config.is_file() else None)
        return service.observe(float(pending["window_s"]))
    except (DeviceError, OSError, subprocess.SubprocessError) as error:
        return str(error)


def _note_good(layout: Layout, name: str, *, is_back: bool) -> None:
    """Let a release be the last good one; what a person has left by going back, is no more."""
    state = read_json(layout.state)
    good: list[str] = state.get("good", [])
    if is_back and name in good:
        good = good[: good.index(name)]
    good = [known for known in good if known != name]
    failed = {key: why for key, why in state.get("failed", {}).items() if key != name}
    write_json(layout.state, {**state, "good": [*good, name], "failed": failed})
    layout.kept_config(name).unlink(missing_ok=True)  # it is in its place, or out of date


def _go_back(layout: Layout, service: NoService | Systemd, name: str, problem: str) -> None:
    note_failure(layout, name, problem)
    good: list[str] = read_json(layout.state).get("good", [])
    others = [known for known in good if known != name and layout.is_whole(known)]
    before = read_json(layout.pending).get("before")
    if not others:  # the first release ever: nothing to go back to
        service.stop()
        layout.current.unlink(missing_ok=True)
        return
    back = before if before in others else others[-1]
    switch(layout.current, f"releases/{back}")
    kept = layout.kept_config(back)
    # After a refused reload the old model runs on: it is spared a restart, and so is the camera.
    is_running = problem.startswith(REFUSED)
    service.take_up(reload=is_running, config=kept if kept.is_file() else None)
    kept.unlink(missing_ok=True)


def note_failure(layout: Layout, name: str, problem: str) -> None:
    """Keep the reason why a release did not hold, or was not fit to be tried."""
    state = read_json(layout.state)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    failed = {
        **state.get("failed", {}),
        name: {"problem": problem[:_LONGEST_PROBLEM], "time": when},
    }
    newest = sorted(failed.items(), key=lambda item: item[1]["time"])[-_FAILURES_KEPT:]
    write_json(layout.state, {**state, "failed": dict(newest)})


def rollback(layout: Layout, window_s: float) -> str:
    """Try the good release before the current one, and return its name.

    Once more goes further back: what was left is not returned to, except by a push.

    Raises:
        DeviceError: there is none.
    """
    state, current = read_json(layout.state), layout.current_name()
    good: list[str] = state.get("good", [])
    earlier = good[: good.index(current)] if current in good else good
    earlier = [name for name in earlier if layout.is_whole(name)]
    if not earlier:
        raise DeviceError(
            "there is no earlier good release on this device to go back to; push the one you want"
        )
    kind = str(state.get("service", "none"))
    activate(layout, earlier[-1], window_s, kind, is_back=True)
    return earlier[-1]


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
    """Tell whether two releases are the same but for the model, and a configuration left as it is.

    ``deploy/release/plan.py`` foretells it by the same rule.
    """
    parts = [
        {
            (entry["path"], entry["sha256"])
            for entry in read_json(layout.release(name) / "release.json").get("files", [])
            if not entry["path"].startswith("model/")
        }
        for name in (one, other)
    ]
    gone = {path for path, _ in parts[0] - parts[1]}
    return bool(parts[0]) and parts[1] <= parts[0] and gone <= {"config/edgeemo.toml"}
