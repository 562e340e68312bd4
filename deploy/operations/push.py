"""One device: facts, plan, files, install, switch, and the verdict that the device comes to."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from deploy.errors import ConnectionLostError, DeployError
from deploy.facts import LONGEST_WINDOW_S, Facts, decode, probe
from deploy.release.archive import Contents, Release, build_release
from deploy.release.device_wheel import requirements
from deploy.release.plan import Plan, make_plan, plan_lines
from deploy.release.wheelhouse import kind_of, wheelhouse
from deploy.ssh.agent import agent_command, clear_staging, run_agent, send_files
from deploy.ssh.targets import Target
from deploy.ssh.transport import Device

Status = Literal["done", "unchanged", "planned", "rolled back", "failed", "not tried"]
Report = Callable[[str], object]

_INSTALL_TIMEOUT_S: Final = 2400
POLL_S: Final = 1.0
PATIENCE_S: Final = 300.0
"""How much longer than the window a device may take to decide."""
_DEAF_TIMES: Final = 3
"""So many questions in a row may go without an answer while a device decides."""


@dataclass(frozen=True, slots=True)
class Options:
    """How devices are reached and what is wanted of them.

    Attributes:
        prefix: where edgeemo is on the device.
        with_service: install and restart the systemd service.
        window_s: how long a device watches a new release.
        dry_run: only say what would be done.
        constraints: tested versions of the wheels.
        ssh_config: instead of the user's own.
        accept_new: accept host keys that are not known yet (a changed one, never).
        sudo_password: for devices where sudo asks for one; it is shown nowhere.
    """

    prefix: str = "/opt/edgeemo"
    with_service: bool = True
    window_s: float = 60.0
    dry_run: bool = False
    constraints: Path | None = None
    ssh_config: Path | None = None
    accept_new: bool = False
    sudo_password: str | None = field(default=None, repr=False)

    def connect(self, target: Target) -> Device:
        """Return the way to a device."""
        return Device(
            target,
            ssh_config=self.ssh_config,
            accept_new=self.accept_new,
            sudo_password=self.sudo_password,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to one device."""

    target: str
    status: Status
    detail: str

    @property
    def is_good(self) -> bool:
        """Tell whether the device is as it was asked to be."""
        return self.status in {"done", "unchanged", "planned"}


def read_facts(device: Device, prefix: str) -> Facts:
    """Ask a device what it is; nothing is written there.

    Raises:
        DeployError: it has no python3, did not answer, or does not accept the sudo password.
    """
    facts = decode(device.run(["python3", "-", prefix], stdin=probe()))
    if facts.root or facts.sudo:
        return facts
    return msgspec.structs.replace(facts, sudo=device.may_sudo())


def push(target: Target, contents: Contents, options: Options, report: Report) -> Outcome:
    """Bring a release to one device.

    Raises:
        DeployError: it could not be done; what ran before runs still.
        BundleError: the model's bundle is damaged.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        if facts.pending and not options.dry_run:
            facts = _settled(device, facts, options, report)
        release, plan = prepare_release(contents, facts, options, report)
        if plan.refusal:
            raise DeployError(plan.refusal)
        if plan.is_nothing:
            return Outcome(str(target), "unchanged", f"release {release.name} is there and good")
        for line in plan_lines(plan, facts, release):
            report(line)
        if options.dry_run:
            return Outcome(str(target), "planned", f"release {release.name}")
        _send(device, facts, release, plan)
        _install(device, facts, release, plan, options.prefix)
        return _verdict(device, target, release.name, options)


def wait_for_verdict(device: Device, prefix: str, window_s: float) -> Facts:
    """Return the facts when nothing is being tried any more.

    Raises:
        DeployError: the device cannot be asked several times in a row, or takes far too long.
    """
    deadline = time.monotonic() + min(window_s, LONGEST_WINDOW_S) + PATIENCE_S
    failures = 0
    while True:
        try:
            facts = read_facts(device, prefix)
        except DeployError:  # busy with the new release, or its network hiccups
            failures += 1
            if failures == _DEAF_TIMES:
                raise
        else:
            failures = 0
            if facts.pending is None:
                return facts
        if time.monotonic() > deadline:
            raise DeployError("no verdict in time; the device goes on, ask `edgeemo deploy status`")
        time.sleep(POLL_S)


def _settled(device: Device, facts: Facts, options: Options, report: Report) -> Facts:
    """Return the facts once an earlier push, perhaps one that was cut, has its verdict."""
    pending = facts.pending or {}
    report(f"release {pending.get('release')} is still being tried; waiting for its verdict")
    run_agent(device, facts, options.prefix, "resume")
    return wait_for_verdict(device, options.prefix, float(pending.get("window_s", 0)))


def prepare_release(
    contents: Contents, facts: Facts, options: Options, report: Report
) -> tuple[Release, Plan]:
    """Put together the release for a device, and what would be done to bring it there.

    Raises:
        DeployError: no release can go there, or its wheels cannot be had.
        BundleError: the model's bundle is damaged.
    """
    from deploy.facts import refusal

    if reason := refusal(facts):  # before wheels are looked for that do not exist
        raise DeployError(reason)
    wheels = wheelhouse(kind_of(facts), requirements(), options.constraints, report)
    release = build_release(contents, wheels, facts)
    plan = make_plan(facts, release, with_service=options.with_service, window_s=options.window_s)
    return release, plan


def _send(device: Device, facts: Facts, release: Release, plan: Plan) -> None:
    files = {item.sha256: item.content() for item in plan.send}
    if plan.install:
        files[release.digest] = release.manifest
    send_files(device, facts, files)


def _install(device: Device, facts: Facts, release: Release, plan: Plan, prefix: str) -> None:
    if plan.install:
        words = agent_command(facts, release.agent, "install", prefix)
        words += ["--digest", release.digest, "--staging", facts.staging]
        device.run(words, sudo=plan.sudo, timeout_s=_INSTALL_TIMEOUT_S)
    words = agent_command(facts, release.agent, "activate", prefix)
    words += ["--release", release.name, "--service", plan.service]
    words += ["--window", str(plan.window_s)]
    try:
        device.run(words, sudo=plan.sudo)
        clear_staging(device, facts)
    except ConnectionLostError as error:
        raise DeployError(
            f"{error}; if release {release.name} is being tried, the device continues on its own"
        ) from error


def _verdict(device: Device, target: Target, name: str, options: Options) -> Outcome:
    try:
        facts = wait_for_verdict(device, options.prefix, options.window_s)
    except DeployError as error:
        raise DeployError(
            f"{error}; release {name} is being tried, and the device continues on its own"
        ) from error
    if facts.state.get("good", [])[-1:] == [name] and facts.current == name:
        return Outcome(str(target), "done", f"release {name} runs and is good")
    problem = facts.state.get("failed", {}).get(name, {}).get("problem", "no reason was noted")
    back = f"went back to {facts.current}" if facts.current else "nothing to go back to, stopped"
    return Outcome(str(target), "rolled back", f"release {name}: {problem}; {back}")
