"""A recording for somebody who looks on: at its own speed, and complete."""

from edge.sources.wrappers.real_time import Paced
from edge.testing.fakes import FakeSource, make_frame


class Clock:
    """A clock that only moves when somebody waits, or is told to."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        """Tell the time."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Wait, and note it."""
        self.waits.append(round(seconds, 6))
        self.now_s += seconds


def paced(indices, clock) -> Paced:
    return Paced(FakeSource([make_frame(i, fps=10) for i in indices]), clock, clock.sleep)


def test_each_frame_comes_when_its_time_says():
    """The first at once, each other after the time between the two; none is changed or lost."""
    clock = Clock()
    source = paced([0, 1, 3], clock)
    frames = [source.read() for _ in range(4)]
    assert [frame and frame.index for frame in frames] == [0, 1, 3, None]
    assert clock.waits == [0.1, 0.2]


def test_a_slow_reader_gets_every_frame_without_a_wait():
    """A late frame is given at once, and the rest are not hurried to catch up."""
    clock = Clock()
    source = paced([0, 1, 2], clock)
    source.read()
    clock.now_s += 5
    source.read()
    source.read()
    assert clock.waits == [0.1]


def test_a_gap_is_not_waited_for():
    """An hour without frames in a recording is a second for who watches it."""
    clock = Clock()
    source = paced([0, 36_000, 36_001], clock)
    for _ in range(3):
        source.read()
    assert clock.waits == [1.0, 0.1]


def test_rate_and_losses_are_the_sources_own():
    """What a source tells beside its frames is still told; closing reaches it."""
    inner = FakeSource([], fps=12.5)
    inner.dropped = 3
    source = Paced(inner)
    assert (source.fps, source.dropped) == (12.5, 3)
    source.close()
    assert inner.closed
