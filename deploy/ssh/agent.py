"""The device's own program: sent, run with the rights that it needs, and taken away again."""

import hashlib
from collections.abc import Mapping
from typing import Final

from deploy.errors import DeployError
from deploy.facts import Facts
from deploy.release.archive import agent_program
from deploy.ssh.transport import Device

_TIMEOUT_S: Final = 300
_CHECKED: Final = """\
import hashlib, runpy, sys
with open(sys.argv[2], "rb") as file:
    if hashlib.sha256(file.read()).hexdigest() != sys.argv[1]:
        sys.exit("the program that was sent has been altered; push again")
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program only if it is the one that was sent: a name and a size are no proof."""


def agent_command(facts: Facts, agent: str, verb: str, prefix: str) -> list[str]:
    """Return the words that let the device's program, sent before, do something.

    Args:
        facts: of the device.
        agent: the program's SHA-256, which is its name, too, and is checked.
        verb: what it shall do.
        prefix: where edgeemo is on the device.
    """
    program = f"{facts.staging}/{agent}"
    return ["python3", "-I", "-c", _CHECKED, agent, program, verb, "--prefix", prefix]


def send_files(device: Device, facts: Facts, files: Mapping[str, bytes]) -> None:
    """Send contents by their SHA-256 to the user's own folder on the device."""
    device.run(["mkdir", "-p", "-m", "700", "--", facts.staging])
    for sha256, content in files.items():
        device.put(content, f"{facts.staging}/{sha256}")


def clear_staging(device: Device, facts: Facts) -> None:
    """Delete what was sent, once it is in its place, and a cache that holds nothing else."""
    tidy = 'rm -rf -- "$1"; rmdir -- "${1%/*}" 2>/dev/null || true'
    device.run(["sh", "-c", tidy, "sh", facts.staging])


def run_agent(
    device: Device, facts: Facts, prefix: str, verb: str, words: tuple[str, ...] = ()
) -> str:
    """Send the device's program, let it do something, and take it away again.

    Raises:
        DeployError: it failed, or it would need root and may not have it.
    """
    program = agent_program()
    name = hashlib.sha256(program).hexdigest()
    with_service = facts.state.get("service") == "systemd"
    needs_root = not facts.root and (with_service or not facts.writable)
    if needs_root and not facts.sudo:
        raise DeployError(
            f"{facts.user} may not use sudo without a password; give --ask-sudo-password, allow "
            "it, or be root"
        )
    send_files(device, facts, {name: program})
    try:
        command = [*agent_command(facts, name, verb, prefix), *words]
        return device.run(command, sudo=needs_root, timeout_s=_TIMEOUT_S)
    finally:
        clear_staging(device, facts)
