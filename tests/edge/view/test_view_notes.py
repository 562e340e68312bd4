"""The page shows what faces do and what was marked, and takes markers."""

import http.client

import msgspec
import pytest

from edge.contract.logrecord import FaceEvent, Marker

HEADER = {
    "time": "2026-01-01T00:00:00.000Z", "seq": 1, "session": "s", "device": "d",
}  # fmt: skip
HOSTILE = "a\n\nevent: ended\ndata: {}\r\n</script>\u2028"


def event(t_s: float) -> FaceEvent:
    return FaceEvent(**HEADER, monotonic_s=t_s, track=1, event="brow_raise", duration_s=0.5,
                     intensity=0.7, degrees=None, frame=1)  # fmt: skip


def test_events_and_markers_reach_every_viewer(serve, result):
    """By hello what was, by each frame what is new; numbered, for some of a stream is missed."""
    served = serve()
    served.hub.write(event(0.1))
    viewer = served.watch()
    assert viewer.next("hello")["notes"] == [[1, 0.1, 0.6, "event", "brow raise"]]
    served.hub.write(Marker(**HEADER, monotonic_s=0.7, marker=HOSTILE, phase="start"))
    served.hub.publish(result(20))
    notes = viewer.next("seen")["notes"]
    assert notes == [
        [1, 0.1, 0.6, "event", "brow raise"], [2, 0.7, 0.7, "marker", f"{HOSTILE} starts"]
    ]  # fmt: skip
    served.hub.publish(result(500))
    assert next(c["notes"] for k, c in viewer if k == "seen" and c["index"] == 500) == []


def test_a_face_tells_what_it_does(serve, result):
    """What goes on now stands with its face."""
    served = serve()
    viewer = served.watch()
    viewer.next("hello")
    served.hub.publish(msgspec.structs.replace(result(1), ongoing={1: ("smile", "look_away")}))
    (face,) = viewer.next("seen")["faces"]
    assert face["doing"] == ["smile", "look away"]


def posted(port: int, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/mark", body, names)
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"task A", {}, 204),
        (HOSTILE.encode(), {}, 204),
        (b"\xff\xfe", {}, 204),
        (b"  ", {}, 400),
        (b"", {}, 400),
        (b"x" * 2000, {}, 413),
        (b"task A", {"origin": "http://evil.example"}, 403),
        (b"task A", {"sec_fetch_site": "cross-site"}, 403),
        (b"task A", {"host": "evil.example"}, 403),
    ],
)
def test_the_page_takes_markers_of_its_own_only(serve, body, headers, status):
    """A short text marks; nothing, too much, and requests of other pages do not."""
    taken: list[str] = []
    served = serve(mark=taken.append)
    assert posted(served.port, body, **headers) == status
    assert len(taken) == (status == 204)


def test_a_page_that_takes_none_says_where_else(serve):
    """One without a token, and one of a service that runs by itself."""
    assert posted(serve().port, b"task A") == 403


def test_with_a_token_nobody_marks_without_it(serve):
    """Who may not see the page may not mark."""
    taken: list[str] = []
    served = serve(token="a-token-of-its-own", mark=taken.append)
    assert posted(served.port, b"x") == 401
    assert posted(served.port, b"x", authorization="Bearer a-token-of-its-own") == 204
    assert taken == ["x"]
