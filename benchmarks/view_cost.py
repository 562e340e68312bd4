"""What viewers of the live page cost the pipeline: none, one, fifty; mesh alone and with pictures.

    python benchmarks/view_cost.py [--frames N] [--rounds N] [--service [--fps N]]

Each case runs the demo through the whole pipeline as fast as it goes, beside the page's server;
the viewers read in a process of their own. The cases take turns, so that a machine that slows down
slows all of them. CPU time is the pipeline's process alone, server included; its ratio to that
without viewers is what a viewer costs. Frames a second suffer from the readers, too, where they
share the processor. With ``--service`` it is the socket of a service that is measured: without one,
with one that nobody watches, and with watchers; and how long one waits for the first face.
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge.config import Config, SourceConfig
from edge.runtime.build import build_runtime
from edge.service.daemon import Listener, Service
from edge.service.session import reporter_for
from edge.view.access import rules
from edge.view.app import page
from edge.view.hub import Hub
from edge.view.live_socket import open_live_socket
from edge.view.server import PageServer, listen

_CASES = ((0, False), (1, False), (50, False), (1, True), (50, True))
_READER = """
import selectors, socket, sys
port, count = map(int, sys.argv[1:])
selector = selectors.DefaultSelector()
for _ in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"GET /events HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
    selector.register(sock, selectors.EVENT_READ)
while selector.get_map():
    for key, _ in selector.select():
        if not key.fileobj.recv(1 << 16):
            selector.unregister(key.fileobj)
"""

_WATCHER = """
import selectors, socket, sys, time
path, count = sys.argv[1], int(sys.argv[2])
selector, seen, began_s = selectors.DefaultSelector(), b"", time.monotonic()
for _ in range(count):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    selector.register(sock, selectors.EVENT_READ)
while selector.get_map():
    for key, _ in selector.select():
        data = key.fileobj.recv(1 << 16)
        if not data:
            selector.unregister(key.fileobj)
        if seen is not None and b'"points":[' in (seen := seen + data):
            print(time.monotonic() - began_s, flush=True)
            seen = None
"""
_WATCHERS = (None, 0, 1, 16)
_WARM_UP, _SETTLED = 20, 80
"""Frames before watchers come, and before those that are counted: the same ones in every case."""


def measure(viewers: int, frames: int, *, pictures: bool) -> tuple[float, float]:
    """Return seconds, and seconds of CPU time, per frame."""
    with ExitStack() as stack:
        config = Config(source=SourceConfig(spec="demo"))
        parts = build_runtime(config, stack, keep_records=False)
        sock = listen("127.0.0.1", 0)
        port = sock.getsockname()[1]
        hub = Hub({}, frames=pictures)
        with PageServer(page(hub, rules("127.0.0.1", port, None)), hub, sock) as server:
            if viewers:
                command = [sys.executable, "-c", _READER, str(port), str(viewers)]
                stack.enter_context(subprocess.Popen(command))
            while hub.viewers < viewers:
                time.sleep(0.01)
            wall_s, cpu_s, done = time.perf_counter(), time.process_time(), 0
            while done < frames and (frame := parts.source.read()) is not None:
                server.show(parts.pipeline.process(frame))
                done += 1
            return (time.perf_counter() - wall_s) / done, (time.process_time() - cpu_s) / done


def watched(watchers: int | None, frames: int, fps: float) -> tuple[float, float]:
    """Return a service's seconds of CPU per frame, and what a watcher waits for the first face.

    Args:
        watchers: of its socket; None: it has no socket.
        frames: how many are counted.
        fps: how many come in a second, at most.
    """
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "live"
        config = Config(source=SourceConfig(spec="demo"))
        parts = build_runtime(config, stack, keep_records=False)
        listeners: Sequence[Listener] = ()
        if watchers is not None:
            parts, listeners = open_live_socket(path, parts, stack)
        reporter = reporter_for(parts)
        results = Service(parts.source, parts.pipeline, parts.sink, reporter, listeners).results(
            parts.facts
        )
        _pass(results, _WARM_UP, fps)
        waited_s, rest = math.nan, _SETTLED - _WARM_UP
        if watchers:
            command = [sys.executable, "-c", _WATCHER, str(path), str(watchers)]
            said = Path(path.parent, "said")
            with said.open("wb") as file:
                stack.enter_context(subprocess.Popen(command, stdout=file))
            while not (line := said.read_bytes()):
                _pass(results, 1, fps)
                rest -= 1
            waited_s = float(line)
        _pass(results, rest, fps)
        began_s = time.process_time()
        _pass(results, frames, fps)
        cpu_s = time.process_time() - began_s
        results.close()
        return cpu_s / frames, waited_s


def _pass(results: Iterator[object], count: int, fps: float) -> None:
    for _ in range(count):
        due_s = time.monotonic() + 1 / fps
        next(results)
        time.sleep(max(0.0, due_s - time.monotonic()))


def show_watched(rounds: int, frames: int, fps: float) -> None:
    """Measure the socket of a service, and print a table."""
    found = defaultdict(list)
    for _ in range(rounds):
        for watchers in _WATCHERS:
            found[watchers].append(watched(watchers, frames, fps))
    base_s = statistics.median(cpu_s for cpu_s, _ in found[None])
    print("watchers   CPU ms a frame  ratio  first face")
    for watchers, times in found.items():
        cpu_s, waited_s = (statistics.median(values) for values in zip(*times, strict=True))
        name = "no socket" if watchers is None else watchers
        first = "" if math.isnan(waited_s) else f"{waited_s:.2f} s"
        print(f"{name!s:9}  {1e3 * cpu_s:14.2f}  {cpu_s / base_s:5.2f}  {first}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--service", action="store_true", help="the socket of a service")
    parser.add_argument("--fps", type=float, default=10.0, help="of the service's camera")
    options = parser.parse_args()
    if options.service:
        show_watched(options.rounds, options.frames, options.fps)
        return
    found = defaultdict(list)
    for _ in range(options.rounds):
        for viewers, pictures in _CASES:
            found[viewers, pictures].append(measure(viewers, options.frames, pictures=pictures))
    base_s = statistics.median(cpu_s for _, cpu_s in found[0, False])
    print("viewers  shown     frames/s  CPU ms a frame  ratio")
    for (viewers, pictures), times in found.items():
        wall_s, cpu_s = (statistics.median(values) for values in zip(*times, strict=True))
        shown = "pictures" if pictures else "mesh"
        ratio = cpu_s / base_s
        print(f"{viewers:7}  {shown:8}  {1 / wall_s:8.1f}  {1e3 * cpu_s:14.2f}  {ratio:5.2f}")


if __name__ == "__main__":
    main()
