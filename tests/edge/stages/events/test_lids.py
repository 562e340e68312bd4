"""Eyes as films of people show them: at rest, in smiles, at low rates, looking down."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from edge.stages.events.lids import Eyes, Lids
from edge.stages.events.span import Moment, Span

Script = Callable[[float], tuple[float, float]]
"""The gap as an eye aspect ratio, and the mean coefficient, by time."""


def told(script: Script, fps: float, length_s: float, *, is_bowed: bool = False) -> list:
    """Return what the rule makes of eyes that do as a script says."""
    eyes, found = Eyes(0.78, 0.25), []
    now = Moment(0.0, datetime(2024, 1, 1, tzinfo=UTC), 0)
    for index in range(round(length_s * fps)):
        now = Moment(index / fps, now.at, index)
        gap, blink = script(now.t_s)
        found.append(eyes.see(Lids(gap, gap, blink), now, is_bowed=is_bowed))
    found.append(eyes.stop(now))
    return [event for event in found if event is not None]


def names(events: list[tuple[str, Span]]) -> list[str]:
    return [name for name, _ in events]


def line(*points: tuple[float, float, float]) -> Script:
    """Return a script that goes in straight lines through points: a time, a gap, a coefficient."""

    def script(t_s: float) -> tuple[float, float]:
        for (t1, gap1, blink1), (t2, gap2, blink2) in itertools.pairwise(points):
            if t1 <= t_s < t2:
                share = (t_s - t1) / (t2 - t1)
                return gap1 + share * (gap2 - gap1), blink1 + share * (blink2 - blink1)
        return points[-1][1:]

    return script


@pytest.mark.parametrize("fps", [10, 15, 24, 30, 60])
@pytest.mark.parametrize(
    ("rest", "at_rest", "shut", "at_most"),
    [
        (0.35, 0.02, 0.10, 0.60),  # wide eyes
        (0.25, 0.15, 0.08, 0.60),  # the eyes of somebody who smiles
        (0.15, 0.35, 0.06, 0.70),  # narrow eyes, which have high coefficients when they are open
        (0.30, 0.08, 0.165, 0.36),  # half a blink
    ],
)
def test_eyes_blink_whatever_they_are_like_at_rest(fps, rest, at_rest, shut, at_most):
    """Twice each, for a fifth of a second; it is over when half of it is undone."""
    blink = [
        (0.0, rest, at_rest),
        (0.08, shut, at_most),
        (0.14, shut, at_most),
        (0.3, rest, at_rest),
    ]
    script = line(
        (0.0, rest, at_rest),
        *[(start + t, gap, value) for start in (2.0, 3.0) for t, gap, value in blink],
        (9.0, rest, at_rest),
    )
    found = told(script, fps, 5)
    assert names(found) == ["blink", "blink"]
    for (_, span), start_s in zip(found, (2.0, 3.0), strict=True):
        assert start_s - 1 / fps <= span.start.t_s <= start_s + 0.05
        assert span.end.t_s <= start_s + 0.3 + 1 / fps
        assert span.complete


def test_a_blink_that_a_slow_shutter_halves_counts():
    """At 12 frames a second a blink's frames are mixed with open eyes, and it is one."""
    script = line(
        (0, 0.34, 0.05),
        (2.0, 0.34, 0.05),
        (2.08, 0.25, 0.26),
        (2.2, 0.27, 0.17),
        (2.45, 0.30, 0.09),
        (9, 0.34, 0.05),
    )
    assert names(told(script, 12, 4)) == ["blink"]


def test_a_smile_that_narrows_the_eyes_does_not_lengthen_a_blink():
    """The eyes stay narrower after it than they were: half of the change is what counts."""
    script = line(
        (0, 0.33, 0.06),
        (1.0, 0.33, 0.06),
        (1.2, 0.262, 0.17),
        (1.3, 0.09, 0.58),
        (1.4, 0.2, 0.3),
        (1.5, 0.257, 0.18),
        (9, 0.27, 0.15),
    )
    ((name, span),) = told(script, 30, 5)
    assert name == "blink"
    assert span.start.t_s == pytest.approx(1.2, abs=0.04)
    assert span.end.t_s <= 1.5


