"""Motion: a face's place and speed, filtered, whatever the frame rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.stages.tracking import Motion


@pytest.mark.parametrize("fps", [5, 15, 30])
def test_a_steady_speed_is_learnt(fps):
    """After a second of even motion the next place is predicted to a tenth of a width (80 px)."""
    motion = Motion(0.0, 0.0)
    for i in range(1, fps + 1):
        motion = motion.after(1 / fps).seen_at(200.0 * i / fps, 0.0)
    ahead = motion.after(1 / fps)
    assert ahead.x == pytest.approx(200 * (1 + 1 / fps), abs=8)
    assert ahead.y == 0


def test_a_hidden_face_slows_down():
    """Unseen, it goes on, ever slower, and where it is becomes ever less sure."""
    motion = Motion(0.0, 0.0, vx=100.0)
    ways = [motion.after(t_s).x for t_s in (0.1, 0.5, 1.0, 5.0)]
    assert ways[0] == pytest.approx(10, rel=0.06)
    assert ways == sorted(ways)
    assert ways[-1] < 101
    doubts = [motion.after(t_s).place for t_s in (0.1, 0.5, 1.0, 5.0)]
    assert doubts == sorted(doubts)


def test_a_doubtful_place_counts_less():
    """The more noise, the less a sighting moves the filter."""
    ahead = Motion(0.0, 0.0).after(0.1)
    moved = [ahead.seen_at(10.0, 0.0, noise).x for noise in (0.01, 0.1, 1.0, 10.0)]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 9
    assert moved[-1] < 1


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(-1e4, 1e4), st.booleans()), max_size=60))
def test_the_covariance_stays_one(steps):
    """Variances stay positive and the correlation within one, through gaps and sightings."""
    motion = Motion(0.0, 0.0)
    for elapsed_s, x, is_seen in steps:
        motion = motion.after(elapsed_s)
        if is_seen:
            motion = motion.seen_at(x, -x)
        assert motion.place > 0
        assert motion.speed > 0
        assert motion.both**2 <= motion.place * motion.speed * (1 + 1e-9)
        assert np.isfinite((motion.x, motion.y, motion.vx, motion.vy)).all()
