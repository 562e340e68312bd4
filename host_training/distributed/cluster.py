"""``TF_CONFIG``: which workers a training run has, and which of them this process is.

The convention is TensorFlow's; Slurm's, Kubeflow's and TensorFlow's own launchers write it.
"""

import os
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from edge.errors import ConfigError

VARIABLE: Final = "TF_CONFIG"
_FIRST: Final = ("chief", "master")
"""The task that is the chief where it has a name of its own; ``master`` is the older one."""
_KINDS: Final = (*_FIRST, "worker")


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers of a run.

    Attributes:
        addresses: ``host:port`` of each, the chief first.
        index: of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Tell whether this process writes the run."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Return what a worker is called in messages."""
        return f"worker {index} ({self.addresses[index]})"


class _Task(msgspec.Struct):
    type: str = "worker"
    index: int = 0


class _Config(msgspec.Struct):
    cluster: dict[str, list[str]] = {}
    task: _Task = msgspec.field(default_factory=_Task)


def cluster_of_environment() -> Cluster | None:
    """Read ``TF_CONFIG``; None where it is not set, or names this one process only.

    Raises:
        ConfigError: it cannot be understood, or asks for parameter servers.
    """
    return read_cluster(os.environ.get(VARIABLE, ""))


def read_cluster(text: str) -> Cluster | None:
    """Read the text of ``TF_CONFIG``, see ``cluster_of_environment``.

    Raises:
        ConfigError: see there.
    """
    if not text.strip():
        return None
    try:
        config = msgspec.convert(msgspec.json.decode(text), _Config, strict=False)
    except msgspec.MsgspecError as error:
        raise _refused(f"{error}, got {text[:200]!r}") from error
    if others := sorted(set(config.cluster) - set(_KINDS)):
        raise _refused(
            f"tasks {', '.join(others)}: edgeemo trains synchronously, with chief and worker only"
        )
    return _placed(config)


def _placed(config: _Config) -> Cluster | None:
    addresses: list[str] = []
    own: int | None = None
    for kind in _KINDS:
        group = config.cluster.get(kind, [])
        if kind == config.task.type and 0 <= config.task.index < len(group):
            own = len(addresses) + config.task.index
        addresses += group
    for address in addresses:
        _check_address(address)
    if len(set(addresses)) < len(addresses):
        raise _refused("two workers have the same address")
    if addresses and own is None:
        raise _refused(
            f"no {config.task.type} {config.task.index} among its {len(addresses)} workers"
        )
    if len(addresses) < 2 or own is None:
        return None
    return Cluster(tuple(addresses), own)


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of a worker; the host of an IPv6 address is without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _check_address(address: Any) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise _refused(f"the worker address {address!r} is not host:port")


def _refused(what: str) -> ConfigError:
    return ConfigError(
        f"{VARIABLE}: {what}; expected "
        '\'{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}\', '
        "or unset it to train in this process alone"
    )
