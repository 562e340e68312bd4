"""A neighbour who can connect, and does: what it costs, and what it cannot stop."""

import contextlib
import socket

import numpy as np
import pytest

from edge.view import app, door
from edge.view.hub import MAX_VIEWERS
from tests.helpers import until

TOKEN = "a-token-of-some-length"
EVENTS = "GET /events HTTP/1.1\r\nHost: localhost\r\n"


def connected(port: int, text: str = "") -> socket.socket:
    """Connect and send something."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(text.encode("latin-1"))
    return sock


def is_open(sock: socket.socket) -> bool:
    """Tell whether the other end has not gone; what it has sent is read and forgotten."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


def read_all(sock: socket.socket) -> bytes:
    """Read what comes before the other end goes, however it goes."""
    answer = b""
    with sock, contextlib.suppress(ConnectionResetError):
        while block := sock.recv(1 << 16):
            answer += block
    return answer


@pytest.mark.parametrize("token", [None, TOKEN])
@pytest.mark.parametrize(
    ("sent", "drip"),
    [
        ("", ""),
        ("G", ""),
        (EVENTS, ""),
        (EVENTS, "a"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", ""),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", "a"),
        ("POST /view.css HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "1"),
        ("GET /view.css HTTP/1.1\r\nHost: localhost\r\n\r\n", "\r\n"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "G"),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 1_000_000, "x"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00"),
    ],
)  # fmt: skip
def test_who_does_not_ask_loses_the_place(serve, monkeypatch, token, sent, drip):
    """Silent, slow in the headers, slow in the body, idle after an answer: gone within seconds."""
    monkeypatch.setattr(door, "REQUEST_S", 0.3)
    monkeypatch.setattr(door, "IDLE_S", 0.3)
    served = serve(token=token)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(connected(served.port))

        def is_gone() -> bool:
            with contextlib.suppress(BlockingIOError):
                try:
                    sock.sendall(drip.encode("latin-1"))
                except OSError:
                    return True
            return not is_open(sock)

        with contextlib.suppress(OSError):  # it need not take all of that
            sock.sendall(sent.encode("latin-1"))
        until(is_gone)
        assert served.get("/icon.svg")[0] == 200


def test_silent_connections_lock_nobody_out(serve, result):
    """Strangers make room for each other, and who watches stays."""
    served = serve()
    viewer = served.watch()
    assert viewer.next("hello")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connected(served.port)) for _ in range(300)]
        assert served.get("/")[0] == 200
        until(lambda: sum(map(is_open, idle)) <= door.STRANGERS)
        until(lambda: served.hub.viewers == 1)
        served.hub.publish(result(0))
        assert viewer.next("seen")["index"] == 0


def test_a_full_house_of_viewers_leaves_room_for_the_page(serve):
    """Idle strangers on top of every viewer there may be: the page still answers."""
    served = serve()
    viewers = [served.watch() for _ in range(MAX_VIEWERS)]
    with contextlib.ExitStack() as stack:
        for _ in range(door.MOST):
            stack.enter_context(connected(served.port))
        assert served.get("/")[0] == 200
        assert served.get("/events")[0] == 503
    assert served.hub.viewers == len(viewers)


class Guest:
    """A connection of some address, at a door."""

    def __init__(self, entrance: door.Door, address: str, *, is_stranger: bool = True) -> None:
        self._entrance = entrance
        self.address, self.is_stranger, self.inside = address, is_stranger, True

    def drop(self) -> None:
        """Go."""
        self.inside = False
        self._entrance.leave(self)


def test_one_address_has_few_places_even_where_many_are_free():
    """Its oldest stranger makes room for its newest; who has shown the token does not count."""
    entrance = door.Door(most=1000)
    friends = [Guest(entrance, "a", is_stranger=False) for _ in range(50)]
    strangers = [Guest(entrance, "a") for _ in range(door.STRANGERS + 5)]
    other = Guest(entrance, "b")
    assert all(map(entrance.enter, [*friends, *strangers, other]))
    assert [guest.inside for guest in strangers] == [False] * 5 + [True] * door.STRANGERS
    assert all(guest.inside for guest in [*friends, other])


def test_places_of_strangers_are_shared_between_addresses():
    """When all are taken, the oldest of the address that has most of them goes first."""
    entrance = door.Door(most=40)
    busy = [Guest(entrance, "a") for _ in range(40)]
    few = [Guest(entrance, "b") for _ in range(8)]
    friend, late = Guest(entrance, "c", is_stranger=False), Guest(entrance, "d")
    assert all(map(entrance.enter, [friend, *busy, *few, late]))
    assert [guest.inside for guest in few] == [True] * 8
    assert friend.inside
    assert late.inside
    assert [guest.inside for guest in busy] == [False] * 10 + [True] * 30
    known = door.Door(most=2)
    for _ in range(2):
        assert known.enter(Guest(known, "a", is_stranger=False))
    assert not known.enter(Guest(known, "b"))


@pytest.mark.parametrize(
    ("host", "counts_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
        ("", ""),
    ],
)
def test_one_machines_addresses_count_as_one(host, counts_as):
    """Whoever has an IPv6 network has 2^64 addresses of it."""
    assert door.network((host, 1)) == counts_as


def test_guesses_are_bounded_and_the_token_still_opens(serve):
    """After a hundred wrong tokens the answer is short; the right one is let in all the same."""
    served = serve(token=TOKEN)
    answers = [served.get(f"/?token=guess-{number}")[0] for number in range(120)]
    assert set(answers) == {401, 429}
    assert answers[:100] == [401] * 100
    assert served.get("/events", authorization="Bearer wrong")[0] == 429
    assert served.get(f"/?token={TOKEN}")[0] == 303
    assert served.get("/", authorization=f"Bearer {TOKEN}")[0] == 200


def test_a_refusal_ends_the_connection(serve):
    """A thousand guesses down one pipe are one guess."""
    served = serve(token=TOKEN)
    sock = connected(served.port)
    with contextlib.suppress(OSError):
        sock.sendall(b"GET /?token=guess HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
    assert read_all(sock).count(b"HTTP/1.1 401") <= 1
    assert served.get("/", authorization=f"Bearer {TOKEN}")[0] == 200


def test_garbage_behind_a_stream_fills_no_journal(serve, result, caplog):
    """What follows a request that is being answered breaks its own connection at most."""
    served = serve()
    for _ in range(30):
        head = EVENTS + "Transfer-Encoding: chunked\r\n\r\nzz\r\n" + "\xff" * 1000
        connected(served.port, head).close()
    assert served.get("/")[0] == 200
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    served.hub.publish(result(0))
    assert viewer.next("seen")["index"] == 0
    assert len(caplog.records) <= 1
    assert all(record.exc_info is None for record in caplog.records)


def test_a_watcher_that_never_reads_is_let_go(serve, result, monkeypatch):
    """Its place is free again, and the one beside it has missed nothing."""
    monkeypatch.setattr(app, "STALL_S", 0.3)
    served = serve(frames=True)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", served.port))
    with deaf:
        deaf.sendall((EVENTS + "\r\n").encode())
        until(lambda: served.hub.viewers == 1)
        viewer = served.watch()
        until(lambda: served.hub.viewers == 2)
        index = 0
        while served.hub.viewers == 2:
            served.hub.publish(result(index, image=noise))
            index = viewer.next("seen")["index"] + 1
            assert index < 500
        assert not is_open(deaf) or read_until_gone(deaf)


def read_until_gone(sock: socket.socket) -> bool:
    """Read what was on its way; True when the other end goes."""
    until(lambda: not is_open(sock))
    return True
