"""Workers are started over ssh, and all reach each other through it alone."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyinfra")
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

WORKER = """
import socket, sys
from host_training.distributed.cluster import cluster_of_environment, split_address
from host_training.distributed.team import Team

cluster = cluster_of_environment()
with Team(cluster, lambda line: None) as team:
    team.gather(b"ready")
    if team.index == 1:
        with socket.create_server(("127.0.0.1", split_address(cluster.addresses[1])[1])) as server:
            team.gather(b"listening")
            connection, _ = server.accept()
            heard = connection.recv(100)
    else:
        team.gather(b"")
        with socket.create_connection(split_address(cluster.addresses[1])) as connection:
            connection.sendall(b"from worker %d" % team.index)
        heard = b"nothing"
    team.gather(heard)
"""

CHIEF = """
import sys
from pathlib import Path
from edge.errors import EdgeEmoError
from edgeemo.remote_workers import remote_workers
from host_training.distributed.cluster import cluster_of_environment
from host_training.distributed.team import Team

try:
    with remote_workers(sys.argv[2].split(","), sys.argv[3:], Path(sys.argv[1])):
        with Team(cluster_of_environment(), lambda line: None) as team:
            team.gather(b"ready")
            team.gather(b"")
            print(team.gather(b"chief"), flush=True)
except EdgeEmoError as error:
    print(error, file=sys.stderr, flush=True)
    sys.exit(error.exit_code)
"""


@pytest.fixture
def ssh_config(cables: list[Any], tmp_path: Path) -> Iterator[Path]:
    """Return ssh's configuration for ``one`` and ``two``, two machines that forward ports."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(command, check=True)
    shutil.copy(tmp_path / "user.pub", tmp_path / "authorized")
    addresses = [place.address.rpartition(":")[0] for place in cables]
    host_key = (tmp_path / "host.pub").read_text()
    known = "".join(f"{address} {host_key}" for address in addresses)
    (tmp_path / "known_hosts").write_text(known)
    (tmp_path / "config").write_text(
        "".join(
            f"Host {name}\n  HostName {address}\n  User root\n  IdentityFile {tmp_path}/user\n"
            f"  IdentitiesOnly yes\n  UserKnownHostsFile {tmp_path}/known_hosts\n"
            for name, address in zip(("one", "two"), addresses[1:], strict=True)
        )
    )
    (tmp_path / "sshd_config").write_text(
        f"Port 22\nHostKey {tmp_path}/host\nPidFile none\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {tmp_path}/authorized\nPasswordAuthentication no\n"
        f"SetEnv PYTHONPATH={Path.cwd()}\n"
    )
    with ExitStack() as stack:
        for place in cables[1:]:
            words = [*place.prefix, str(SSHD), "-D", "-f", str(tmp_path / "sshd_config")]
            server = stack.enter_context(
                subprocess.Popen([*words, "-E", str(tmp_path / "log")], start_new_session=True)
            )
            stack.callback(server.terminate)
        for address in addresses[1:]:
            _wait_for(cables[0].prefix, address)
        yield tmp_path / "config"


def _wait_for(prefix: tuple[str, ...], address: str) -> None:
    program = f"import socket; socket.create_connection(('{address}', 22), 1)"
    for _ in range(200):
        done = subprocess.run(
            [*prefix, sys.executable, "-c", program], capture_output=True, check=False
        )
        if done.returncode == 0:
            return
        time.sleep(0.05)
    pytest.fail("sshd does not answer")


def chief(cables: list[Any], config: Path, hosts: str, *words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [*cables[0].prefix, sys.executable, "-c", CHIEF, str(config), hosts, *words],
        env={key: value for key, value in os.environ.items() if key != "TF_CONFIG"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_all_reach_each_other_through_ssh(cables: list[Any], ssh_config: Path) -> None:
    """The chief meets both workers, and one worker the other, on ports of the loopback alone."""
    words = (sys.executable, "-c", WORKER)
    code, out, err = chief(cables, ssh_config, "one,two", *words)
    assert (code, err) == (0, "")
    assert out == "[b'chief', b'from worker 2', b'nothing']\n"


@pytest.mark.parametrize(
    ("hosts", "words", "told"),
    [
        ("one", ("no-such-edgeemo", "train"), "one: "),
        ("one,nowhere.invalid", (sys.executable,), "--workers: nowhere.invalid: "),
        ("one,,two", (sys.executable,), "expected HOST,HOST"),
    ],
)
def test_what_cannot_be_started_is_told(
    cables: list[Any], ssh_config: Path, hosts: str, words: tuple[str, ...], told: str
) -> None:
    """A machine that is not there, or has no edgeemo, ends the run at once, by its name."""
    code, _, err = chief(cables, ssh_config, hosts, *words)
    assert code in (1, 2)
    assert told in err
