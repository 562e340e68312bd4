"""A whole Debian in an emulated PC to try things in, for the scripts beside this one; see vm.sh."""

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from debian_container import HERE, SceneError, must, until

PATIENCE_S = 420.0
"""How long anything is waited for; never reached when all is well, even on a busy machine."""
NAME = "edgepc"
"""What ssh calls it, by the configuration that is made here."""


class EmulatedPc:
    """A booted copy of a Debian; leaving the block pulls the plug and removes the copy.

    Attributes:
        ssh_config: how ssh, and whatever reads its configuration, gets in: ``edgepc``.
    """

    def __init__(self, debian: Path) -> None:
        self._debian = debian
        self._folder = Path(tempfile.mkdtemp(prefix="edgepc-", dir=debian.parent))
        # Short, for a socket's path has an end.
        self._control = Path(tempfile.mkdtemp(prefix="edgepc-"))
        self._port = _free_port()
        self._machine: subprocess.Popen[bytes] | None = None
        self.ssh_config = self._folder / "ssh_config"
        self.ssh_config.write_text(
            f"Host {NAME}\n HostName 127.0.0.1\n Port {self._port}\n"
            f" IdentityFile {debian / 'key'}\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self._folder / 'known_hosts'}\n"
            " StrictHostKeyChecking accept-new\n ConnectTimeout 20\n ServerAliveInterval 20\n"
        )

    def __enter__(self) -> "EmulatedPc":
        try:
            self.boot()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def boot(self) -> float:
        """Switch it on and return the seconds until its systemd says that the start is done."""
        with (self._folder / "qemu.log").open("ab") as log:
            self._machine = subprocess.Popen(
                # Even a script that is killed takes the machine with it.
                ["setpriv", "--pdeathsig", "KILL", str(HERE / "vm.sh"), "boot",
                 str(self._debian), str(self._folder / "disk"), str(self._port)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.wait_until_up()

    def wait_until_up(self) -> float:
        """Wait until its systemd says that the start is done, and return the seconds."""

        def is_up() -> bool:
            if self._machine is None or self._machine.poll() is not None:
                raise SceneError(f"the PC has ended: {(self._folder / 'qemu.log').read_text()}")
            state = self.try_run("systemctl is-system-running").stdout.strip()
            return state in {"running", "degraded"}

        return until(is_up, "the PC is up", PATIENCE_S)

    def power_cut(self) -> None:
        """Pull the plug: the emulator is killed, and with it all that the disk had not flushed."""
        if self._machine is not None:
            self._machine.kill()
            self._machine.wait()
        self._hang_up()

    def reboot(self) -> float:
        """Reboot and return the seconds until its systemd says that the start is done."""
        started = time.monotonic()
        before = self.boot_id()
        self.try_run("systemctl reboot")
        self._hang_up()
        until(lambda: self.boot_id() not in {"", before}, "another boot", PATIENCE_S)
        self.wait_until_up()
        return time.monotonic() - started

    def boot_id(self) -> str:
        """Return what tells this boot from any other; nothing while it cannot be asked."""
        return self.try_run("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def remove(self) -> None:
        """Pull the plug and leave nothing behind."""
        self.power_cut()
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._control, ignore_errors=True)
        print("[the PC is gone]")

    def try_run(self, command: str, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a shell line inside, over a connection that is kept for the next one."""
        return subprocess.run(
            ["ssh", "-q", "-F", str(self.ssh_config), "-o", "BatchMode=yes", "-l", user,
             "-o", "ControlMaster=auto", "-o", f"ControlPath={self._control}/%r",
             "-o", "ControlPersist=600", NAME, command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=PATIENCE_S,
        )  # fmt: skip

    def run(self, command: str, user: str = "root") -> str:
        """Run a shell line inside; it must succeed."""
        done = self.try_run(command, user)
        must(
            done.returncode == 0,
            f"`{command}`: exit {done.returncode}: {done.stderr.strip() or done.stdout}",
        )
        return done.stdout.strip()

    def console(self) -> str:
        """Return what it has said on its serial line."""
        path = self._folder / "disk.console"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _hang_up(self) -> None:
        for control in self._control.iterdir():
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["ssh", "-q", "-o", f"ControlPath={control}", "-O", "exit", NAME],
                    stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=10,
                )  # fmt: skip
            control.unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
