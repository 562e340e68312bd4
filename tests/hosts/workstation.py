"""A workstation and a wire to a device: two network namespaces, ssh keys, `edgeemo deploy`.

Nothing of it can be reached from this machine's own networks, and it reaches none of them.
"""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from debian_container import SceneError, must

NOBODY = "10.77.0.9"


def address(number: int) -> str:
    """Return a device's address; each is at the end of a wire of its own."""
    return f"10.77.{number}.2"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Wire:
    """Network namespaces and cables between them; leaving the block removes all."""

    def __init__(self) -> None:
        self.near = f"edgeemo-near-{os.getpid()}"
        self._far: list[str] = []

    def __enter__(self) -> "Wire":
        _ip("netns", "add", self.near)
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.near, *self._far):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def lay(self, number: int) -> str:
        """Lay a cable to a new device's namespace and return its name."""
        far, near_end = f"edgeemo-far{number}-{os.getpid()}", f"wire{number}"
        _ip("netns", "add", far)
        self._far.append(far)
        peer = ("type", "veth", "peer", "eth0", "netns", far)
        _ip("-n", self.near, "link", "add", near_end, *peer)
        here = address(number).removesuffix(".2") + ".1"
        for name, device, own in ((self.near, near_end, here), (far, "eth0", address(number))):
            _ip("-n", name, "addr", "add", f"{own}/24", "dev", device)
            for one in ("lo", device):
                _ip("-n", name, "link", "set", one, "up")
        return far

    def cut(self) -> None:
        """Pull the plug: nothing goes through, and nobody is told."""
        _ip("-n", self.near, "link", "set", "wire0", "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("-n", self.near, "link", "set", "wire0", "up")


@dataclass
class Workstation:
    """Where `edgeemo deploy` runs: its ssh configuration, its keys, and all that it has printed.

    Attributes:
        wire: to the device.
        folder: for keys and configuration.
        program: the `edgeemo` of an installation from the wheel.
    """

    wire: Wire
    folder: Path
    program: Path
    said: list[str] = field(default_factory=list)

    def make_keys(self, host_key: str, authorized: list[Path]) -> None:
        """Make the user's key and let it in; know the device, and one that is an impostor."""
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "scenes", "-f"]
        for name in ("user", "other"):
            subprocess.run([*keygen, str(self.folder / name)], check=True)
        public, other = (self.folder / f"{name}.pub" for name in ("user", "other"))
        for path in authorized:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(public.read_text())
        addresses = (NOBODY, *map(address, range(4)))
        (self.folder / "known").write_text("".join(f"{one} {host_key}\n" for one in addresses))
        (self.folder / "known.wrong").write_text(f"{address(0)} {other.read_text()}")
        self._write_config()

    def _write_config(self) -> None:
        users = ("pi", "plain", "asked", "cramped", "old32", "i686")
        hosts = {user: (user, address(0), "known") for user in users}
        hosts |= {f"pi{n}": ("pi", address(n), "known") for n in (1, 2, 3)}
        hosts |= {
            "impostor": ("pi", address(0), "known.wrong"),
            "stranger": ("pi", address(0), "known.none"),
            "gone": ("pi", NOBODY, "known"),
        }
        text = f"IdentityFile {self.folder}/user\nIdentitiesOnly yes\n"
        for name, (user, where, known) in hosts.items():
            text += f"Host {name}\n  HostName {where}\n  User {user}\n"
            text += f"  UserKnownHostsFile {self.folder}/{known}\n"
        (self.folder / "config").write_text(text)

    @property
    def enter(self) -> list[str]:
        """The words that start a command at this end of the wire."""
        return ["nsenter", f"--net=/run/netns/{self.wire.near}"]

    def command(self, *words: str) -> list[str]:
        """Return the command line of `edgeemo deploy` with these words, at this end of the wire."""
        return self.edgeemo("deploy", *words)

    def edgeemo(self, *words: str) -> list[str]:
        """Return the command line of `edgeemo` with these words, at this end of the wire."""
        config = ["--ssh-config", str(self.folder / "config")]
        return [*self.enter, str(self.program), *words, *config]

    def deploy(self, *words: str, code: int = 0, stdin: str | None = None) -> str:
        """Run `edgeemo deploy`; return what it printed, which must end with this exit code."""
        done = subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, input=stdin
        )
        self.said.append(done.stdout + done.stderr)
        if done.returncode != code:
            raise SceneError(
                f"`deploy {' '.join(words)}`: exit {done.returncode} instead of {code}:\n"
                f"{self.said[-1]}"
            )
        return done.stdout.strip()

    def start(self, *words: str, stdin: str | None = None) -> subprocess.Popen[str]:
        """Begin `edgeemo deploy`."""
        process = subprocess.Popen(
            self.command(*words),
            stdin=None if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin)
            process.stdin.flush()
        return process

    def forget(self, process: subprocess.Popen[str]) -> str:
        """Wait for its end and return what it printed."""
        text, _ = process.communicate(timeout=120)
        self.said.append(text)
        return text

    def check_discretion(self) -> None:
        """No key, no path of this machine and no traceback in all that was printed."""
        private = ["PRIVATE KEY", "Traceback", str(self.folder), str(self.program.parents[2])]
        private += [str(Path.home() / ".ssh"), str(Path.home() / ".cache")]
        for text in self.said:
            for word in private:
                must(word not in text, f"{word!r} is printed:\n{text}")
