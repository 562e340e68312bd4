"""The demo as a camera: what a service can be tried with."""

from itertools import pairwise

import numpy as np

from edge.config import SourceConfig
from edge.sources.demo.live import DemoCamera
from edge.sources.demo.source import DemoSource
from edge.sources.select import open_source
from edge.sources.wrappers.newest_frame import LatestFrame


def test_it_goes_on_after_the_clip_with_rising_times():
    """The clip repeats without end; index and time rise for ever, the pictures are the clip's."""
    demo = DemoSource(frames=5, fps=500.0, size_hw=(120, 160))
    camera = DemoCamera(demo)
    frames = [camera.read() for _ in range(12)]
    assert frames[-1].index >= 11
    for earlier, later in pairwise(frames):
        assert later.index > earlier.index
        assert later.t_s > earlier.t_s
        assert later.captured_at >= earlier.captured_at
    for frame in frames:
        assert np.array_equal(frame.image, demo.render(frame.index % 5))


def test_no_frame_comes_before_its_time():
    """A camera gives its rate and no more, however fast it is read."""
    camera = DemoCamera(DemoSource(fps=100.0, size_hw=(120, 160)))
    frames = [camera.read() for _ in range(8)]
    assert all(f.t_s - camera.started_s >= f.index / 100.0 - 1e-6 for f in frames)


def test_it_is_opened_as_a_live_source():
    """``demo:live`` comes through the newest-frame thread, as a camera does, and ends on close."""
    source = open_source(SourceConfig("demo:live"))
    assert isinstance(source, LatestFrame)
    assert source.read().size_hw == (480, 640)
    source.close()
    assert source.read() is None
