"""What else can be done to a device: ask, go back, remove, follow its log."""

import hashlib
import shlex
import subprocess
from typing import Any, Final

from deploy.errors import DeployError
from deploy.facts import Facts
from deploy.push import (
    Options,
    Outcome,
    agent_command,
    clear_staging,
    read_facts,
    send_files,
    wait_for_verdict,
)
from deploy.release import agent_program
from deploy.targets import Target
from deploy.transport import Device

_REMOVE_TIMEOUT_S: Final = 300


def status(target: Target, options: Options) -> dict[str, Any]:
    """Return what runs on a device and how it came to it.

    Raises:
        DeployError: it can not be asked.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
    return {
        "target": str(target),
        "os": facts.os,
        "machine": facts.machine,
        "python": facts.python_version,
        "current": facts.current,
        "version": facts.release.get("version"),
        "model": facts.release.get("model"),
        "good": facts.state.get("good", []),
        "trying": (facts.pending or {}).get("release"),
        "failed": facts.state.get("failed", {}),
        "service": facts.service,
        "cameras": facts.cameras,
        "free_mb": facts.free_bytes // 1_000_000,
    }


def rollback(target: Target, options: Options) -> Outcome:
    """Go back to the good release before the current one, watched like a push.

    Raises:
        DeployError: there is none, or it can not be done.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        words = ["--window", str(options.window_s)]
        name = _agent(device, facts, options.prefix, "rollback", words).strip()
        facts = wait_for_verdict(device, options.prefix, options.window_s)
    if facts.current == name:
        return Outcome(str(target), "done", f"went back to release {name}")
    problem = facts.state.get("failed", {}).get(name, {}).get("problem", "no reason was noted")
    return Outcome(str(target), "rolled back", f"release {name}: {problem}; {facts.current} runs")


def remove(target: Target, options: Options, *, purge: bool) -> Outcome:
    """Take edgeemo off a device; its logs stay unless ``purge``.

    Raises:
        DeployError: it can not be done.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        if not facts.present:
            return Outcome(str(target), "unchanged", "edgeemo is not there")
        removed = _agent(
            device, facts, options.prefix, "remove", ["--purge"] if purge else []
        ).split()
    return Outcome(str(target), "done", f"removed {', '.join(removed)}")


def follow_logs(target: Target, options: Options, *, follow: bool, lines: int) -> int:
    """Show the service's diagnostics from the device's journal; return the exit code.

    Raises:
        DeployError: ssh is not installed here.
    """
    remote = ["journalctl", "--unit=edgeemo.service", "--no-pager", f"--lines={lines}"]
    remote += ["--follow"] if follow else []
    command = remote
    if not target.is_local:
        command = ["ssh"]
        command += ["-F", str(options.ssh_config)] if options.ssh_config else []
        command += ["-p", str(target.port)] if target.port is not None else []
        command += ["-l", target.user] if target.user else []
        command += ["--", target.host, shlex.join(remote)]
    try:
        return subprocess.call(command)
    except FileNotFoundError as error:
        raise DeployError(f"{command[0]} is not installed here") from error
    except KeyboardInterrupt:  # how following ends
        return 0


def _agent(device: Device, facts: Facts, prefix: str, verb: str, words: list[str]) -> str:
    """Send the device's program, let it do something, and take it away again."""
    program = agent_program()
    name = hashlib.sha256(program).hexdigest()
    with_service = facts.state.get("service") == "systemd"
    needs_root = not facts.root and (with_service or not facts.writable)
    if needs_root and not facts.sudo:
        raise DeployError(f"{facts.user} may not use sudo without a password; allow it, or be root")
    send_files(device, facts, {name: program})
    try:
        command = [*agent_command(facts, name, verb, prefix), *words]
        return device.run(command, sudo=needs_root, timeout_s=_REMOVE_TIMEOUT_S)
    finally:
        clear_staging(device, facts)
