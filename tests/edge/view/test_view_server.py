"""The page over real HTTP: what it is made of, who is let in, what is told."""

import base64
import gc
import itertools
import re
import weakref

import cv2
import numpy as np
import pytest
import uvicorn

from edge.contract.logrecord import CameraLost, Health, LogRecord
from edge.errors import ConfigError, SinkError
from edge.sinks.fan_out import MultiSink
from edge.testing.fakes import MemorySink
from edge.view.app import STATIC
from edge.view.hub import MAX_VIEWERS
from edge.view.server import listen
from tests.helpers import join_threads, until

TOKEN = "a-token-of-some-length"
FILES = ["/" if path.name == "index.html" else f"/{path.name}" for path in STATIC.iterdir()]
PATHS = [path for path in FILES if path != "/token.html"] + ["/events"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_carries_a_strict_policy(serve, path):
    """Nothing of another host, nothing inline, no framing, no guessing of types, no cache."""
    status, headers, _ = serve().get(path)
    assert status == 200
    policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_is_made_of_its_own_files():
    """Every reference is to a file beside it; there is no inline script, style or handler."""
    names = {path.name for path in STATIC.iterdir()}
    for path in STATIC.iterdir():
        text = path.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|@import|url\(|\beval\(|innerHTML", text), path.name
        references = re.findall(r"""(?:src|href|from)(?:=|\s)["']([^"']+)["']""", text)
        assert {name.removeprefix("./") for name in references} <= names, path.name
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text)


def test_strangers_are_refused_whatever_they_ask_for(serve):
    """A wrong Host or another origin gets 403 for every path; other methods get 405."""
    served = serve()
    for path in [*PATHS, "/nothing"]:
        assert served.get(path, host="evil.example")[0] == 403
        assert served.get(path, origin="http://evil.example")[0] == 403
        assert served.get(path, sec_fetch_site="cross-site")[0] == 403
    assert served.get("/nothing")[0] == 404
    assert served.get("/../pyproject.toml")[0] == 404
    for method in ("POST", "PUT", "DELETE"):
        assert served.get("/", method)[0] == 405
        assert served.get("/events", method)[0] == 405
    assert served.get("/events", "HEAD")[0] == 200


def test_nothing_is_told_without_the_token(serve):
    """Every path answers 401 to none and to a wrong one, but for what asks for it."""
    served = serve(token=TOKEN)
    for path in [
        *PATHS,
        "/nothing",
        "/events?token=wrong",
        "/?token=wrong",
        f"/events?token={TOKEN}",
    ]:
        status, _, body = served.get(path)
        assert status == (200 if path in {"/view.css", "/icon.svg"} else 401), path
        assert TOKEN.encode() not in body
        assert b"main.js" not in body
    assert b"<form" in served.get("/")[2]


def test_the_link_with_the_token_opens_the_page_for_good(serve):
    """It answers with a cookie and leaves the address bar; the cookie then opens everything."""
    served = serve(token=TOKEN)
    status, headers, _ = served.get(f"/?token={TOKEN}")
    assert (status, headers["location"]) == (303, "/")
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {name.lower() for name in attributes} >= {"httponly", "samesite=lax"}
    assert TOKEN not in cookie
    for path in PATHS:
        assert served.get(path, cookie=cookie)[0] == 200
        assert served.get(path, authorization=f"Bearer {TOKEN}")[0] == 200
    assert served.get("/", cookie=cookie, host="evil.example")[0] == 403


def test_hostile_names_stay_data(serve, result):
    """Line breaks, quotes and markup in a name can neither end an event nor become another one."""
    name = "a\n\nevent: ended\ndata: {}\r\n</script><img src=x onerror=alert(1)>\u2028'\";--"
    viewer = serve({"device": name}).watch()
    kind, hello = next(iter(viewer))
    assert kind == "hello"
    assert hello["about"]["device"] == name


def test_a_viewer_is_told_what_was_and_what_is(serve, result):
    """First who speaks and the last minute, then the newest frame with faces and health."""
    served = serve(dropped=lambda: 3)
    for index in range(20):
        served.hub.publish(result(index))
    viewer = served.watch()
    hello = viewer.next("hello")
    assert [t_s for t_s, _ in hello["history"]] == [0.0, 0.28, 0.56]
    assert hello["history"][0][1] == [[1, "happiness", 1.0]]
    until(lambda: served.hub.viewers == 1)
    served.hub.publish(result(20, "neutral"))
    seen = viewer.next("seen")
    assert (seen["index"], seen["size"], seen["latency_ms"]) == (20, [640, 480], 5.0)
    assert seen["health"]["dropped_frames"] == 3
    assert seen["health"]["viewers"] == 1
    (face,) = seen["faces"]
    assert (face["id"], face["label"], face["confidence"]) == (1, "neutral", 1.0)
    assert len(face["points"]) == 2 * 478
    box = np.array(face["box"]) / hello["steps"]
    np.testing.assert_allclose(box, (100, 80, 220, 240), atol=0.13)


def test_a_lost_camera_is_told_until_a_frame_comes(serve, result):
    """To whoever watches and whoever comes, each second with fresh health, and the reason as is."""
    reason = "/dev/video0: gone</script>\nevent: ended\n'\""
    served = serve(lost_records=lambda: 7)
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    served.hub.write(camera_lost(reason))
    events = iter(viewer)
    assert next(events)[0] == "hello"
    (kind, first), (_, second) = next(events), next(events)
    assert (kind, first["reason"], first["health"]["lost_records"]) == ("waiting", reason, 7)
    assert 0 <= first["lost_for_s"] < second["lost_for_s"]
    late = iter(served.watch())
    assert [next(late)[0], next(late)[0]] == ["hello", "waiting"]
    served.hub.publish(result(0))
    assert next(kind for kind, _ in events if kind != "waiting") == "seen"


def test_a_frame_on_its_way_does_not_hide_a_loss(serve, result):
    """The last thing told is the last thing that happened."""
    served = serve()
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    for index in range(3):  # the later ones wait for their turn
        served.hub.publish(result(index))
    served.hub.lose("unplugged")
    kinds = [kind for kind, _ in itertools.islice(viewer, 4)]
    assert kinds[-1] == "waiting"
    assert kinds.index("waiting") > kinds.index("hello")
    assert "seen" not in kinds[kinds.index("waiting") :]


def test_the_page_changes_nothing_for_the_log(serve):
    """Records, refusals and losses pass as they are; the page hears of a loss all the same."""

    class FullDisk(MemorySink):
        dropped = 5

        def write(self, record: LogRecord) -> None:
            raise SinkError(f"full: {record.seq}")

    served = serve()
    sink = MultiSink(FullDisk(), {"page": served.hub})
    assert sink.dropped == 5
    with pytest.raises(SinkError):
        sink.write(camera_lost("unplugged"))
    assert served.watch().next("waiting")["reason"] == "unplugged"
    memory = MemorySink()
    MultiSink(memory, {"page": served.hub}).write(camera_lost("again"))
    assert [record.reason for record in memory.records] == ["again"]


def test_a_face_that_was_not_classified_is_told_as_that(serve, unread):
    """With the reason, and without scores."""
    served = serve()
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    served.hub.publish(unread(0, "too_dark"))
    (face,) = viewer.next("seen")["faces"]
    assert (face["quality"], face["label"], face["scores"]) == ("too_dark", "uncertain", [])


def test_a_hot_board_is_told(serve, result):
    """The limit that a health record tells is on the page, until one tells of none."""
    served = serve()
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    for index, limit in enumerate((7.5, None)):
        served.hub.write(
            Health(
                time="2026-01-01T00:00:00.000Z",
                monotonic_s=1.0,
                seq=1,
                session="s",
                device="d",
                fps=7.4,
                stage_ms={},
                frames=1,
                dropped_frames=0,
                dropped_records=0,
                rss_mb=1.0,
                temperature_c=85.0,
                throttled=None,
                fps_limit=limit,
            )
        )
        served.hub.publish(result(index))
        assert viewer.next("seen")["health"]["fps_limit"] == limit


def camera_lost(reason: str) -> CameraLost:
    return CameraLost(
        time="2026-01-01T00:00:00.000Z", monotonic_s=1.0, seq=1, session="s", device="d",
        reason=reason,
    )  # fmt: skip


def test_no_picture_leaves_unless_asked(serve, result):
    """Without `frames` an event is numbers only; with it, the picture is that of the frame."""
    image = np.zeros((480, 1280, 3), np.uint8)
    image[:, 640:] = (255, 0, 0)
    events = {}
    for frames in (False, True):
        served = serve(frames=frames)
        viewer = served.watch()
        assert viewer.next("hello")["frames"] is frames
        until(lambda hub=served.hub: hub.viewers == 1)
        served.hub.publish(result(0, image=image))
        events[frames] = viewer.next("seen")
    assert set(events[True]) - set(events[False]) == {"jpeg"}
    data = np.frombuffer(base64.b64decode(events[True]["jpeg"]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture.shape == (360, 960, 3)  # made smaller, in proportion
    assert np.abs(picture[180, 800].astype(int) - (255, 0, 0)).max() < 10


def test_a_picture_is_kept_only_for_who_watches(serve, result):
    """Without viewers none is held; with one, none once it was sent."""
    served = serve(frames=True)

    def published(index: int) -> weakref.ref:
        image = np.zeros((48, 64, 3), np.uint8)
        served.hub.publish(result(index, image=image))
        return weakref.ref(image)

    unwatched = published(0)
    gc.collect()
    assert unwatched() is None
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    watched = published(1)
    viewer.next("seen")
    until(lambda: watched() is None)


def test_the_end_is_told(serve, result):
    """Viewers hear that the run is over, and their streams end."""
    served = serve()
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    served.hub.end("the camera is gone")
    assert [event for event in viewer if event[0] != "hello"] == [
        ("ended", {"reason": "the camera is gone"})
    ]
    until(lambda: served.hub.viewers == 0)


def test_a_failed_reading_is_counted_and_shown(serve, result, monkeypatch):
    """Whatever of the health cannot be read keeps its last value; frames go on coming."""

    def broken(*_: object) -> int:
        raise OSError(24, "Too many open files")

    served = serve(dropped=broken, lost_records=broken)
    monkeypatch.setattr("edge.system.machine.rss_mb", broken)
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    for index in range(3):
        assert served.server.show(result(index))
        seen = viewer.next("seen")
    assert seen["health"]["failed_readings"] >= 6
    assert (seen["health"]["dropped_frames"], seen["health"]["lost_records"]) == (0, None)


def test_an_event_that_cannot_be_made_is_a_fault_and_no_more(serve, result, monkeypatch, caplog):
    """The next one comes; the journal is told once, in a line."""
    from edge.view import messages

    made = messages.seen

    def picky(shown, *rest, **options):
        if shown.frame.index < 20:
            raise ValueError("a face\nwithout a point")
        return made(shown, *rest, **options)

    monkeypatch.setattr(messages, "seen", picky)
    served = serve()
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)
    for index in range(3):
        assert served.server.show(result(index))
        until(lambda index=index: served.hub.faults.count > index)
    assert served.server.show(result(20))
    assert viewer.next("seen")["index"] == 20
    (record,) = [one for one in caplog.records if one.name == "edge.view.faults"]
    assert "a face without a point" in record.message
    assert record.exc_info is None


def test_a_result_that_cannot_be_shown_ends_no_run(serve, result, monkeypatch):
    """It is the pipeline's own thread that shows it: a defect there is a fault, and no more."""

    def broken(_: object) -> None:
        raise ZeroDivisionError

    served = serve()
    monkeypatch.setattr(served.hub, "publish", broken)
    assert served.server.show(result(0))
    assert served.hub.faults.count == 1


def test_a_dead_server_leaves_the_run_alone(serve, result, caplog, monkeypatch):
    """The page is gone, which is said once; the pipeline and its log are not."""
    served = serve()

    async def broken(*_: object) -> bool:
        raise MemoryError

    monkeypatch.setattr(uvicorn.Server, "on_tick", broken)
    join_threads("page-server")
    assert all(served.server.show(result(index)) for index in range(3))
    assert [one.message for one in caplog.records if "has ended" in one.message] == [
        "the live page has ended (MemoryError()); the run goes on"
    ]


def test_a_port_in_use_is_told(serve):
    """One line with the remedy."""
    with pytest.raises(ConfigError, match="choose another --port"):
        listen("127.0.0.1", serve().port)
    with pytest.raises(ConfigError, match=r"--bind 203\.0\.113\.9"):
        listen("203.0.113.9", 0)


def test_viewers_are_limited(serve):
    """One more than can be served is asked to come back later."""
    served = serve()
    viewers = [served.watch() for _ in range(MAX_VIEWERS)]
    until(lambda: served.hub.viewers == MAX_VIEWERS)
    status, headers, _ = served.get("/events")
    assert (status, headers["retry-after"]) == (503, "10")
    viewers[0].close()
    until(lambda: served.hub.viewers == MAX_VIEWERS - 1)
    served.watch()