def test_laughing_eyes_are_not_closed():
    """Eyes that are narrow for seconds are none, and blink from there."""
    narrow = [
        (1.0, 0.33, 0.05),
        (1.2, 0.2, 0.35),
        (4.0, 0.2, 0.35),
        (4.08, 0.07, 0.65),
        (4.25, 0.2, 0.35),
        (6.0, 0.2, 0.35),
        (6.2, 0.33, 0.05),
    ]
    found = told(line((0, 0.33, 0.05), *narrow, (9, 0.33, 0.05)), 30, 8)
    assert [(name, round(span.start.t_s, 1)) for name, span in found] == [("blink", 4.0)]


def test_eyes_that_blink_slowly_and_then_close_do_both():
    """Half open in between is open."""
    script = line(
        (0, 0.25, 0.13),
        (2.0, 0.25, 0.13),
        (2.2, 0.09, 0.52),
        (2.35, 0.1, 0.5),
        (2.45, 0.19, 0.28),
        (2.6, 0.195, 0.27),
        (2.75, 0.07, 0.6),
        (9, 0.07, 0.6),
    )
    assert names(told(script, 24, 5)) == ["blink", "eyes_closed"]


def test_a_flicker_does_not_open_closed_eyes():
    """A hand before the face, or a bad frame, for less than 0.1 s."""
    script = line(
        (0, 0.3, 0.1),
        (1.0, 0.3, 0.1),
        (1.1, 0.06, 0.7),
        (2.5, 0.06, 0.7),
        (2.51, 0.24, 0.2),
        (2.55, 0.24, 0.2),
        (2.56, 0.06, 0.7),
        (4.0, 0.06, 0.7),
        (4.1, 0.3, 0.1),
    )
    ((name, span),) = told(script, 30, 6)
    assert (name, span.complete) == ("eyes_closed", True)
    assert (span.start.t_s, span.end.t_s) == (
        pytest.approx(1, abs=0.04),
        pytest.approx(4.07, abs=0.07),
    )


@pytest.mark.parametrize(("opens", "expected"), [(True, ["eyes_closed"]), (False, [])])
def test_eyes_were_closed_if_they_are_seen_to_open(opens, expected):
    """A face that comes with its eyes shut may have narrow ones: only their opening shows it."""
    ends = [(4.1, 0.3, 0.1), (9, 0.3, 0.1)] if opens else []
    found = told(line((0, 0.07, 0.7), (4.0, 0.07, 0.7), *ends), 25, 6)
    assert names(found) == expected


def test_over_a_phone_eyes_blink_but_are_not_closed():
    """Lowered lids of a bowed head look like closed ones; a blink still moves them."""
    script = line(
        (0, 0.3, 0.1),
        (1.0, 0.3, 0.1),
        (1.3, 0.13, 0.55),
        (4.0, 0.13, 0.55),
        (4.08, 0.05, 0.8),
        (4.2, 0.13, 0.55),
        (9, 0.13, 0.55),
    )
    assert names(told(script, 30, 7, is_bowed=True)) == ["blink"]


@pytest.mark.parametrize(
    "script",
    [
        line(
            (0, 0.33, 0.05), (2.0, 0.33, 0.05), (2.1, 0.24, 0.1), (2.3, 0.33, 0.05), (9, 0.33, 0.05)
        ),
        line(
            (0, 0.33, 0.05), (2.0, 0.33, 0.05), (2.1, 0.28, 0.3), (2.3, 0.33, 0.05), (9, 0.33, 0.05)
        ),
        line(
            (0, 0.40, 0.01), (2.0, 0.40, 0.01), (5.0, 0.26, 0.2), (6.5, 0.26, 0.2), (9, 0.4, 0.01)
        ),
        line((0, 0.33, 0.05), (2.0, 0.33, 0.05), (2.2, 0.24, 0.25), (9, 0.24, 0.25)),
    ],
    ids=["the gap alone", "the coefficients alone", "slowly", "to stay"],
)
def test_other_changes_of_the_lids_are_none(script):
    """Both must change, quickly, and back."""
    assert told(script, 30, 8) == []
