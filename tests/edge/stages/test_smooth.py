"""Smoothing: labels do not flicker, times are seconds and not frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import SmoothingConfig
from edge.records import EmotionEstimate
from edge.stages.smooth import EmotionSmoother

LABELS = ("neutral", "happiness", "surprise")


def estimate(*scores: float) -> EmotionEstimate:
    return EmotionEstimate(LABELS, np.array(scores, np.float32))


def smoother(**changes: float) -> EmotionSmoother:
    settings = {"half_life_s": 0.3, "dwell_s": 0.3, "margin": 0.1, "min_confidence": 0.4}
    return EmotionSmoother(SmoothingConfig(**(settings | changes)))


def test_the_first_estimate_speaks_at_once():
    """A new track has a label in its first frame."""
    state = smoother().update(1, estimate(0.1, 0.8, 0.1), 0.0)
    assert (state.label, state.changed) == ("happiness", True)
    assert state.confidence == pytest.approx(0.8)


def test_scores_halve_in_one_half_life():
    """After a half-life the old and the new score weigh the same, whatever the frame rate."""
    for steps in (1, 10, 100):
        subject = smoother(half_life_s=0.5)
        subject.update(1, estimate(1, 0, 0), 0.0)
        for i in range(1, steps + 1):
            state = subject.update(1, estimate(0, 1, 0), 0.5 * i / steps)
        assert state.scores == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_a_flickering_estimate_keeps_the_label():
    """Two emotions that take turns every frame never change the label."""
    subject = smoother()
    subject.update(1, estimate(0.6, 0.4, 0), 0.0)
    for i in range(1, 200):
        scores = (0.45, 0.55, 0) if i % 2 else (0.55, 0.45, 0)
        assert not subject.update(1, estimate(*scores), i / 25).changed


def test_a_true_change_comes_through_after_the_dwell():
    """A clear new emotion takes over, later than the dwell and within twice dwell and half-life."""
    subject = smoother()
    subject.update(1, estimate(0.9, 0.1, 0), 0.0)
    changes = [
        i / 25 for i in range(1, 100) if subject.update(1, estimate(0.1, 0.9, 0), i / 25).changed
    ]
    assert len(changes) == 1
    assert 0.3 <= changes[0] <= 1.2


def test_low_confidence_is_uncertain_with_hysteresis():
    """Under the threshold the label is ``uncertain``, and stays it until clearly above."""
    subject = smoother(half_life_s=0.0, dwell_s=0.0)
    assert subject.update(1, estimate(0.35, 0.33, 0.32), 0.0).label == "uncertain"
    assert subject.update(1, estimate(0.45, 0.30, 0.25), 1.0).label == "uncertain"
    assert subject.update(1, estimate(0.55, 0.25, 0.20), 2.0).label == "neutral"
    assert subject.update(1, estimate(0.42, 0.30, 0.28), 3.0).label == "neutral"
    assert subject.update(1, estimate(0.38, 0.32, 0.30), 4.0).label == "uncertain"


def test_tracks_do_not_share_memories():
    """A forgotten track starts afresh, and another one is not touched."""
    subject = smoother()
    subject.update(1, estimate(0.9, 0.1, 0), 0.0)
    subject.update(2, estimate(0, 0.1, 0.9), 0.0)
    subject.forget(1)
    assert subject.update(1, estimate(0.1, 0.9, 0), 0.04).label == "happiness"
    assert subject.update(2, estimate(0, 0.1, 0.9), 0.04).label == "surprise"


@given(st.lists(st.tuples(*[st.floats(0.01, 1)] * 3, st.floats(0.001, 2)), min_size=1, max_size=50))
def test_smoothed_scores_stay_a_distribution(steps):
    """Whatever comes, the scores sum to one and the label is among the labels or uncertain."""
    subject, t_s = smoother(), 0.0
    for a, b, c, elapsed_s in steps:
        t_s += elapsed_s
        scores = np.array((a, b, c)) / (a + b + c)
        state = subject.update(1, estimate(*scores), t_s)
        assert state.scores.sum() == pytest.approx(1, abs=1e-5)
        assert state.label in {*LABELS, "uncertain"}


def test_a_face_that_never_could_be_read_is_uncertain_once():
    """Withheld from the start is one change; the first estimate then speaks at once."""
    subject = smoother()
    states = [subject.withhold(1, i / 25) for i in range(3)]
    assert [(state.label, state.changed) for state in states] == [
        ("uncertain", True), ("uncertain", False), ("uncertain", False),
    ]  # fmt: skip
    state = subject.update(1, estimate(0.1, 0.8, 0.1), 0.2)
    assert (state.label, state.changed, state.since_s) == ("happiness", True, 0.2)


def test_scores_from_before_a_gap_weigh_less_after_it():
    """What was seen ten half-lives ago is nearly forgotten, seen or not in between."""
    subject = smoother(half_life_s=0.1)
    subject.update(1, estimate(1, 0, 0), 0.0)
    for i in range(1, 10):
        assert subject.withhold(1, i / 10).scores.size == 0
    assert subject.update(1, estimate(0, 1, 0), 1.0).scores == pytest.approx([0, 1, 0], abs=2e-3)


def test_label_changes_on_a_still_face_with_sensor_noise():
    """An hour of scores that jitter by half their lead of 0.1 changes no label."""
    subject, rng, changes = smoother(), np.random.default_rng(0), 0
    for i in range(10 * 3600):
        a = np.clip(0.5 + rng.normal(0, 0.05), 0, 0.9)
        state = subject.update(1, estimate(a, 0.9 - a, 0.1), i / 10)
        changes += state.changed
    assert changes == 1  # the first one


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_the_delay_to_a_true_change_does_not_depend_on_the_frame_rate(fps):
    """From 0.9 to 0.9 of another emotion: a half-life's blending and the dwell, within 0.75 s."""
    subject = smoother()
    for i in range(2 * fps):
        subject.update(1, estimate(0.9, 0.1, 0), i / fps)
    times = [i / fps for i in range(2 * fps)]
    first = next(t for t in times if subject.update(1, estimate(0.1, 0.9, 0), 2 + t).changed)
    assert 0.3 <= first <= 0.75


@given(
    st.lists(
        st.tuples(st.tuples(*[st.floats(0.01, 1)] * 3), st.floats(0.001, 0.5), st.booleans()),
        min_size=1, max_size=40,
    ),
    st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_confidence_is_the_score_of_the_label_that_is_shown(steps, half_life_s):
    """Also while another emotion leads that may take over; `uncertain` has none."""
    subject, t_s = smoother(half_life_s=half_life_s), 0.0
    for scores, elapsed_s, is_withheld in steps:
        t_s += elapsed_s
        given_scores = np.array(scores) / sum(scores)
        if is_withheld:
            state = subject.withhold(1, t_s)
        else:
            state = subject.update(1, estimate(*given_scores), t_s)
        shown = dict(zip(state.labels, state.scores.tolist(), strict=True))
        assert state.confidence == shown.get(state.label, 0.0)
