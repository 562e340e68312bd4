"""From facts and a release to what will be done: pure, so that `--dry-run` says what push does."""

from dataclasses import dataclass

from deploy.facts import Facts, refusal
from deploy.release.archive import Item, Release

_UNPACKED = 4
"""How much larger wheels are when installed."""
_SPARE_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push will do to one device.

    Attributes:
        refusal: why nothing can be done; empty when something can.
        send: the files that the device has not yet.
        install: the release is not on the device as a whole.
        activate: the release does not run there yet.
        reload: only the model differs from what runs: the service re-reads, without a restart.
        sudo: the device's commands need root.
        service: ``systemd`` or ``none``.
        window_s: how long the device watches the new release.
    """

    refusal: str = ""
    send: tuple[Item, ...] = ()
    install: bool = False
    activate: bool = False
    reload: bool = False
    sudo: bool = False
    service: str = "none"
    window_s: float = 60.0

    @property
    def is_nothing(self) -> bool:
        """Tell whether the device is as it should be already."""
        return not (self.refusal or self.install or self.activate)

    @property
    def send_bytes(self) -> int:
        """How much goes over."""
        return sum(item.size for item in self.send)


def make_plan(facts: Facts, release: Release, *, with_service: bool, window_s: float) -> Plan:
    """Compute what a push will do; nothing when it is done already.

    Args:
        facts: of the device.
        release: for it.
        with_service: whether it shall run as a service.
        window_s: how long the device watches the release before it counts as good.
    """
    kept = {(entry["path"], entry["sha256"]) for entry in facts.release.get("files", [])}
    is_whole = release.name in facts.releases
    # The program that installs and switches is always sent; of the rest, what is not there yet.
    send = [
        item
        for item in {item.sha256: item for item in release.items}.values()
        if item.sha256 == release.agent
        or not (is_whole or item.sha256 in facts.wheels or (item.path, item.sha256) in kept)
    ]
    send = [
        item
        for item in send
        if item.sha256 == release.agent or facts.staged.get(item.sha256) != item.size
    ]
    plan = Plan(
        refusal=_refusal(facts, release, is_whole=is_whole, with_service=with_service),
        send=tuple(send),
        install=not is_whole,
        activate=not (is_whole and facts.current == release.name and _is_good(facts, release)),
        reload=_differs_in_model_only(facts, release),
        sudo=not facts.root and (with_service or not facts.writable),
        service="systemd" if with_service else "none",
        window_s=window_s,
    )
    return Plan(refusal=plan.refusal) if plan.refusal else plan


def plan_lines(plan: Plan, facts: Facts, release: Release) -> list[str]:
    """Say what will be done, a line a step."""
    if plan.refusal:
        return [f"cannot: {plan.refusal}"]
    if plan.is_nothing:
        return [f"nothing to do: release {release.name} is there and good"]
    lines = []
    if plan.install:
        lines.append(f"send {len(plan.send)} files, {plan.send_bytes / 1e6:.1f} MB")
        lines.append(f"build release {release.name} (model {release.model}) beside the running one")
        lines.append("preflight: hashes, imports, golden outputs, a run on the demo's face")
    if plan.activate:
        before = facts.current or "nothing"
        lines.append(f"switch current from {before} to {release.name}")
        if plan.service == "none":
            lines.append("no service: run the demo once, else go back")
        else:
            verb = "re-read the model" if plan.reload else "restart the service"
            lines.append(f"{verb}, watched by the device for {plan.window_s:g} s, else go back")
    return lines


def _refusal(facts: Facts, release: Release, *, is_whole: bool, with_service: bool) -> str:
    if reason := refusal(facts):
        return reason
    if facts.pending:
        return f"release {facts.pending.get('release')} is being tried; wait for its verdict"
    if with_service and not facts.systemd:
        return "systemd does not run there; --no-service installs without a service"
    if not facts.root and not facts.sudo and (with_service or not facts.writable):
        return (
            f"{facts.user} may not use sudo without a password, and a service is installed as "
            "root; give --ask-sudo-password, allow it, push as root, or give --no-service and a "
            "--prefix of the user's own"
        )
    wheels = sum(i.size for i in release.items if i.path.startswith("wheels/"))
    new_wheels = sum(
        item.size
        for item in release.items
        if item.path.startswith("wheels/") and item.sha256 not in set(facts.wheels)
    )
    need = wheels * _UNPACKED * bool(new_wheels) + 2 * new_wheels + _SPARE_BYTES
    if not is_whole and facts.free_bytes < need:
        return (
            f"{facts.free_bytes / 1e6:.0f} MB free, the release needs {need / 1e6:.0f} MB beside "
            "the running one; free some space"
        )
    return ""


def _is_good(facts: Facts, release: Release) -> bool:
    good = facts.state.get("good", [])
    return bool(good) and good[-1] == release.name


def _differs_in_model_only(facts: Facts, release: Release) -> bool:
    """Foretell what ``deploy/device/activate.py`` will find, by the same rule."""
    running = {
        (entry["path"], entry["sha256"])
        for entry in facts.release.get("files", [])
        if not entry["path"].startswith("model/")
    }
    wanted = {(i.path, i.sha256) for i in release.items if not i.path.startswith("model/")}
    gone = {path for path, _ in running - wanted}
    return bool(running) and wanted <= running and gone <= {"config/edgeemo.toml"}
