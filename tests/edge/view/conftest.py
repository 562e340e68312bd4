"""A real server on a free port of the loopback address, and what talks to it."""

import http.client
import socket
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from edge.records import EmotionEstimate, EmotionState, FaceResult, FaceTrack, FrameResult
from edge.testing.fakes import make_face, make_frame
from edge.view.access import rules
from edge.view.app import page
from edge.view.hub import Hub
from edge.view.server import PageServer, listen
from tests.edge.view.events import Events
from tests.hosts.chromium import CHROMIUM, Browser

LABELS = ("neutral", "happiness")
ABOUT = {
    "device": "pi", "session": "s", "source": "demo", "model": "m", "runtime": "r",
    "labels": LABELS,
}  # fmt: skip


def make_unread(index: int, quality: Any) -> FrameResult:
    """Return a frame with one face that was not classified."""
    state = EmotionState((), np.zeros(0, np.float32), "uncertain", 0.0, False, 0.0)
    track = FaceTrack(1, make_face((100, 80, 112, 96)), 0.0, index == 0)
    return FrameResult(make_frame(index), (FaceResult(track, None, state, quality),), (), {})


def make_result(index: int, label: str = "happiness", image: Any = None) -> FrameResult:
    """Return a frame with one face that shows ``label``."""
    scores = np.array([label == name for name in LABELS], np.float32)
    face = FaceResult(
        FaceTrack(1, make_face((100, 80, 220, 240)), 0.0, index == 0),
        EmotionEstimate(LABELS, scores),
        EmotionState(LABELS, scores, label, 1.0, False, 0.0),
    )
    return FrameResult(make_frame(index, image), (face,), (), {"mesh": 5.0})


class Viewer(Events):
    """One open stream; iterating gives ``(kind, content)`` of its events."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()
        # Line by line: what is at hand is not waited on until a buffer is full.
        super().__init__(iter(self.response.readline, b""))

    def close(self) -> None:
        """Go."""
        self.response.close()
        self.connection.close()


class Served:
    """A running server with its hub."""

    def __init__(
        self,
        stack: ExitStack,
        hub: Hub,
        address: str,
        token: str | None,
        mark: Any = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.hub = hub
        self.about = about or {}
        sock = listen(address, 0)
        stack.callback(sock.close)
        self.port: int = sock.getsockname()[1]
        self.access = rules(sock.getsockname()[0], self.port, token)
        self.server = stack.enter_context(PageServer(page(hub, self.access, mark), hub, sock))
        self._stack = stack

    def get(self, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        """Return status, headers and body of one request; ``host="..."`` replaces the Host."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given.setdefault("host", f"127.0.0.1:{self.port}")
        connection.putrequest(method, path, skip_host=True)
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = b"" if response.headers.get_content_type() == "text/event-stream" else None
        answer = response.status, response.headers, response.read() if body is None else body
        response.close()
        connection.close()
        return answer

    def watch(self) -> Viewer:
        """Open a stream."""
        viewer = Viewer(self.port)
        self._stack.callback(viewer.close)
        return viewer


@pytest.fixture
def serve():
    """Start servers; they end, and their viewers before them, with the test."""
    with ExitStack() as stack:

        def start(
            about: Any = ABOUT,
            *,
            address: str = "127.0.0.1",
            token: str | None = None,
            mark: Any = None,
            **options,
        ) -> Served:
            options.setdefault("frames", False)
            facts = {**ABOUT, **about}
            return Served(stack, Hub(facts, **options), address, token, mark, facts)

        yield start


@pytest.fixture
def open_page():
    """Open streams of a port; they are closed with the test."""
    with ExitStack() as stack:

        def start(port: int) -> Viewer:
            viewer = Viewer(port)
            stack.callback(viewer.close)
            return viewer

        yield start


@pytest.fixture
def result():
    """Make results: ``result(index, label, image)``."""
    return make_result


@pytest.fixture
def unread():
    """Make results with a face that was not classified: ``unread(index, quality)``."""
    return make_unread


@pytest.fixture
def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def browser(tmp_path):
    """A browser that must have nothing to complain about in the end."""
    if CHROMIUM is None:
        pytest.skip("no chromium here; apt-get install chromium")
    chromium = Browser(tmp_path / "profile")
    try:
        chromium.attach()
        yield chromium
    finally:
        chromium.close()
    assert chromium.problems == []
