"""What cameras give at an http address: motion JPEGs of all kinds, single pictures, pages."""

import base64
import socketserver
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError
from edge.sources.cameras import web
from edge.sources.cameras.web import MotionJpeg, WebPicture, open_web
from edge.sources.select import open_source
from edge.sources.wrappers.newest_frame import LatestFrame

pytestmark = pytest.mark.slow

Page = Callable[[dict[str, str]], list[bytes]]


def jpeg(value: int, size_hw: tuple[int, int] = (48, 64), sampling: int = 0x221111) -> bytes:
    """Return a JPEG of one grey; sampling 0x221111 is 4:2:0, 0x211111 4:2:2."""
    image = np.full((*size_hw, 3), value, np.uint8)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
    assert done
    return data.tobytes()


def part(data: bytes, boundary: bytes = b"frame", *, length: bool = True) -> bytes:
    head = b"--" + boundary + b"\r\nContent-Type: image/jpeg\r\n"
    if length:
        head += b"Content-Length: %d\r\n" % len(data)
    return head + b"\r\n" + data + b"\r\n"


def answer(body: list[bytes], kind: str = "multipart/x-mixed-replace; boundary=frame") -> Page:
    head = f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
    return lambda _: [head, *body]


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, Page]], str]]:
    """Serve pages, by path, as raw bytes; return the address."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def start(pages: dict[str, Page]) -> str:
        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                request = self.rfile.readline().split()
                headers: dict[str, str] = {}
                while line := self.rfile.readline().strip().decode():
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                for piece in pages[request[1].decode().partition("?")[0]](headers):
                    self.wfile.write(piece)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *_: None  # whoever has seen enough hangs up
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def values(source: MotionJpeg) -> list[int]:
    """Read to the end; return each picture's grey."""
    seen: list[int] = []

    def drain() -> None:
        for frame in iter(source.read, None):
            seen.append(round(float(frame.image.mean())))  # noqa: PERF401 - kept when it fails

    with pytest.raises(CameraError, match="gives no more frames"):
        drain()
    source.close()
    return seen


GREYS = [40, 80, 120, 160]
JPEGS = [jpeg(value) for value in GREYS]
PLAIN = [part(data) for data in JPEGS]


@pytest.mark.parametrize(
    ("body", "kind", "greys", "dropped"),
    [
        (PLAIN, "multipart/x-mixed-replace; boundary=frame", GREYS, 0),
        (PLAIN, "multipart/x-mixed-replace;boundary=--frame", GREYS, 0),
        (PLAIN, 'multipart/mixed; boundary="other"', GREYS, 0),
        (PLAIN, "multipart/x-mixed-replace", GREYS, 0),
        ([part(d, length=False) for d in JPEGS], "multipart/x-mixed-replace; boundary=frame",
         GREYS, 0),
        ([part(d, length=False) for d in JPEGS], "multipart/x-mixed-replace; boundary=x", GREYS, 0),
        ([PLAIN[0], part(JPEGS[1], b"another"), part(JPEGS[2], b"third"), PLAIN[3]],
         "multipart/x-mixed-replace; boundary=frame", GREYS, 0),
        ([PLAIN[0], part(b""), part(b""), *PLAIN[1:]],
         "multipart/x-mixed-replace; boundary=frame", GREYS, 2),
        ([PLAIN[0], part(b"", length=False), *PLAIN[1:]],
         "multipart/x-mixed-replace; boundary=frame", GREYS, 1),
        ([PLAIN[0], part(b"no picture"), *PLAIN[1:]],
         "multipart/x-mixed-replace; boundary=frame", GREYS, 1),
        ([PLAIN[0], part(JPEGS[1][:300]), *PLAIN[2:]],
         "multipart/x-mixed-replace; boundary=frame", [40, 120, 160], 1),
        ([part(JPEGS[0][:300], length=False), *PLAIN[1:]],
         "multipart/x-mixed-replace; boundary=frame", GREYS[1:], 1),
        ([*PLAIN[:3], PLAIN[3][:-200]], "multipart/x-mixed-replace; boundary=frame", GREYS[:3], 1),
        ([*PLAIN, b"--frame--\r\n"], "multipart/x-mixed-replace; boundary=frame", GREYS, None),
        ([b"\r\n", *PLAIN], "multipart/x-mixed-replace; boundary=frame", GREYS, 0),
        ([b"".join(PLAIN).replace(b"\r\n--", b"\n--")],
         "multipart/x-mixed-replace; boundary=frame", GREYS, 0),
    ],
    ids=["plain", "dashes announced", "another announced", "none announced", "no lengths",
         "no lengths, another announced", "changes", "empty parts", "empty, no length",
         "no picture", "damaged", "damaged, no length", "breaks off", "closed", "line first",
         "bare newlines"],
)  # fmt: skip
def test_a_motion_jpeg_is_read_part_by_part(serve, body, kind, greys, dropped) -> None:
    """Every whole picture comes, in order; what is empty or damaged is skipped and counted."""
    source, is_live = open_web(serve({"/": answer(body, kind)}) + "/")
    assert is_live
    assert values(source) == greys
    if dropped is not None:
        assert source.dropped == dropped


