"""The service of the device: under systemd, or none at all (a laptop, a container)."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from .health import Trial
from .layout import CONFIG, DeviceError, Layout, sync_folder
from .preflight import run_demo

SERVICE = "edgeemo.service"
WATCHER = "edgeemo-deploy.service"
_PREFIX = "/opt/edgeemo"
"""Where the packaged_file files take edgeemo to be."""
_UNITS = Path("/etc/systemd/system")
_SYSUSERS = Path("/etc/sysusers.d/edgeemo.conf")
_TMPFILES = Path("/etc/tmpfiles.d/edgeemo.conf")
_SHIPPED = {
    SERVICE: _UNITS / SERVICE,
    "sysusers.d/edgeemo.conf": _SYSUSERS,
    "tmpfiles.d/edgeemo.conf": _TMPFILES,
}
_DROP_IN = """# Written by `edgeemo deploy`: which release runs, with which model.
[Service]
Environment=EDGEEMO_ASSETS={prefix}/current/assets
ExecStart=
ExecStart={prefix}/current/bin/edgeemo run --config {config} --log-dir /var/log/edgeemo \\
    --model {prefix}/current/model
"""
_PROPERTIES = (
    "ActiveState,SubState,Result,NRestarts,StatusText,InvocationID,ExecMainCode,ExecMainStatus,"
    "ExecMainPID,MemoryMax,NeedDaemonReload"
)
_POLL_S = 0.25
_LONGEST_WORDS = 200
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

    def take_up(self, *, reload: bool, config: Path | None) -> None:
        """Nothing is running, so nothing has to notice."""

    def observe(self, window_s: float) -> str:  # noqa: ARG002 - no time passes here
        """Return why the current release is not healthy, or an empty text."""
        with tempfile.TemporaryDirectory(prefix="edgeemo-health-") as folder:
            try:
                run_demo(self._layout.current.resolve(), Path(folder))
            except DeviceError as error:
                return str(error)
        return ""

    def keep_config(self, path: Path) -> None:
        """There is none."""

    def stop(self) -> None:
        """Nothing is running."""

    def remove(self) -> list[Path]:
        """Return what was removed outside the prefix: nothing was put there."""
        return []


class Systemd:
    """``edgeemo.service`` with the release's own unit files."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._before: dict[str, str] = {}
        self._reloaded = False

    def take_up(self, *, reload: bool, config: Path | None) -> None:
        """Install the current release's files, then restart the service, or let it re-read.

        Args:
            reload: the running process is to read the model anew, if nothing else has changed.
            config: becomes the configuration; None leaves the one that is there.
        """
        changed = self._install_files(config)
        self._before = _properties()
        if changed or self._before.get("NeedDaemonReload") == "yes":
            _run("systemctl", "daemon-reload")
            changed = True
        self._reloaded = (
            reload
            and not changed
            and self._before.get("ActiveState") == "active"
            and _succeeds("systemctl", "reload", SERVICE)
        )
        if self._reloaded:
            return
        _run("systemctl", "enable", "--quiet", SERVICE)
        _succeeds("systemctl", "reset-failed", SERVICE)
        _run("systemctl", "restart", "--no-block", SERVICE)

    def observe(self, window_s: float) -> str:
        """Watch the service; return why it is not healthy, or an empty text when it has held."""
        started = time.monotonic()
        trial = Trial(window_s, self._before, reload=self._reloaded)
        while True:
            now = _properties()
            problem = trial.judge(now, time.monotonic() - started)
            if problem:
                return problem + _last_words(now)
            if problem is not None:
                return ""
            time.sleep(_POLL_S)

    def keep_config(self, path: Path) -> None:
        """Copy the configuration aside, for the way back."""
        if CONFIG.is_file():
            _write(path, CONFIG.read_text("utf-8"), 0o600)

    def stop(self) -> None:
        """Stop the service, and let no boot start it."""
        _succeeds("systemctl", "disable", "--now", "--quiet", SERVICE)

    def remove(self) -> list[Path]:
        """Stop and take away what is outside the prefix; return what was removed."""
        _succeeds("systemctl", "disable", "--now", "--quiet", SERVICE, WATCHER)
        files = [_UNITS / WATCHER, *_SHIPPED.values()]
        removed = [path for path in files if path.exists()]
        for path in removed:
            path.unlink()
        with suppress(OSError):
            _SYSUSERS.parent.rmdir()  # a bare Debian has none
        for folder in (_UNITS / f"{SERVICE}.d", CONFIG.parent):
            if folder.is_dir():
                shutil.rmtree(folder)
                removed.append(folder)
        _run("systemctl", "daemon-reload")
        _succeeds("systemctl", "reset-failed", SERVICE, WATCHER)
        return removed

    def _install_files(self, config: Path | None) -> bool:
        """Put units and settings in their places; tell whether systemd has to read them anew.

        Whatever a power cut left undone is done by the next call.
        """
        units, prefix = self._layout.current.resolve() / "units", self._layout.prefix
        wanted = {_UNITS / f"{SERVICE}.d" / "10-deploy.conf": _DROP_IN}
        for name, target in _SHIPPED.items():
            if (units / name).is_file():
                text = (units / name).read_text("utf-8")
                wanted[target] = text.replace(_PREFIX, "{prefix}")
        changed = [
            _write(path, text.replace("{prefix}", str(prefix)).replace("{config}", str(CONFIG)))
            for path, text in wanted.items()
        ]
        if any(changed) or config is not None or not CONFIG.exists():
            _run("systemd-sysusers", str(_SYSUSERS))
            _run("systemd-tmpfiles", "--create", str(_TMPFILES))
            self._configure(config or units / "edgeemo.example.toml", replace=config is not None)
        return any(changed)

    def _configure(self, source: Path, *, replace: bool) -> None:
        """Write the configuration, which may hold a stream's password: for the service only."""
        if source.is_file() and (replace or not CONFIG.exists()):
            _write(CONFIG, source.read_text("utf-8"), 0o640, group="edgeemo")


def install_watcher(prefix: Path) -> None:
    """Have systemd try, at every boot, what is pending then."""
    if _write(_UNITS / WATCHER, _WATCHER_UNIT.format(prefix=prefix)):
        _run("systemctl", "daemon-reload")
    _run("systemctl", "enable", "--quiet", WATCHER)


def start_watcher() -> None:
    """Have systemd try what is pending now; nothing happens where that is so already."""
    _run("systemctl", "start", "--no-block", WATCHER)


def _last_words(now: dict[str, str]) -> str:
    """Return the last line that a process said which ended by itself."""
    if now.get("Result") != "exit-code":
        return ""
    command = ["journalctl", "--output=cat", "--lines=1", f"_PID={now.get('ExecMainPID', '0')}"]
    done = subprocess.run(
        [*command, f"_SYSTEMD_UNIT={SERVICE}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=30,
    )
    words = " ".join(done.stdout.decode("utf-8", "replace").split())
    return f" ({words[:_LONGEST_WORDS]})" if words else ""


def _write(path: Path, content: str, mode: int = 0o644, group: str | None = None) -> bool:
    """Write a file unless it holds just that; tell whether it did."""
    if path.is_file() and path.read_text("utf-8") == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    if group:
        shutil.chown(temporary, group=group)
    temporary.replace(path)
    sync_folder(path.parent)
    return True


def _properties() -> dict[str, str]:
    command = ["systemctl", "show", SERVICE, "-p", _PROPERTIES]
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
