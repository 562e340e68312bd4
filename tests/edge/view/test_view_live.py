"""The running service's socket, and the page that is attached to it."""

import asyncio
import gc
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.contract import logrecord
from edge.errors import EdgeEmoError, SinkError
from edge.view.access import rules
from edge.view.app import page
from edge.view.attach import Feed, Relay, over_ssh
from edge.view.live_socket import MOST_WATCHERS, LiveSocket
from edge.view.server import PageServer, listen
from tests.edge.view.events import Events
from tests.helpers import until

HEAD = {
    "time": "2026-01-31T12:00:00.000Z", "monotonic_s": 0.0, "seq": 0, "session": "s1",
    "device": "pi-3",
}  # fmt: skip
STARTED = logrecord.ServiceStarted(
    **HEAD, version="0.2", source="0", model="m", model_sha256="", mesher="litert", runtime="r",
    labels=("neutral", "happiness"),
)  # fmt: skip


class Watcher(Events):
    """One connection to the socket; iterating gives ``(kind, content)`` of its events."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")
        super().__init__(self.file)

    def close(self) -> None:
        """Go."""
        self.file.close()
        self.socket.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live"


@pytest.fixture
def live(path: Path) -> Iterator[LiveSocket]:
    with closing(LiveSocket(path)) as live:
        live.write(STARTED)
        yield live


def test_a_watcher_sees_what_the_pipeline_sees(live, path, result):
    """Who it is, what was before, then the newest mesh; no picture."""
    live.show(result(0))
    with closing(Watcher(path)) as watcher:
        hello = watcher.next("hello")
        assert hello["about"]["device"] == "pi-3"
        assert (hello["frames"], len(hello["history"])) == (False, 1)
        live.show(result(1))
        seen = watcher.next("seen")
        assert seen["faces"][0]["label"] == "happiness"
        assert len(seen["faces"][0]["points"]) == 2 * 478
        assert seen["health"]["viewers"] == 1
        assert "jpeg" not in seen


def test_the_socket_is_for_the_group(live, path):
    """Nobody else may watch, and it goes with the service."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    live.close()
    assert not path.exists()


def test_a_result_that_cannot_be_shown_ends_no_run(live, path, result, monkeypatch, caplog):
    """A defect of what watches is told in a line; the next result is shown."""
    from edge.view import messages

    made = messages.moment

    def picky(shown: Any) -> Any:
        if shown.frame.index == 0:
            raise ZeroDivisionError("a\nb")
        return made(shown)

    monkeypatch.setattr(messages, "moment", picky)
    assert live.show(result(0))
    assert "ZeroDivisionError: a b" in caplog.text
    with closing(Watcher(path)) as watcher:
        assert watcher.next("hello")
        assert live.show(result(1))
        assert watcher.next("seen")["index"] == 1


def test_a_watcher_that_talks_is_let_go(live, path, result):
    """Nothing is listened to, so nobody keeps the board busy with listening; the others stay."""
    with closing(Watcher(path)) as watcher, closing(Watcher(path)) as talker:
        for one in (watcher, talker):
            assert one.next("hello")
        talker.socket.sendall(b"x")
        until(lambda: live.watchers == 1)
        live.show(result(0))
        assert watcher.next("seen")["index"] == 0


def test_pictures_are_sent_where_the_configuration_says_so(path, result):
    """And only then; see above."""
    with closing(LiveSocket(path, pictures=True)) as live:
        live.write(STARTED)
        with closing(Watcher(path)) as watcher:
            assert watcher.next("hello")["frames"] is True
            live.show(result(0, image=np.zeros((48, 64, 3), np.uint8)))
            assert watcher.next("seen")["jpeg"]


def shown_and_dropped(live: LiveSocket, result: Any, index: int) -> "weakref.ref[Any]":
    """Show a result that nobody else holds, and return what tells whether its picture is kept."""
    picture = np.zeros((4, 5, 3), np.uint8)
    live.show(result(index, image=picture))
    return weakref.ref(picture)


