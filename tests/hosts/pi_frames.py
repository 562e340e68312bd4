"""What pi_budget.py counts: edgeemo on pictures that are there already, section by section.

python pi_frames.py render OUT.npz         draw the scenes (on this machine)
python pi_frames.py run IN.npz SCENE...    run them (in the emulated one)

A section ends by closing a file descriptor that cannot be, which count.c looks out for: 0 from the
start of Python to the first face that is classified, then for each scene one that is not counted
(until faces are confirmed) and one that is.
"""

import os
import sys
import tempfile
from contextlib import ExitStack, suppress
from datetime import timedelta

import numpy as np

SCENES = {"no face": 0, "one face": 1, "two faces": 2, "one face, by default": 1}
"""Each frame is read and written (``--emit frame``), but for the last one, which is at 30 fps."""
WARM_UP, COUNTED = 4, 12
FIRST_MARK = 1_000_000


def render(path: str) -> None:
    """Draw the pictures, uint8 ``(scenes, frames, 480, 640, 3)``."""
    from edge.sources.demo.source import DemoSource
    from edge.testing.scenes import WAYS

    solo, duet = DemoSource(), DemoSource(ways=WAYS[2])
    nobody_s, moving_s, apart_s = 8.0, 2.1, 0.2
    scenes = {
        "no face": (solo, nobody_s, 25),
        "one face": (solo, moving_s, 25),
        "two faces": (duet, apart_s, 25),
        "one face, by default": (solo, moving_s, 30),
    }
    pictures = {}
    for name, (demo, start_s, fps) in scenes.items():
        times = (start_s + i / fps for i in range(WARM_UP + COUNTED))
        pictures[name] = np.stack([demo.render(round(t_s * demo.fps)) for t_s in times])
    np.savez(path, **pictures)


def run(path: str, scenes: list[str]) -> None:
    """Run scenes, marking where the sections end."""
    from edge.system.diagnostics import quieten_libraries

    quieten_libraries()  # as `edgeemo` does

    from edge.config import Config, LogConfig, MesherConfig, SourceConfig
    from edge.records import Frame
    from edge.runtime.build import build_runtime
    from edge.service.session import reporter_for
    from edge.sources.demo.source import EPOCH

    pictures = np.load(path)
    is_started = False
    for number, scene in enumerate(scenes, 1):
        is_default = scene.endswith("by default")
        fps = 30 if is_default else 25
        with ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            log = LogConfig(dir=directory, emit="change" if is_default else "frame")
            mesher = MesherConfig(precision="auto")  # half, on a Pi 5
            config = Config(source=SourceConfig(spec="demo"), mesher=mesher, log=log)
            parts = build_runtime(config, stack)
            reporter = reporter_for(parts)
            faces = []
            for index, picture in enumerate(pictures[scene]):
                at = EPOCH + timedelta(seconds=index / fps)
                result = parts.pipeline.process(Frame(picture, index, index / fps, at))
                for record in reporter.frame(result):
                    parts.sink.write(record)
                faces.append(len(result.faces))
                if not is_started and any(face.estimate is not None for face in result.faces):
                    mark(0)
                    is_started = True
                if index == WARM_UP - 1:
                    mark(2 * number - 1)
            mark(2 * number)
            if set(faces[WARM_UP:]) != {SCENES[scene]}:
                sys.exit(f"{scene}: found {faces}")


def mark(number: int) -> None:
    """End a section."""
    with suppress(OSError):
        os.close(FIRST_MARK + number)


if __name__ == "__main__":
    if sys.argv[1] == "render":
        render(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3:])
