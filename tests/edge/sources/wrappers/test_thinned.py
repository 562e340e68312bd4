"""Every n-th frame: what is given keeps its number and time, what is left out leaves its cut."""

from edge.config import SourceConfig
from edge.sources.select import open_source
from edge.sources.wrappers.frame_skip import EveryNth
from edge.sources.wrappers.newest_frame import LatestFrame
from edge.testing.fakes import FakeSource, make_frame


def test_the_first_and_every_third_after_it():
    """Numbers and times are those of the source."""
    source = EveryNth(FakeSource([make_frame(i) for i in range(8)]), 3)
    frames = [source.read() for _ in range(4)]
    assert [frame and frame.index for frame in frames] == [0, 3, 6, None]
    assert frames[1].t_s == make_frame(3).t_s


def test_a_cut_that_is_left_out_is_not_forgotten():
    """The face before a cut must not become the face after it."""
    frames = [
        make_frame(0),
        make_frame(1, starts_new_clip=True),
        make_frame(2),
        make_frame(3),
        make_frame(4),
    ]
    source = EveryNth(FakeSource(frames), 2)
    assert [source.read().starts_new_clip for _ in range(3)] == [False, True, False]


def test_a_recording_is_thinned_and_tells_its_new_rate():
    """The demo at every fifth frame: a fifth of the frames, and of the rate."""
    whole, thin = open_source(SourceConfig("demo")), open_source(SourceConfig("demo", every_n=5))
    assert thin.fps == whole.fps / 5
    count = 0
    while thin.read() is not None:
        count += 1
    assert count == 60
    assert EveryNth(FakeSource([]), 5).fps is None


def test_real_time_drops_what_comes_too_fast():
    """A recording in real time is read as a camera is: the newest frame, others counted."""
    source = open_source(SourceConfig("demo", realtime=True, every_n=100))
    assert isinstance(source, LatestFrame)
    seen = []
    while (frame := source.read()) is not None:
        seen.append(frame.index)
    assert seen == [0, 100, 200][-len(seen) :]
    assert len(seen) + source.dropped == 3
    source.close()
