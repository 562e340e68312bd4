"""Many viewers, slow ones and vanished ones: the pipeline does not notice."""

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from edge.config import LogConfig
from edge.service.daemon import Service
from edge.service.reporter import Reporter
from edge.testing.fakes import (
    FakeSource,
    MemorySink,
    make_face,
    make_facts,
    make_frame,
    make_pipeline,
)
from tests.helpers import until

FACTS = make_facts()


def run(frames, show):
    """Run a real service over ``frames`` with one listener."""
    pipeline = make_pipeline(lambda _: [make_face((100, 80, 220, 240))])
    reporter = Reporter("session", "device", LogConfig(interval_s=1.0))
    return Service(FakeSource(frames), pipeline, MemorySink(), reporter, [show]).run(FACTS)


def test_a_server_that_hangs_does_not_hold_the_pipeline(serve):
    """While the server's thread is stuck, a whole run goes through."""
    stuck, free = threading.Event(), threading.Event()

    def hang() -> int:
        stuck.set()
        free.wait(60)
        return 0

    served = serve(dropped=hang)
    viewer = served.watch()
    until(lambda: served.hub.viewers == 1)

    def show(result):
        more = served.server.show(result)
        if result.frame.index == 0:
            assert stuck.wait(60)
        return more

    try:
        summary = run([make_frame(index) for index in range(300)], show)
        assert not free.is_set()
        assert summary.frames == 300
    finally:
        free.set()
    assert viewer.next("seen")["index"] == 0
    assert viewer.next("seen")["index"] == 299  # the newest, and none of those between


def opened(port: int) -> socket.socket:
    """Open a stream, with little room for what is not read."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(60)
    sock.connect(("127.0.0.1", port))
    sock.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    return sock


def heard(sock: socket.socket) -> tuple[list[int], bool]:
    """Read a stream to its end: the frames' indices, and whether it was told that it is one."""
    with sock, sock.makefile("rb") as stream:
        rest = stream.read()
    return [int(index) for index in re.findall(rb'"index":(\d+)', rest)], b"event: ended" in rest


def test_fifty_viewers(serve):
    """The pipeline processes every frame, and each viewer gets ever newer ones as it can read.

    Forty read, five do not, and five vanish without a word.
    """
    served = serve(frames=True)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    readers, slow, gone = ([opened(served.port) for _ in range(n)] for n in (40, 5, 5))
    until(lambda: served.hub.viewers == 50)

    def show(result):
        time.sleep(0.02)  # a camera's pace
        if result.frame.index == 50:
            for sock in gone:
                sock.close()
        return served.server.show(result)

    with ThreadPoolExecutor(len(readers) + len(slow)) as pool:
        reading = [pool.submit(heard, sock) for sock in readers]
        assert run([make_frame(index, noise) for index in range(250)], show).frames == 250
        until(lambda: served.hub.viewers == 45)
        served.hub.end("")
        late = [future.result() for future in [pool.submit(heard, sock) for sock in slow]]
        early = [future.result() for future in reading]
    for indices, was_told in early + late:
        assert was_told
        assert indices == sorted(set(indices))
    assert min(indices[-1] for indices, _ in early) > 200
    assert max(len(indices) for indices, _ in late) < min(len(indices) for indices, _ in early)
