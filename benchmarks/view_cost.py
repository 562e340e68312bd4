"""What viewers of the live page cost the pipeline: none, one, fifty; mesh alone and with pictures.

    python benchmarks/view_cost.py [--frames N] [--rounds N]

Each case runs the demo through the whole pipeline as fast as it goes, beside the page's server;
the viewers read in a process of their own. The cases take turns, so that a machine that slows down
slows all of them. CPU time is the pipeline's process alone, server included; its ratio to that
without viewers is what a viewer costs. Frames a second suffer from the readers, too, where they
share the processor.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack

from edge.config import Config, SourceConfig
from edge.runtime.build import build_runtime
from edge.view.access import rules
from edge.view.app import page
from edge.view.hub import Hub
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
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
