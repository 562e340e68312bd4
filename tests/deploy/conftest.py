"""A real sshd on the loopback, with keys of its own, and the command as a user runs it."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Box:
    """A device that is this machine, reached by ssh as ``box``; edgeemo goes below ``prefix``."""

    ssh_config: Path
    prefix: Path
    staging: Path

    def command(self, *words: str) -> list[str]:
        """Return the command line of `edgeemo deploy` with these words."""
        options = ["--ssh-config", str(self.ssh_config)]
        options += ["--prefix", str(self.prefix)] if words[0] != "logs" else []
        return [sys.executable, "-m", "edgeemo", "deploy", *words, *options]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False)

    def push(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Push to this device, without a service."""
        return self.run("push", "box", "--no-service", "--window", "1", *words)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_name(f"{path.name}.pub").read_text()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    """A folder with keys and ssh configuration, and the port where sshd answers."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    if importlib.util.find_spec("pyinfra") is None:
        pytest.skip("pyinfra is not installed: pip install 'edgeemo[deploy]'")
    folder = tmp_path_factory.mktemp("ssh")
    host_key, user_key = keygen(folder / "host"), keygen(folder / "user")
    (folder / "authorized").write_text(user_key)
    port = free_port()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        f"Subsystem sftp internal-sftp\nSetEnv XDG_CACHE_HOME={folder}/cache\n"
    )
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "config").write_text(
        f"Host box\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
        f"Host gone\n  HostName 127.0.0.1\n  Port {free_port()}\n"
    )
    command = [str(SSHD), "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")]
    with subprocess.Popen(command) as server:
        try:
            wait_for(port)
            yield folder, port
        finally:
            server.terminate()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("sshd does not answer")


@pytest.fixture(scope="module")
def box(sshd: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> Box:
    """An empty device."""
    folder, _ = sshd
    prefix = tmp_path_factory.mktemp("device") / "opt"
    return Box(folder / "config", prefix, folder / "cache" / "edgeemo-deploy")
