"""Workers on other machines: started over ssh, with the ports of all led through it.

``remote_workers`` runs this module as a process of its own, beside the one that trains: pyinfra's
way of waiting (gevent) and TensorFlow's threads do not go together. All addresses are of the
loopback, and each worker's port is the same number everywhere: on its own machine the worker
listens there, elsewhere a tunnel does, through this machine.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from edge.errors import ConfigError, EdgeEmoError
from host_training.distributed.channel import Channel, End

_READY: Final = "ready"
_FOREVER_S: Final = 1e8
_LEAVE_S: Final = 30.0
_TRIES: Final = 300


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be started where.

    Attributes:
        hosts: of the other workers, as ssh knows them.
        ports: of all workers, this machine's first.
        command: words that are edgeemo's there, and its arguments.
        folder: where it is run.
        ssh_config: the user's own when None.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    command: tuple[str, ...]
    folder: str
    ssh_config: str | None = None


def tf_config(ports: Sequence[int], index: int) -> str:
    """Return ``TF_CONFIG`` of one worker."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


@contextmanager
def remote_workers(
    hosts: Sequence[str], command: Sequence[str], ssh_config: Path | None
) -> Iterator[None]:
    """Have the other workers started, and make this process their chief, until the block is left.

    Args:
        hosts: as ssh knows them.
        command: words that are edgeemo's there, and its arguments.
        ssh_config: the user's own when None.

    Raises:
        ConfigError: no host, or this process is a worker already.
        EdgeEmoError: a host cannot be reached, or forwards no ports.
    """
    if not hosts or not all(hosts):
        raise ConfigError("--workers: expected HOST,HOST as ssh knows them, got none or a gap")
    if os.environ.get("TF_CONFIG"):
        raise ConfigError("--workers and TF_CONFIG both name the workers; leave one of them out")
    plan = Plan(
        hosts=tuple(hosts),
        ports=tuple(_free_ports(len(hosts) + 1)),
        command=tuple(command),
        folder=str(Path.cwd()),
        ssh_config=None if ssh_config is None else str(ssh_config),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeemo.remote_workers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        into, out = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
        into.write(msgspec.json.encode(plan).decode() + "\n")
        into.flush()
        answer = out.readline().strip()
        if answer != _READY:
            raise EdgeEmoError(f"--workers: {answer or 'the other workers could not be started'}")
        os.environ["TF_CONFIG"] = tf_config(plan.ports, 0)
        yield
    finally:
        os.environ.pop("TF_CONFIG", None)
        with process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_LEAVE_S)
            process.kill()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(own.getsockname()[1]) for own in sockets]
    for own in sockets:
        own.close()
    return ports


def main() -> None:
    """Be the process that holds the connections: a plan on stdin, ``ready`` or a reason on stdout.

    It ends when stdin does.
    """
    from deploy.ssh.targets import parse_target
    from deploy.ssh.transport import Device, use_gevent

    use_gevent()
    plan = msgspec.json.decode(sys.stdin.readline(), type=Plan)
    ssh_config = None if plan.ssh_config is None else Path(plan.ssh_config)
    with ExitStack() as stack:
        devices = []
        for index, host in enumerate(plan.hosts, 1):
            try:
                device = Device(parse_target(host), ssh_config=ssh_config, accept_new=False)
                devices.append(stack.enter_context(device))
                elsewhere = [port for port in plan.ports if port != plan.ports[index]]
                device.join_ports(elsewhere, [plan.ports[index]])
            except EdgeEmoError as error:
                print(f"{host}: {error}", flush=True)  # noqa: T201 - read by the other process
                return
        print(_READY, flush=True)  # noqa: T201
        runs = [
            threading.Thread(target=_run, args=(plan, index, device), daemon=True)
            for index, device in enumerate(devices, 1)
        ]
        for run in runs:
            run.start()
        _wait_for_end()
        for run in runs:
            run.join(_LEAVE_S / 2)


def _run(plan: Plan, index: int, device: Any) -> None:
    """Run one worker to its end; where it fails, tell the chief, which may still wait for it."""
    go = 'cd -- "$1" && shift && exec env "$@"'
    variable = f"TF_CONFIG={tf_config(plan.ports, index)}"
    words = ["sh", "-c", go, "sh", plan.folder, variable, *plan.command]
    try:
        with device.stream(words, stdin="", timeout_s=_FOREVER_S) as output:
            output.rest()
    except EdgeEmoError as error:
        reason = f"{plan.hosts[index - 1]}: {error}"
        print(f"edgeemo: {reason}", file=sys.stderr, flush=True)  # noqa: T201
        _tell_chief(plan.ports[0], reason)


def _tell_chief(port: int, reason: str) -> None:
    """Say so where the chief waits for its workers, or will in a moment."""
    for _ in range(_TRIES):
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                Channel(connection).send(End(reason))
        except OSError:
            time.sleep(0.2)
        else:
            return


def _wait_for_end() -> None:
    """Wait for the end of stdin, and let the connections work meanwhile."""
    from gevent.socket import wait_read

    while True:
        wait_read(sys.stdin.fileno())
        if not os.read(sys.stdin.fileno(), 1):
            return


if __name__ == "__main__":
    main()
