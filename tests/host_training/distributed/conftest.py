"""Where workers run: each in a network of its own where this is root, else all on the loopback."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

COUNT = 3


@dataclass(frozen=True)
class Place:
    """A machine, as far as the network is concerned.

    Attributes:
        address: ``host:port`` of its worker.
        prefix: words that run a command there.
        cable: words that take its network away; none on the loopback.
    """

    address: str
    prefix: tuple[str, ...] = ()
    cable: tuple[str, ...] = ()


@pytest.fixture
def places() -> Iterator[list[Place]]:
    """Return three places whose workers reach each other."""
    with ExitStack() as stack:
        yield _namespaces(stack) or _loopback()


@pytest.fixture
def cables(places: list[Place]) -> list[Place]:
    """Return places whose network can be taken away."""
    if not places[1].cable:
        pytest.skip("networks of their own need root and `ip`")
    return places


def _loopback() -> list[Place]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(COUNT)]
    addresses = [f"127.0.0.1:{own.getsockname()[1]}" for own in sockets]
    for own in sockets:
        own.close()
    return [Place(address) for address in addresses]


def _namespaces(stack: ExitStack) -> list[Place]:
    """Make a network for each, joined by a bridge in the first; none where that is not allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return []
    names = [f"edgeemo-{os.getpid()}-{index}" for index in range(COUNT)]
    hub = names[0]
    commands = [f"netns add {name}" for name in names]
    commands += [f"-n {name} link set lo up" for name in names]
    commands += [f"-n {hub} link add hub type bridge", f"-n {hub} address add 10.77.0.1/24 dev hub"]
    commands += [f"-n {hub} link set hub up"]
    for index, name in enumerate(names[1:], 1):
        commands += [
            f"-n {hub} link add to{index} type veth peer name net netns {name}",
            f"-n {hub} link set to{index} master hub up",
            f"-n {name} address add 10.77.0.{index + 1}/24 dev net",
            f"-n {name} link set net up",
        ]
    for name in names:
        stack.callback(_ip, f"netns delete {name}")
    if not all(_ip(command) for command in commands):
        return []
    return [
        Place(
            f"10.77.0.{index + 1}:5000",
            ("ip", "netns", "exec", name),
            ("ip", "-n", hub, "link", "set", f"to{index}", "down") if index else (),
        )
        for index, name in enumerate(names)
    ]


def _ip(command: str) -> bool:
    return not subprocess.run(["ip", *command.split()], capture_output=True, check=False).returncode
