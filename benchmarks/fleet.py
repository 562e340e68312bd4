"""How long `edgeemo deploy push` takes for each of many devices, as more are done at a time.

    python benchmarks/fleet.py [--hosts 50] [--batches 1,5,10,25,50]     as root (mount namespaces)
    python benchmarks/fleet.py --hosts 500 --batches 50,100,200,500 --idle

Every simulated host is an sshd on a loopback port in a mount namespace of its own, in which the
same prefix is another folder, so that all are installed and tried as 50 devices are, without a
service. They share the processor with the workstation's side: on real devices the part that is
theirs (the preflight, the demo's run) takes place at the same time. Hence the workstation's own
processor time stands beside.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SSHD = "/usr/sbin/sshd"
SEED = "seed"
"""The device name in the configuration that all hosts have at first."""
_LOOK_S = 0.1
LEAST = 5
"""Pushes to fewer devices than these are repeated on others, for a mean."""


@dataclass(frozen=True)
class Cost:
    """What one command took.

    Seconds by the clock and of its processor, its memory in MB, and the most descriptors that it
    was seen with.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    descriptors: int


class Fleet:
    """Simulated hosts; each one a folder that it sees as the prefix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = folder / "device"
        self.prefix.mkdir()
        self.names: list[str] = []
        # A copy: an edit of the checkout in mid-run would be another release.
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("edge", "edgeemo", "deploy", "systemd"):
            shutil.copytree(TOP / name, folder / "checkout" / name, ignore=ignored)
        shutil.copy(TOP / "constraints.txt", folder / "checkout")
        for key in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key]
            subprocess.run(command, check=True)
        shutil.copy(folder / "user.pub", folder / "authorized")
        (folder / "ssh_config").write_text(
            f"Host 127.0.0.1\n IdentityFile {folder}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known\n"
        )

    def place(self, name: str) -> Path:
        """Return the folder that a host sees as the prefix."""
        return self.folder / f"host-{name}"

    def add(self, stack: ExitStack, seed: str | None = None) -> str:
        """Start a host, empty or with what another one has, and return its name, a port."""
        name = self._free_port()
        place = self.place(name)
        if seed is None:
            place.mkdir()
        else:
            # Links, not copies: nothing that is installed is ever written to again.
            subprocess.run(["cp", "-al", self.place(seed), place], check=True)
            (place / ".lock").unlink()
        (self.folder / f"cache-{name}").mkdir()
        options = {
            "Port": name, "ListenAddress": "127.0.0.1", "HostKey": f"{self.folder}/host",
            "PidFile": "none", "AuthorizedKeysFile": f"{self.folder}/authorized",
            "StrictModes": "no", "UsePAM": "no", "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password", "Subsystem": "sftp internal-sftp",
            "SetEnv": f"XDG_CACHE_HOME={self.folder}/cache-{name}",
        }  # fmt: skip
        words = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        script = 'mount --bind "$0" "$1"; shift; exec "$@"'
        server = subprocess.Popen(
            # Behind the workstation's side, which devices do not take the processor from.
            ["nice", "-n", "9", "setpriv", "--pdeathsig", "KILL",
             "unshare", "--mount", "--propagation", "private", "--pid", "--fork",
             "--kill-child", "--mount-proc", "sh", "-c", script, place, self.prefix,
             SSHD, "-D", "-f", "/dev/null", *words],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(server.wait)
        stack.callback(server.kill)  # and with it all that it has started
        self.names.append(name)
        return name

    def _free_port(self) -> str:
        """Return a port that no host has, not even one whose sshd has yet to take it."""
        while True:
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", 0))
                name = str(listener.getsockname()[1])
            if name not in self.names:
                return name

    def push(self, names: list[str], device: str, batch: int) -> tuple[Cost, str]:
        """Push to these hosts; the configuration's device name makes a release another one."""
        inventory, config = self.folder / "inventory", self.folder / "edgeemo.toml"
        inventory.write_text("".join(f"root@127.0.0.1:{name}\n" for name in names))
        config.write_text(f'[log]\ndevice = "{device}"\n')
        command = [sys.executable, "-m", "edgeemo", "deploy", "push", "--no-service"]
        command += ["--inventory", str(inventory), "--batch", str(batch), "--config", str(config)]
        command += ["--prefix", str(self.prefix), "--ssh-config", str(self.folder / "ssh_config")]
        began = time.monotonic()
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                [*command, "--accept-new"],
                cwd=self.folder / "checkout",
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            descriptors = 0
            while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
                with suppress(OSError):
                    descriptors = max(
                        descriptors, sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())
                    )
                time.sleep(_LOOK_S)
            _, status, usage = ended
            process.returncode = os.waitstatus_to_exitcode(status)
            wall_s = time.monotonic() - began
            said.seek(0)
            text = said.read()
        if process.returncode != 0:
            failed = [line for line in text.splitlines() if ": done: " not in line]
            raise SystemExit("\n".join([f"push: exit {process.returncode}", *failed[-50:]]))
        cpu_s = usage.ru_utime + usage.ru_stime
        return Cost(wall_s, cpu_s, usage.ru_maxrss / 1000, descriptors), text