def test_a_stream_that_changes_size_and_format_is_followed(serve) -> None:
    """Each picture is its own: sizes and samplings may change with each; a new size is a cut."""
    shapes = [
        ((48, 64), 0x211111),
        ((48, 64), 0x221111),
        ((96, 128), 0x111111),
        ((30, 40), 0x221111),
    ]
    body = [part(jpeg(60, size, sampling)) for size, sampling in shapes for _ in range(3)]
    source = open_source(SourceConfig(serve({"/": answer(body)}) + "/"))
    assert isinstance(source, LatestFrame)
    source.close()
    direct, _ = open_web(serve({"/": answer(body)}) + "/")
    frames = [direct.read() for _ in body]
    assert [frame.size_hw for frame in frames] == [size for size, _ in shapes for _ in range(3)]
    assert [frame.index for frame in frames if frame.starts_new_clip] == [6, 9]
    assert {round(float(frame.image.mean())) for frame in frames} == {60}
    direct.close()


@pytest.mark.parametrize("form", [".jpg", ".png", ".webp"])
def test_one_picture_is_shown_as_one(serve, form: str) -> None:
    """An address of a single picture gives a frame and the end, not an unplugged camera."""
    _, data = cv2.imencode(form, np.full((6, 8, 3), 99, np.uint8))
    url = serve({"/snap": answer([data.tobytes()], "image/" + form[1:])}) + "/snap"
    source = open_source(SourceConfig(url))
    frame = source.read()
    assert frame.size_hw == (6, 8)
    assert abs(float(frame.image.mean()) - 99) < 2
    assert source.read() is None
    source.close()
    picture, is_live = open_web(url)
    assert isinstance(picture, WebPicture)
    assert not is_live


def test_redirects_and_passwords_are_heeded(serve) -> None:
    """A redirect is followed; user and password open a guarded camera, and stay out of errors."""

    def guarded(headers: dict[str, str]) -> list[bytes]:
        wanted = "Basic " + base64.b64encode(b"ann:p@ss word").decode()
        if headers.get("authorization") == wanted:
            return answer(PLAIN)(headers)
        return [b'HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm="camera"\r\n\r\n']

    def moved(headers: dict[str, str]) -> list[bytes]:
        return [b"HTTP/1.0 302 Found\r\nLocation: /guarded\r\n\r\n"]

    url = serve({"/guarded": guarded, "/moved": moved})
    known = url.replace("http://", "http://ann:p%40ss%20word@")
    for path in ("/guarded", "/moved"):
        assert values(open_web(known + path)[0]) == GREYS
    with pytest.raises(CameraError, match="401") as caught:
        open_web(url.replace("http://", "http://ann:hunter2@") + "/guarded?token=s3cret")
    for secret in ("hunter2", "ann", "s3cret"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (answer([b"<html>"], "text/html"), r"text/html.*address of the stream itself"),
        (lambda _: [b"HTTP/1.0 404 Gone\r\n\r\n"], "404"),
        (lambda _: [b"nonsense\r\n"], "no video stream"),
        (lambda _: [], "no video stream"),
        (answer([b"GIF89a, but no more"], "image/gif"), "not read"),
    ],
    ids=["page", "absent", "nonsense", "silent", "damaged picture"],
)
def test_what_is_no_video_is_named(serve, page: Page, reason: str) -> None:
    """A web page, an absent one, nonsense: one line each that says what it is."""
    with pytest.raises(CameraError, match=reason) as caught:
        open_source(SourceConfig(serve({"/": page}) + "/"))
    assert "\n" not in str(caught.value)


def test_nothing_but_empty_parts_is_no_camera(serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts without a picture are not skipped forever."""
    monkeypatch.setattr(web, "MOST_FAILURES", 5)
    source, _ = open_web(serve({"/": answer([part(b"")] * 50)}) + "/")
    with pytest.raises(CameraError, match="5 parts in a row"):
        source.read()
    source.close()


def test_a_lost_stream_comes_back(serve) -> None:
    """With reconnecting, a motion JPEG that breaks off is opened again; numbers go on."""
    source = open_source(SourceConfig(serve({"/": answer(PLAIN)}) + "/", reconnect="always"))
    losses, frames = 0, []
    while losses < 2:
        try:
            frames.append(source.read())
        except CameraError:
            losses += 1
    source.close()
    indices = [frame.index for frame in frames]
    assert indices == sorted(set(indices))
    assert indices[-1] >= 4
