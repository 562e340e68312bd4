"""A workstation and a wire to a device: two network namespaces, ssh keys, `edgeemo deploy`.

Nothing of it can be reached from this machine's own networks, and it reaches none of them.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from debian_container import SceneError, must

DEVICE, NOBODY = "10.77.0.2", "10.77.0.9"
_HERE = "10.77.0.1"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Wire:
    """Two network namespaces and a cable between them; leaving the block removes all three."""

    def __init__(self) -> None:
        self.near, self.far = f"edgeemo-near-{os.getpid()}", f"edgeemo-far-{os.getpid()}"

    def __enter__(self) -> "Wire":
        self._lay()
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    def _lay(self) -> None:
        for name in (self.near, self.far):
            _ip("netns", "add", name)
        _ip(
            "-n",
            self.near,
            "link",
            "add",
            "wire",
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            self.far,
        )
        for name, device, address in ((self.near, "wire", _HERE), (self.far, "eth0", DEVICE)):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", device)
            for one in ("lo", device):
                _ip("-n", name, "link", "set", one, "up")

    def cut(self) -> None:
        """Pull the plug: nothing goes through, and nobody is told."""
        _ip("-n", self.near, "link", "set", "wire", "down")

    def mend(self) -> None:
        """Put it in again."""
        _ip("-n", self.near, "link", "set", "wire", "up")


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
        known = f"{DEVICE} {host_key}\n{NOBODY} {host_key}\n"
        (self.folder / "known").write_text(known)
        (self.folder / "known.wrong").write_text(f"{DEVICE} {other.read_text()}")
        self._write_config()

    def _write_config(self) -> None:
        hosts = {
            "pi": ("pi", DEVICE, "known"),
            "plain": ("plain", DEVICE, "known"),
            "cramped": ("cramped", DEVICE, "known"),
            "old32": ("old32", DEVICE, "known"),
            "i686": ("i686", DEVICE, "known"),
            "root": ("root", DEVICE, "known"),
            "impostor": ("pi", DEVICE, "known.wrong"),
            "stranger": ("pi", DEVICE, "known.none"),
            "gone": ("pi", NOBODY, "known"),
        }
        text = f"IdentityFile {self.folder}/user\nIdentitiesOnly yes\n"
        for name, (user, address, known) in hosts.items():
            text += f"Host {name}\n  HostName {address}\n  User {user}\n"
            text += f"  UserKnownHostsFile {self.folder}/{known}\n"
        (self.folder / "config").write_text(text)

    def command(self, *words: str) -> list[str]:
        """Return the command line of `edgeemo deploy` with these words, at this end of the wire."""
        enter = ["nsenter", f"--net=/run/netns/{self.wire.near}"]
        config = ["--ssh-config", str(self.folder / "config")]
        return [*enter, str(self.program), "deploy", *words, *config]

    def deploy(self, *words: str, code: int = 0) -> str:
        """Run `edgeemo deploy`; return what it printed, which must end with this exit code."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, check=False)
        self.said.append(done.stdout + done.stderr)
        if done.returncode != code:
            raise SceneError(
                f"`deploy {' '.join(words)}`: exit {done.returncode} instead of {code}:\n"
                f"{self.said[-1]}"
            )
        return done.stdout.strip()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin `edgeemo deploy`."""
        return subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

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


def copy_bundle(source: Path, target: Path, note: str) -> Path:
    """Make another model bundle: the same but for its card, with sums that hold."""
    import hashlib

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    with (target / "MODEL_CARD.md").open("a") as card:
        card.write(f"\n{note}\n")
    names = sorted(path.name for path in target.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((target / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (target / "SHA256SUMS").write_text("".join(lines))
    return target


def wait_for(what: "subprocess.Popen[str]", seconds: float) -> None:
    """Give a process so long to end by itself."""
    deadline = time.monotonic() + seconds
    while what.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
