"""What a device has, beside what a release has: what a push would change, and what has drifted."""

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Annotated, Final

import msgspec

from deploy.errors import DeployError
from deploy.facts import Facts
from deploy.operations.push import Options, prepare_release, read_facts
from deploy.release.archive import Contents, Release
from deploy.ssh.targets import Target
from deploy.ssh.transport import Device

_TIMEOUT_S: Final = 600
_Path = Annotated[str, msgspec.Meta(max_length=4096)]
_Paths = Annotated[list[_Path], msgspec.Meta(max_length=100)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Drift(msgspec.Struct, frozen=True):
    """Files of a device that are not those of its release; at most a hundred of each kind by name.

    Attributes:
        files: how many were compared.
    """

    altered: _Paths
    missing: _Paths
    unreadable: _Paths
    altered_count: _Count
    missing_count: _Count
    unreadable_count: _Count
    files: _Count

    @property
    def is_none(self) -> bool:
        """All files are as the release has them."""
        return not (self.altered_count or self.missing_count)

    def lines(self) -> list[str]:
        """Return what is to be said of it."""
        kinds: Mapping[str, tuple[Sequence[str], int]] = {
            "altered": (self.altered, self.altered_count),
            "missing": (self.missing, self.missing_count),
            "cannot be read": (self.unreadable, self.unreadable_count),
        }
        said = [f"{kind}: {path}" for kind, (paths, _) in kinds.items() for path in paths]
        more = sum(count - len(paths) for paths, count in kinds.values())
        return [*said, f"and {more:,} more"] if more > 0 else said


def drift_of(device: Device, facts: Facts, prefix: str) -> Drift:
    """Compare a device's files with those of the release that runs there.

    Raises:
        DeployError: it cannot be asked.
    """
    program = resources.files("deploy.device").joinpath("drift.py").read_text("utf-8")
    sudo = facts.sudo and not facts.root
    words = ["python3", "-I", "-c", program, prefix]
    said = device.run(words, sudo=sudo, timeout_s=_TIMEOUT_S)
    last = said.strip().splitlines()[-1:] or [""]
    try:
        return msgspec.json.decode(last[0], type=Drift)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DeployError(f"the device answered something else than its files ({error})") from error


class Difference(msgspec.Struct, frozen=True):
    """What a push would change on a device.

    Attributes:
        lines: a line for each thing; none where nothing would change.
        drift: what has been altered there since the last push; such files of the release itself
            are put right by a push only where the release is built anew.
    """

    lines: list[str]
    drift: Drift | None


def difference(target: Target, contents: Contents, options: Options) -> Difference:
    """Return what a push would change on a device; nothing is sent but questions.

    Raises:
        DeployError: it cannot be asked, or no release can go there.
        BundleError: the model's bundle is damaged.
    """
    with options.connect(target) as device:
        facts = read_facts(device, options.prefix)
        release, plan = prepare_release(contents, facts, options, lambda _line: None)
        drift = drift_of(device, facts, options.prefix) if facts.current else None
    if plan.refusal:
        raise DeployError(plan.refusal)
    return Difference([] if plan.is_nothing else list(changes(facts, release)), drift)


def changes(facts: Facts, release: Release) -> Iterable[str]:
    """Yield what differs between the release that runs and another one, a line each."""
    yield f"release {facts.current or 'none'} -> {release.name}"
    before = {entry["path"]: entry["sha256"] for entry in facts.release.get("files", [])}
    after = {item.path: item.sha256 for item in release.items}
    old, new = _wheels(before), _wheels(after)
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"package {name}: {old.get(name, 'none')} -> {new.get(name, 'none')}"
        elif _hash(before, name) != _hash(after, name):
            yield f"package {name}: {new[name]}, another build"
    if (model := facts.release.get("model")) and model != release.model:
        yield f"model {model} -> {release.model}"
    for path in sorted(before.keys() | after.keys()):
        if path.startswith("wheels/") or before.get(path) == after.get(path):
            continue
        verb = "new" if path not in before else "gone" if path not in after else "changed"
        yield f"{verb}: {path}"


def _wheels(files: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of the wheels by their packages' names."""
    parts = [
        path.removeprefix("wheels/").split("-") for path in files if path.startswith("wheels/")
    ]
    return {name: version for name, version, *_ in (part for part in parts if len(part) > 1)}


def _hash(files: Mapping[str, str], package: str) -> str:
    return next((sum_ for path, sum_ in files.items() if path.startswith(f"wheels/{package}-")), "")