@contextmanager
def started(hosts: int) -> Iterator[Fleet]:
    """Yield a fleet whose hosts all have the same release."""
    # In memory: 50 devices do not wait for one disk.
    place = "/dev/shm"
    with tempfile.TemporaryDirectory("", "edgeemo-fleet-", place) as name, ExitStack() as stack:
        fleet = Fleet(Path(name))
        first = fleet.add(stack)
        time.sleep(1)
        cost, _ = fleet.push([first], SEED, 1)
        print(f"first installation, one host: {cost.wall_s:.1f} s, of them {cost.cpu_s:.1f} s CPU "
              "of the workstation's side\n")  # fmt: skip
        for _ in range(hosts - 1):
            fleet.add(stack, seed=first)
        time.sleep(2)
        yield fleet


def rounds(fleet: Fleet, batch: int) -> list[list[str]]:
    """Return the hosts of one batch, or of a few where it is small."""
    names = fleet.names[: max(batch, LEAST)]
    return [names[i : i + batch] for i in range(0, len(names), batch)]


def idle(fleet: Fleet, batch: int) -> Cost:
    """Return what a push takes that finds nothing to do, for each host."""
    costs = []
    for names in rounds(fleet, batch):
        cost, said = fleet.push(names, SEED, batch)
        if said.count(": unchanged: ") != len(names):
            raise SystemExit(f"expected nothing to do:\n{said}")
        costs.append(cost)
    return per_host(costs, sum(map(len, rounds(fleet, batch))))


def reloaded(fleet: Fleet, batch: int) -> Cost:
    """Return what a new release takes for each host of one batch."""
    costs = [
        fleet.push(names, f"batch-{batch}-{number}", batch)[0]
        for number, names in enumerate(rounds(fleet, batch))
    ]
    return per_host(costs, sum(map(len, rounds(fleet, batch))))


def per_host(costs: list[Cost], hosts: int) -> Cost:
    """Return the mean for a host; memory and descriptors are the highest of all."""
    return Cost(
        sum(cost.wall_s for cost in costs) / hosts,
        sum(cost.cpu_s for cost in costs) / hosts,
        max(cost.peak_mb for cost in costs),
        max(cost.descriptors for cost in costs),
    )


def main() -> None:
    """Print the table for docs/deploy.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--batches", default="1,5,10,25,50")
    parser.add_argument("--idle", action="store_true", help="only pushes with nothing to do")
    options = parser.parse_args()
    batches = [int(word) for word in options.batches.split(",")]
    if os.geteuid() != 0 or not Path(SSHD).exists():
        raise SystemExit(
            "needs root, for mount namespaces, and sshd: apt-get install openssh-server"
        )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with started(options.hosts) as fleet:
        # First all that changes nothing, for every host must have the same release there.
        quiet = {batch: idle(fleet, batch) for batch in batches}
        print("| at a time | new release, s per host | CPU s of ours | nothing to do, s per host "
              "| CPU s of ours | MB | descriptors |\n|---|---|---|---|---|---|---|")  # fmt: skip
        for batch in batches:
            idled = quiet[batch]
            new = None if options.idle else reloaded(fleet, batch)
            told = "| |" if new is None else f"{new.wall_s:.2f} | {new.cpu_s:.2f} |"
            most = [idled] if new is None else [idled, new]
            print(
                f"| {batch} | {told} {idled.wall_s:.2f} | {idled.cpu_s:.2f} | "
                f"{max(one.peak_mb for one in most):.0f} | "
                f"{max(one.descriptors for one in most)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
