"""What must hold whatever comes: hostile frames, slow pipelines, replays of files.

``EDGEEMO_FRAMES=10000`` (`make soak`) runs the hostile frames whole.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.config import LogConfig, MesherConfig, QualityConfig, Reach
from edge.contract.bundle import PACKAGED, open_bundle
from edge.records import Frame
from edge.runtime.pipeline import Pipeline
from edge.service.daemon import Service
from edge.service.reporter import Reporter
from edge.sources.demo.source import DemoSource
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.stages.classify import TfliteClassifier
from edge.stages.mesh.litert import LitertMesher
from edge.stages.quality import FaceQualityFilter
from edge.stages.tracking import FaceTracker
from edge.system import machine
from edge.testing.fakes import (
    MemorySink,
    make_facts,
    make_frame,
    make_pipeline,
)
from edge.testing.scenes import WAYS

pytestmark = pytest.mark.slow

FRAMES = int(os.environ.get("EDGEEMO_FRAMES", "40"))
GROWTH_MB = 20.0
"""What a run may hold on to beyond its first frames: buffers of the largest picture, no more."""
RNG = np.random.default_rng(0)


def noise(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (480, 640, 3), dtype=np.uint8)


def flat(index: int) -> np.ndarray:
    picture = np.empty((480, 640, 3), np.uint8)
    picture[:] = np.random.default_rng(index).integers(0, 256, 3)
    return picture


def upside_down(index: int) -> np.ndarray:
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    return np.roll(photo[::-1, ::-1], index % 40, axis=1).copy()


def sizes(index: int) -> np.ndarray:
    """Return a picture of another size each time, a single pixel and lines among them."""
    height, width = ((1, 1), (1, 640), (480, 1), (2, 3), (17, 4001), (480, 640))[index % 6]
    return np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)


def whole_pipeline(reach: Reach = "near") -> Pipeline:
    return make_pipeline(
        LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(reach=reach)),
        TfliteClassifier(open_bundle(PACKAGED)),
        tracker=FaceTracker(),
        gate=FaceQualityFilter(QualityConfig()),
    )


@pytest.mark.parametrize("picture", [noise, flat, upside_down, sizes], ids=lambda f: f.__name__)
@pytest.mark.parametrize("starts_new_clip", [False, True], ids=["film", "stills"])
@pytest.mark.parametrize("reach", ["near", "far"])
def test_hostile_frames_neither_crash_nor_pile_up(
    picture: Callable[[int], np.ndarray], starts_new_clip: bool, reach: Reach
) -> None:
    """No frame ends a run, memory stays bounded, and what is no face makes no claim."""
    pipeline = whole_pipeline(reach)
    settled_mb = 0.0
    for index in range(FRAMES):
        image = picture(index)
        result = pipeline.process(make_frame(index, image=image, starts_new_clip=starts_new_clip))
        for face in result.faces:
            assert picture is upside_down, "a face where there is none"
            assert abs(face.track.face.head_pose.roll_deg) > 90  # a mesh, and the right way round
        if index == min(20, FRAMES // 2):
            settled_mb = machine.rss_mb()
    pipeline.finish()
    pipeline.close()
    assert machine.rss_mb() - settled_mb < GROWTH_MB


def test_a_picture_of_48_megapixels_is_read() -> None:
    """8000x6000 is meshed, and all that it needed is given back."""
    pipeline = whole_pipeline()
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    pipeline.process(make_frame(0, image=photo, starts_new_clip=True))
    before_mb = machine.rss_mb()
    for index in range(1, 4):
        huge = cv2.resize(photo, (8000, 6000), interpolation=cv2.INTER_NEAREST)
        (face,) = pipeline.process(make_frame(index, image=huge, starts_new_clip=True)).faces
        assert face.quality == "ok"
        assert face.state.label == "happiness"
        del huge
    pipeline.close()
    assert machine.rss_mb() - before_mb < 200  # less than one and a half of such pictures


class _Camera:
    """Thirty frames a second, stamped when they are taken."""

    fps = 30.0
    dropped = 0

    def __init__(self) -> None:
        self._started_s = time.monotonic()
        self.taken = 0

    def read(self) -> Frame:
        """Wait for the next frame."""
        wait_s = self._started_s + self.taken / self.fps - time.monotonic()
        time.sleep(max(wait_s, 0.0))
        self.taken += 1
        frame = make_frame(self.taken, image=np.zeros((8, 8, 3), np.uint8))
        return Frame(frame.image, frame.index, time.monotonic(), frame.captured_at)

    def close(self) -> None:
        """Do nothing."""


def test_a_slow_pipeline_works_on_fresh_frames() -> None:
    """At 5 of 30 frames a second no more than one frame is newer when work begins."""
    newer: list[int] = []
    indices: list[int] = []
    camera = _Camera()

    def slow(frame: Frame) -> list:
        newer.append(camera.taken - frame.index)
        indices.append(frame.index)
        time.sleep(0.2)
        return []

    source = LatestFrame(camera)
    pipeline = make_pipeline(slow)
    reporter = Reporter("session", "device", LogConfig(interval_s=1.0))
    Service(source, pipeline, MemorySink(), reporter).run(make_facts(), 15)
    dropped = source.dropped
    source.close()
    # A busy machine may be late with a thread now and then: three of fifteen.
    assert sorted(newer)[-4] <= 1
    assert np.median(np.diff(indices)) >= 5
    assert dropped >= np.diff(indices).sum() - len(indices)


def emotion_lines(source: Path, directory: Path) -> Iterator[str]:
    """Run a file and yield its emotion records as written, but for session and clock fields."""
    command = [
        sys.executable, "-m", "edgeemo", "run", "--source", str(source), "--emit", "frame",
        "--log-dir", str(directory),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    for line in (directory / "edgeemo.jsonl").read_text("utf-8").splitlines():
        if json.loads(line)["kind"] == "emotion":
            yield re.sub(r'"(session|latency_ms)":("[^"]*"|[^,}]*)', "", line)


def test_a_file_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    """A film of two faces, decoded anew: every emotion record is byte-identical."""
    demo = DemoSource(frames=40, ways=WAYS[2])
    film = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), demo.fps, (640, 480)
    )
    for index in range(demo.frames):
        film.write(demo.render(index))
    film.release()
    first, second = (
        list(emotion_lines(tmp_path / "film.avi", tmp_path / name)) for name in ("a", "b")
    )
    assert len(first) > 60
    assert first == second
