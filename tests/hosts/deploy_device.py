"""The device at the other end of the wire, as the deploy scenes look at it from outside."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from debian_container import Container, SceneError, must, until
from service_scenes import Service

PREFIX = "opt/edgeemo"
STAGING = "home/pi/.cache/edgeemo-deploy"
_USERS = ("pi", "plain", "asked", "cramped", "old32", "i686")
PASSWORD = "Tr0ub4dor&3 'ne\"w $HOME"
"""Of ``asked``, who has to give it to sudo."""
_BARE = "python3-venv python3.11-venv python3-pip-whl python3-setuptools-whl"


class Device:
    """A container with sshd, and what a push has done to it."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self.root = container.root
        self.prefix = container.root / PREFIX
        self.service = Service(container)

    def prepare(self, debian32: Path) -> str:
        """Make it bare, and let users in, one of them to a 32-bit system; return its host key."""
        run = self.container.run
        run(f"dpkg --purge --force-depends {_BARE} 2>/dev/null")
        for user in _USERS:
            run(f"useradd --create-home --shell /bin/sh --password '*' {user}")
        run(f"printf '%s\\n' {shlex.quote(f'asked:{PASSWORD}')} | chpasswd")
        may = [user for user in _USERS if user not in {"plain", "asked"}]
        sudoers = "\n".join(f"{user} ALL=(ALL) NOPASSWD: ALL" for user in may)
        sudoers += "\nasked ALL=(ALL) ALL"
        (self.root / "etc/sudoers.d/scenes").write_text(sudoers + "\n")
        (self.root / "etc/sudoers.d/scenes").chmod(0o440)
        self._make_misfits(debian32)
        run("systemctl start ssh")
        return (self.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().strip()

    def _make_misfits(self, debian32: Path) -> None:
        """Let one user see another processor, and one a 32-bit system."""
        shell = self.root / "usr/local/bin/i686"
        shell.write_text('#!/bin/sh\nexec setarch i686 /bin/sh "$@"\n')
        shell.chmod(0o755)
        self.container.run("usermod --shell /usr/local/bin/i686 i686")
        shutil.copytree(debian32, self.root / "srv/old32", symlinks=True)
        rules = "Match User old32\n  ChrootDirectory /srv/old32\n"
        (self.root / "etc/ssh/sshd_config.d/old32.conf").write_text(rules)

    def authorized(self) -> list[Path]:
        """Return where the workstation's key is to be put."""
        homes = [self.root / "home" / user for user in _USERS]
        return [home / ".ssh" / "authorized_keys" for home in (*homes, self.root / "root")]

    def let_in(self) -> None:
        """Give the keys to their users."""
        for user in _USERS:
            self.container.run(f"chown -R {user}: /home/{user}/.ssh")

    @property
    def current(self) -> str:
        """The release that ``current`` points to; nothing where there is none."""
        link = self.prefix / "current"
        return link.readlink().name if link.is_symlink() else ""

    def json(self, name: str) -> dict:
        """Return what a file of the prefix holds."""
        try:
            return json.loads((self.prefix / name).read_text())
        except FileNotFoundError:
            return {}

    @property
    def good(self) -> list[str]:
        """The good releases, the last one last."""
        return self.json("state.json").get("good", [])

    def releases(self) -> set[str]:
        """Return the folders of releases, whole or not."""
        return {path.name for path in (self.prefix / "releases").glob("*")}

    def is_deciding(self) -> bool:
        """Tell whether something is being tried."""
        return (self.prefix / "pending.json").exists()

    def wait_for_verdict(self) -> float:
        """Wait until nothing is tried any more."""
        return until(lambda: not self.is_deciding(), "the device's verdict")

    def processes(self, *words: str) -> list[int]:
        """Return processes inside whose command line has one of these, as this side counts."""
        space = Path(f"/proc/{self.container.leader()}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if any(word in line for word in words) and (entry / "ns/pid").readlink() == space:
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def knows(self, secret: str) -> list[str]:
        """Return where a secret is to be seen in processes: their words or their environments."""
        space = Path(f"/proc/{self.container.leader()}/ns/pid").readlink()
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdecimal() and (entry / "ns/pid").readlink() == space:
                    told = [entry / name for name in ("cmdline", "environ")]
                    found += [str(one) for one in told if secret.encode() in one.read_bytes()]
        return found

    def kill_remote_side(self) -> None:
        """End sshd's sessions and all that they have started, at once, without a word."""
        for number in self.processes("sshd: pi", "edgeemo-deploy/", "python3 - /opt/edgeemo"):
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)

    def must_be_whole(self, allowed: set[str]) -> None:
        """One of these releases is current, whole, and runs with frames; nothing else does."""
        must(self.current in allowed, f"{self.current!r} is current, expected one of {allowed}")
        release = self.prefix / "releases" / self.current
        must((release / "release.json").is_file(), "the current release is whole")
        until(self.service.is_running, "the service runs")
        self.service.wait_for_more()

    def files(self) -> set[str]:
        """Return all files and folders that could tell of edgeemo, but for logs of the system.

        Left out, too, is what systemd-sysusers has begun when a scene kills it: `/etc/.#group...`.
        """
        found = self.container.run(
            "find / -xdev -not -path '/proc/*' -not -path '/run/*' -not -path '/tmp/*'"
            " -not -path '/var/log/journal*' -not -path '/var/tmp/*' -not -path '/etc/.#*'"
        )
        return set(found.splitlines())


def seen(what: object, process: subprocess.Popen[str], name: str) -> None:
    """Wait for a moment in a push, looking often; a push that ends before it is a failure."""
    deadline = time.monotonic() + 120
    while not what():  # type: ignore[operator]
        if process.poll() is not None and not what():  # type: ignore[operator]
            raise SceneError(f"the push ended before: {name}\n{process.communicate()[0]}")
        if time.monotonic() > deadline:
            raise SceneError(f"never seen: {name}")
        time.sleep(0.002)
