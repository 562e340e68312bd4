"""The service of the device: under systemd, or none at all (a laptop, a container)."""

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .layout import DeviceError, Layout
from .preflight import run_demo

SERVICE = "edgeemo.service"
WATCHER = "edgeemo-deploy.service"
_UNITS = Path("/etc/systemd/system")
_CONFIG = Path("/etc/edgeemo/edgeemo.toml")
_FOLDERS = {
    "sysusers": Path("/etc/sysusers.d/edgeemo.conf"),
    "tmpfiles": Path("/etc/tmpfiles.d/edgeemo.conf"),
}
_DROP_IN = """# Written by `edgeemo deploy`: which release runs, with which model.
[Service]
Environment=EDGEEMO_ASSETS={prefix}/current/assets
ExecStart=
ExecStart={prefix}/current/bin/edgeemo run --config {config} --model {prefix}/current/model
"""
_WATCHER_UNIT = """# Written by `edgeemo deploy`. Tries a release and goes back to the last good one
# if it is not healthy, whether the workstation is still there or not; also after a power cut.
[Unit]
Description=edgeemo: try the release that was pushed
ConditionPathExists={prefix}/pending.json
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/bin/env python3 {prefix}/agent.pyz watch --prefix {prefix}
TimeoutStartSec=infinity
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


class NoService:
    """Nothing runs between calls: a release is healthy when it can watch the demo's face."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def take_up(self, *, reload: bool) -> None:
        """Nothing is running, so nothing has to notice."""

    def observe(self, window_s: float) -> str | None:  # noqa: ARG002 - no time passes here
        """Return why the current release is not healthy, or None."""
        with tempfile.TemporaryDirectory(prefix="edgeemo-health-") as folder:
            try:
                run_demo(self._layout.current.resolve(), Path(folder))
            except DeviceError as error:
                return str(error)
        return None

    def stop(self) -> None:
        """Nothing is running."""

    def remove(self) -> list[Path]:
        """Return what was removed outside the prefix: nothing was put there."""
        return []


class Systemd:
    """``edgeemo.service`` with the release's own unit files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._restarts = 0

    def take_up(self, *, reload: bool) -> None:
        """Install the current release's files, then restart the service, or let it re-read."""
        changed = self._install_files()
        if changed:
            _run("systemctl", "daemon-reload")
            _run("systemctl", "enable", "--quiet", SERVICE)
        before = _properties()
        if reload and not changed and before.get("ActiveState") == "active":
            self._restarts = int(before.get("NRestarts") or 0)
            if _succeeds("systemctl", "reload", SERVICE):
                return
        _succeeds("systemctl", "reset-failed", SERVICE)
        _run("systemctl", "restart", "--no-block", SERVICE)
        self._restarts = 0

    def observe(self, window_s: float) -> str | None:
        """Watch the service; return why it is not healthy, or None at the end of the window."""
        started = time.monotonic()
        while True:
            elapsed_s = time.monotonic() - started
            now = _properties()
            result = now.get("Result", "unknown")
            restarts = int(now.get("NRestarts") or 0)
            if now.get("ActiveState") == "failed" or restarts > self._restarts:
                return f"the service ended after {elapsed_s:.0f} s ({_cause(now, result)})"
            if elapsed_s > window_s:
                if now.get("ActiveState") == "active" and now.get("SubState") == "running":
                    return None
                return f"the service was not up after {window_s:g} s ({now.get('ActiveState')})"
            time.sleep(0.25)

    def stop(self) -> None:
        """Stop the service."""
        _succeeds("systemctl", "stop", SERVICE)

    def remove(self) -> list[Path]:
        """Stop and take away what is outside the prefix; return what was removed."""
        _succeeds("systemctl", "disable", "--now", "--quiet", SERVICE, WATCHER)
        files = [_UNITS / SERVICE, _UNITS / WATCHER, *_FOLDERS.values(), _CONFIG]
        removed = [path for path in files if path.exists()]
        for path in removed:
            path.unlink()
        folders = [_UNITS / f"{SERVICE}.d", _CONFIG.parent]
        for folder in folders:
            if folder.is_dir():
                shutil.rmtree(folder)
                removed.append(folder)
        _run("systemctl", "daemon-reload")
        _succeeds("systemctl", "reset-failed", SERVICE, WATCHER)
        return removed

    def _install_files(self) -> bool:
        release, prefix = self._layout.current.resolve(), self._layout.prefix
        wanted: dict[Path, str] = {}
        for path in sorted((release / "units").glob("*")):
            target = _UNITS / path.name if path.suffix == ".service" else None
            for kind, place in _FOLDERS.items():
                target = place if kind in path.name else target
            if target is not None:
                wanted[target] = path.read_text("utf-8")
        config = release / "config" / "edgeemo.toml"
        example = release / "units" / "edgeemo.example.toml"
        if config.is_file():
            wanted[_CONFIG] = config.read_text("utf-8")
        elif example.is_file() and not _CONFIG.exists():
            wanted[_CONFIG] = example.read_text("utf-8")
        text = _DROP_IN.format(prefix=prefix, config=_CONFIG)
        wanted[_UNITS / f"{SERVICE}.d" / "10-deploy.conf"] = text
        changed = [path for path, content in wanted.items() if _write(path, content)]
        if _FOLDERS["sysusers"] in changed:
            _run("systemd-sysusers", str(_FOLDERS["sysusers"]))
        if _FOLDERS["tmpfiles"] in changed:
            _run("systemd-tmpfiles", "--create", str(_FOLDERS["tmpfiles"]))
        return bool(changed)


def install_watcher(prefix: Path) -> None:
    """Have systemd try what is pending, now and at every boot until it is decided."""
    if _write(_UNITS / WATCHER, _WATCHER_UNIT.format(prefix=prefix)):
        _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "--quiet", WATCHER)
    _run("systemctl", "start", "--no-block", WATCHER)


def _cause(now: dict[str, str], result: str) -> str:
    if result == "success" and now.get("StatusText"):
        return str(now["StatusText"])
    return "it ended by itself, restarted by systemd" if result == "success" else result


def _write(path: Path, content: str) -> bool:
    """Write a file unless it holds just that; tell whether it did."""
    if path.is_file() and path.read_text("utf-8") == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(content, "utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)
    return True


def _properties() -> dict[str, str]:
    names = "ActiveState,SubState,Result,NRestarts,StatusText"
    command = ["systemctl", "show", SERVICE, "-p", names]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=30)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise DeviceError(f"{' '.join(command[:3])}: {lines[-1] if lines else done.returncode}")


def _succeeds(*command: str) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode == 0
