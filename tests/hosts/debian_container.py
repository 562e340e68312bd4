"""A booted Debian to try things in, for the scripts beside this one; see container.sh."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE_S = 120.0
"""How long anything is waited for; never reached when all is well."""
STOP_S = 30.0
ASKS_FOR_REBOOT = 133
"""How systemd-nspawn ends when it is to be started again, as systemd-nspawn@.service does."""


class SceneError(Exception):
    """Something is not as it must be."""


class NotBootedError(SceneError):
    """It has no process 1 yet."""


def until(what: Callable[[], object], name: str, patience_s: float = PATIENCE_S) -> float:
    """Wait for ``what`` to hold and return the seconds that it took."""
    started = time.monotonic()
    while not what():
        if time.monotonic() - started > patience_s:
            raise SceneError(f"not within {patience_s:.0f} s: {name}")
        time.sleep(0.1)
    return time.monotonic() - started


def must(holds: object, what: str) -> None:
    """Fail with ``what`` unless it holds."""
    if not holds:
        raise SceneError(what)


class Container:
    """A booted copy of a Debian; leaving the block shuts it down and removes it.

    Args:
        debian: as made by container.sh.
        netns: the network namespace that it is in; a closed one of its own if None.
        number: tells the containers of one process apart.
    """

    def __init__(self, debian: Path, netns: str | None = None, number: int = 0) -> None:
        self.name = f"edgeemo-{number}-{os.getpid()}"
        self.root = debian.with_name(f"service-debian-{number}-{os.getpid()}")
        self._debian = debian
        self._netns = netns
        self._manager: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Container":
        try:
            subprocess.run(["cp", "-a", "--reflink=auto", self._debian, self.root], check=True)
            self._boot()
            self.wait_until_up()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _boot(self) -> None:
        with self.root.with_suffix(".console").open("ab") as console:
            self._manager = subprocess.Popen(
                # Even a script that is killed takes the container with it.
                ["setpriv", "--pdeathsig", "KILL", *self._boot_command()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def _boot_command(self) -> tuple[str, ...]:
        words = (str(HERE / "container.sh"), "boot", str(self.root), self.name)
        return (*words, self._netns) if self._netns else words

    def reboot(self) -> float:
        """Reboot and return the seconds until its systemd says that the start is done."""
        started = time.monotonic()
        self.try_run("systemctl reboot")
        code = self._manager.wait(PATIENCE_S) if self._manager else None
        must(code == ASKS_FOR_REBOOT, f"the container ended with {code} instead of a reboot")
        self._boot()
        self.wait_until_up()
        return time.monotonic() - started

    def power_cut(self) -> float:
        """Pull the plug, put it in again; return the seconds until the start is done."""
        if self._manager is not None:
            self._manager.kill()
            self._manager.wait()
        started = time.monotonic()
        self._boot()
        self.wait_until_up()
        return time.monotonic() - started

    def remove(self) -> None:
        """Shut it down and leave nothing behind."""
        if self._manager is not None:
            with suppress(SceneError, ProcessLookupError, subprocess.TimeoutExpired):
                os.kill(self._nspawn(), signal.SIGTERM)
                self._manager.wait(STOP_S)
            self._manager.kill()
            self._manager.wait()
        for controller in ("memory", "pids", "cpu", "cpuacct"):
            top = Path("/sys/fs/cgroup") / controller / self.name
            for group in sorted(top.rglob("*/"), reverse=True) if top.is_dir() else ():
                group.rmdir()
            if top.is_dir():
                top.rmdir()
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.with_suffix(".console").unlink(missing_ok=True)
        print(f"[the container {self.name} is gone]")

    def leader(self) -> int:
        """Return the process that is number 1 inside."""
        return _only_child(self._nspawn())

    def _nspawn(self) -> int:
        if self._manager is None or self._manager.poll() is not None:
            raise SceneError("the container has ended")
        return _only_child(self._manager.pid)

    def try_run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell line inside, as root."""
        target = str(self.leader())
        return subprocess.run(
            [
                "nsenter", "--target", target, "--mount", "--uts", "--ipc", "--net", "--pid",
                "--cgroup", "--root", "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8", "SYSTEMD_COLORS=0", "SYSTEMD_PAGER=cat", "sh", "-c", command,
            ],
            capture_output=True, text=True, check=False, timeout=PATIENCE_S * 2,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """Run a shell line inside; it must succeed."""
        done = self.try_run(command)
        if done.returncode != 0:
            raise SceneError(
                f"`{command}`: exit {done.returncode}: {done.stderr.strip() or done.stdout}"
            )
        return done.stdout.strip()

    def wait_until_up(self) -> None:
        """Wait until systemd says that the start is done."""

        def is_up() -> bool:
            try:
                state = self.try_run("systemctl is-system-running").stdout.strip()
            except NotBootedError:
                return False
            return state in {"running", "degraded"}

        until(is_up, "the container is up")


def _only_child(pid: int) -> int:
    try:
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (OSError, ValueError) as error:
        raise NotBootedError("the container has no process 1") from error
    return int(child)