def test_nothing_is_kept_or_computed_while_nobody_watches(live, path, monkeypatch, result):
    """Neither a result, nor an event; nor once the last watcher has gone."""
    made = []
    monkeypatch.setattr("edge.view.messages.seen", lambda *_, **__: made.append(1) or b":\n\n")
    unseen = [shown_and_dropped(live, result, 0)]
    watcher = Watcher(path)
    watcher.next("hello")
    live.show(result(1))
    until(lambda: made)
    watcher.close()
    until(lambda: not live.watchers)
    count = len(made)
    unseen.append(shown_and_dropped(live, result, 2))
    time.sleep(0.3)
    gc.collect()
    assert ([picture() for picture in unseen], len(made)) == ([None, None], count)


def test_the_camera_is_told_of_while_no_frame_comes(live, path, result):
    """Also to one who comes during the outage; and a new session says hello again."""
    live.write(logrecord.CameraLost(**HEAD, reason="unplugged"))
    with closing(Watcher(path)) as watcher:
        assert watcher.next("waiting")["reason"] == "unplugged"
        assert watcher.next("waiting")["lost_for_s"] > 0
        live.write(logrecord.CameraRestored(**HEAD, outage_s=1.0))
        live.show(result(0))
        assert watcher.next("seen")["index"] == 0
        live.write(logrecord.ServiceStarted(**{**_fields(STARTED), "session": "s2"}))
        assert watcher.next("hello")["about"]["session"] == "s2"
        live.close()
        assert watcher.next("ended")["reason"] == ""


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_a_watcher_that_reads_nothing_costs_the_others_nothing(live, path, result):
    """It misses events; one that is too many is turned away; those that go are forgotten."""
    idle = [Watcher(path) for _ in range(MOST_WATCHERS - 1)]
    with closing(Watcher(path)) as watcher:
        watcher.next("hello")
        for index in range(60):
            live.show(result(index))
            time.sleep(0.002)
        assert watcher.next("seen")["faces"]
        until(lambda: live.watchers == MOST_WATCHERS)
        with closing(Watcher(path)) as turned_away:
            assert turned_away.file.read() == b""
        for one in idle:
            one.close()
        until(lambda: live.watchers == 1)
        live.show(result(99))
        until(lambda: watcher.next("seen")["index"] == 99)


