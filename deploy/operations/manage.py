"""What else can be done to a device: ask, go back, remove, follow its log."""

import shlex
import subprocess
from typing import Any, BinaryIO, Final, cast

from deploy.errors import DeployError
from deploy.operations.compare import drift_of
from deploy.operations.push import Options, Outcome, Report, read_facts, wait_for_verdict
from deploy.ssh.agent import run_agent
from deploy.ssh.targets import Target

_LONGEST_LINE: Final = 1 << 16
# The system's journal is not for every user; without the right to sudo, what there is to be seen.
_AS_ROOT = (
    "sh", "-c", 'if sudo -n true 2>/dev/null; then exec sudo -n -- "$@"; else exec "$@"; fi', "sh",
)  # fmt: skip


def status(target: Target, options: Options, *, with_drift: bool = False) -> dict[str, Any]:
    """Return what runs on a device and how it came to it.

    Args:
        target: the device.
        options: how it is reached.
        with_drift: compare its files with those of its release, too.

    Raises:
        DeployError: it cannot be asked.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        drift = drift_of(device, facts, options.prefix) if with_drift and facts.current else None
    altered = {} if drift is None else {"drift": drift.altered_count + drift.missing_count}
    return {
        **altered,
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
        DeployError: there is none, or it cannot be done.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        words = ("--window", str(options.window_s))
        name = run_agent(device, facts, options.prefix, "rollback", words).strip()
        facts = wait_for_verdict(device, options.prefix, options.window_s)
    if facts.current == name:
        return Outcome(str(target), "done", f"went back to release {name}")
    problem = facts.state.get("failed", {}).get(name, {}).get("problem", "no reason was noted")
    return Outcome(str(target), "rolled back", f"release {name}: {problem}; {facts.current} runs")


def remove(target: Target, options: Options, *, purge: bool) -> Outcome:
    """Take edgeemo off a device; its logs stay unless ``purge``.

    Raises:
        DeployError: it cannot be done.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        if not facts.present:
            return Outcome(str(target), "unchanged", "edgeemo is not there")
        words = ("--purge",) if purge else ()
        said = run_agent(device, facts, options.prefix, "remove", words)
    return Outcome(str(target), "done", "; ".join(said.splitlines()))


def follow_logs(
    target: Target, options: Options, report: Report, *, follow: bool, lines: int
) -> int:
    """Show the service's diagnostics from the device's journal; return the exit code.

    Raises:
        DeployError: ssh is not installed here.
    """
    remote = [*_AS_ROOT, "journalctl", "--unit=edgeemo.service", "--no-pager", f"--lines={lines}"]
    remote += ["--follow"] if follow else []
    command = remote
    if not target.is_local:
        command = ["ssh"]
        command += ["-F", str(options.ssh_config)] if options.ssh_config else []
        command += ["-p", str(target.port)] if target.port is not None else []
        command += ["-l", target.user] if target.user else []
        command += ["--", target.host, shlex.join(remote)]
    try:
        # Its own complaints, and those of the device, come the same way.
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except FileNotFoundError as error:
        raise DeployError(f"{command[0]} is not installed here") from error
    with process:
        try:
            while line := cast("BinaryIO", process.stdout).readline(_LONGEST_LINE):
                report(line.decode("utf-8", "replace").rstrip("\n"))
            return process.wait()
        except KeyboardInterrupt:  # how following ends
            return 0
        finally:
            process.kill()
