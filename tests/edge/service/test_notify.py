"""What the service manager hears, on a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.service.notify import Notifier


class Clock:
    """Seconds that pass when told to."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Manager:
    """The other end: a datagram socket as systemd has."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.address = address

    def heard(self) -> list[dict[str, str]]:
        """Return what has come since the last time."""
        messages = []
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return messages
            messages.append(dict(line.split("=", 1) for line in text.split("\n")))


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@edgeemo-test-{os.getpid()}"
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield manager
    manager.socket.close()


def test_a_life_is_told_in_systemds_words(manager):
    """Start, reload and end, as sd_notify(3) spells them; a reload carries the kernel's clock."""
    notifier = Notifier(manager.address, watchdog_s=30.0)
    notifier.ready("waiting")
    notifier.reloading()
    notifier.ready("reloaded")
    notifier.stopping("signal")
    start, reload, again, end = manager.heard()
    assert start == {"READY": "1", "WATCHDOG": "1", "STATUS": "waiting"}
    assert reload["RELOADING"] == "1"
    assert int(reload["MONOTONIC_USEC"]) > 0
    assert again["READY"] == "1"
    assert (end["STOPPING"], end["STATUS"]) == ("1", "stopping: signal")


@pytest.mark.parametrize(("watchdog_s", "pause_s"), [(8.0, 2.0), (30.0, 5.0), (None, 5.0)])
def test_progress_is_told_now_and_then(manager, watchdog_s, pause_s):
    """At most every quarter of the watchdog's time or 5 s, with the seconds since the last one."""
    clock = Clock()
    notifier = Notifier(manager.address, watchdog_s, clock)
    pauses = []
    for _ in range(41):  # ten seconds and a bit
        clock.now_s += 0.25
        notifier.progress(lambda pause_s: pauses.append(pause_s) or "well")
    heard = manager.heard()
    assert len(heard) == len(pauses) == int(10.25 / pause_s)
    assert pauses == [pause_s] * len(pauses)
    assert all(message["STATUS"] == "well" for message in heard)
    assert all(("WATCHDOG" in message) == (watchdog_s is not None) for message in heard)


def test_a_reason_can_not_speak_for_the_service(manager):
    """A line break in a message stays within its line."""
    Notifier(manager.address).stopping("error: first line\nREADY=1")
    assert manager.heard() == [{"STOPPING": "1", "STATUS": "stopping: error: first line READY=1"}]


@pytest.mark.parametrize(
    ("pid", "microseconds", "has_watchdog"),
    [
        (None, "30000000", True),
        (os.getpid(), "30000000", True),
        (os.getpid() + 1, "30000000", False),  # meant for our parent
        (None, None, False),
        (None, "0", False),
        (None, "soon", False),
    ],
    ids=["any process", "this process", "its parent", "no watchdog", "zero", "no number"],
)
def test_the_environment_tells_who_listens(manager, pid, microseconds, has_watchdog):
    """The variables of sd_watchdog_enabled(3) are minded, and kept from child processes."""
    said = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_PID": pid, "WATCHDOG_USEC": microseconds}
    environment = {key: str(value) for key, value in said.items() if value is not None}
    Notifier.from_environment(environment).ready("up")
    assert environment == {}
    (message,) = manager.heard()
    assert ("WATCHDOG" in message) == has_watchdog


def test_nobody_listening_is_no_error(tmp_path):
    """Without a manager nothing is sent; one that has gone does not disturb the service."""
    for notifier in (Notifier(), Notifier(str(tmp_path / "gone"), 1.0)):
        notifier.ready("up")
        notifier.progress(lambda _: "well")
        notifier.stopping("signal")
    assert list(tmp_path.iterdir()) == []


def test_a_manager_that_does_not_read_does_not_hold_up_the_camera(manager):
    """A full socket drops the message."""
    notifier = Notifier(manager.address)
    for _ in range(2 + int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())):
        notifier.stopping("full")
    assert manager.heard()