@pytest.mark.parametrize("what", ["file", "too long"])
def test_a_path_that_is_taken_is_refused(tmp_path, what):
    """A file is not removed for a socket; a path may be too long for one."""
    path = tmp_path / ("x" * 200 if what == "too long" else "live")
    if what == "file":
        path.write_text("mine")
    with pytest.raises(SinkError) as caught:
        LiveSocket(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_killed_run_left_is_replaced(path):
    """A socket that nobody listens at is no hindrance."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with closing(LiveSocket(path)) as live, closing(Watcher(path)):
        until(lambda: live.watchers == 1)


@pytest.fixture(params=["here", "by a command"])
def feed(request: pytest.FixtureRequest, path: Path) -> Feed:
    """The socket on this machine, and through the command that ssh runs on another one."""
    return Feed(path, () if request.param == "here" else ("sh", "-c"))


@pytest.fixture
def attached(feed: Feed, live: LiveSocket) -> Iterator[tuple[Relay, int]]:
    with ExitStack() as stack:
        sock = stack.enter_context(listen("127.0.0.1", 0))
        port = sock.getsockname()[1]
        relay = Relay(feed, frames=False)
        stack.enter_context(
            PageServer(page(relay, rules("127.0.0.1", port, None, ())), relay, sock)
        )
        yield relay, port


def test_a_page_is_attached_only_while_it_is_open(attached, live, result, open_page):
    """It gets the service's own events, and the service is left alone afterwards."""
    _, port = attached
    assert not live.watchers
    viewer = open_page(port)
    assert viewer.next("hello")["about"]["device"] == "pi-3"
    live.show(result(3))
    assert viewer.next("seen")["index"] == 3
    viewer.close()
    live.show(result(4))

    def is_left_alone() -> bool:
        live.show(result(5))
        return not live.watchers

    until(is_left_alone)


def test_a_page_outlives_the_service(attached, live, path, result, open_page):
    """A restart is waited for, and the page goes on."""
    _, port = attached
    viewer = open_page(port)
    viewer.next("hello")
    live.close()
    assert viewer.next("waiting")["reason"]
    with closing(LiveSocket(path)) as again:
        again.write(STARTED)
        assert viewer.next("hello")["about"]["device"] == "pi-3"
        again.show(result(7))
        assert viewer.next("seen")["index"] == 7


@pytest.mark.parametrize(
    "sent",
    [b"event: seen\ndata: no json\n\n", b"event: evil\ndata: {}\n\n", b"x" * (5 << 20),
     b"data: [1]\n\n", b"\xff\xfe\n\n", b"event: seen\ndata: " + b"[" * 100_000 + b"\n\n"],
    ids=["no JSON", "another kind", "without end", "no object", "no text", "nested without end"],
)  # fmt: skip
def test_a_hostile_service_is_let_go(path, sent, open_page):
    """What is no event of ours reaches no page."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(path))
        server.listen()
        sock = stack.enter_context(listen("127.0.0.1", 0))
        port = sock.getsockname()[1]
        relay = Relay(Feed(path), frames=False)
        stack.enter_context(
            PageServer(page(relay, rules("127.0.0.1", port, None, ())), relay, sock)
        )
        viewer = open_page(port)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b'event: hello\ndata: {"about": {"device": "<b>"}}\n\n')
            assert viewer.next("hello")["about"]["device"] == "<b>"
            with suppress(OSError):  # it may hang up before the end
                connection.sendall(sent)
            assert viewer.next("waiting")["reason"]


@pytest.mark.parametrize("ssh", [(), ("sh", "-c")])
def test_no_service_is_one_line_with_the_remedy(tmp_path, ssh):
    """Whether on this machine or on another one."""
    with pytest.raises(EdgeEmoError, match="systemctl start edgeemo") as caught:
        asyncio.run(Relay(Feed(tmp_path / "none", ssh), frames=False).check())
    assert "\n" not in str(caught.value)


def test_ssh_is_the_users_own():
    """With its configuration, and without questions that nobody would see."""
    words = over_ssh("pi@pi-3.lab", 2222, Path("my.conf"))
    assert words[0] == "ssh"
    assert words[-2:] == ("--", "pi@pi-3.lab")
    assert {"-oBatchMode=yes", "2222", "my.conf"} <= set(words)


def test_the_command_watches_a_run_as_users_start_it(tmp_path, free_port, open_page):
    """`edgeemo run` with a socket, `edgeemo view` beside it, and the mesh in the page."""
    here = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RUNTIME_DIRECTORY": str(tmp_path)}
    words = [sys.executable, "-m", "edgeemo"]
    run = [*words, "run", "--source", "demo:live", "--log-dir", str(tmp_path / "logs")]
    view = [*words, "view", "--socket", str(tmp_path / "live"), "--port", str(free_port)]
    with subprocess.Popen(run, env=here, stdout=subprocess.DEVNULL) as service:
        until(lambda: (tmp_path / "live").exists() or service.poll() is not None)
        until((tmp_path / "logs" / "edgeemo.jsonl").exists)
        with subprocess.Popen(view, env=here, stderr=subprocess.DEVNULL) as watching:

            def answers() -> bool:
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", free_port)) == 0

            until(answers)
            viewer = open_page(free_port)
            assert viewer.next("hello")["about"]["source"] == "demo:live"
            assert viewer.next("seen")["size"]
            watching.send_signal(signal.SIGINT)
            assert watching.wait(30) == 0
        service.send_signal(signal.SIGTERM)
        assert service.wait(30) == 0
    assert not (tmp_path / "live").exists()
