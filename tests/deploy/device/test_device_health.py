"""What a device takes for a healthy release, told by what systemd shows."""

import pytest

from deploy.device.health import FRESH_S, GRACE_S, REFUSED, Trial, cause

WINDOW_S = 30.0
UP = {
    "ActiveState": "active",
    "SubState": "running",
    "Result": "success",
    "NRestarts": "0",
    "InvocationID": "new",
}
OLD = {**UP, "InvocationID": "old", "StatusText": "900 frames, 20.0 a second, 1 faces now"}


def judge(*states: tuple[float, dict[str, str]], reload: bool = False) -> str | None:
    """Return the first verdict, or None if there is none yet."""
    trial = Trial(WINDOW_S, OLD, reload=reload)
    verdicts = [trial.judge(now, elapsed_s) for elapsed_s, now in states]
    return next((verdict for verdict in verdicts if verdict is not None), None)


def up(status: str, **more: str) -> dict[str, str]:
    return {**UP, "StatusText": status, **more}


def test_frames_at_the_end_of_the_window_are_healthy():
    """Up, and the count of frames has grown within the last seconds."""
    assert judge((29, up("400 frames, 20.0 a second, 0 faces now"))) is None
    assert judge((29, up("400 frames")), (31, up("400 frames"))) == ""


def test_a_stated_absence_of_the_camera_is_healthy():
    """A release cannot be blamed for a camera that is not plugged in."""
    assert judge((31, up("waiting for the camera, 0 frames so far"))) == ""


def test_a_service_without_frames_gets_a_moment_more_and_no_longer():
    """Being up is not enough; a slow device's first status line is waited for."""
    waiting = up("waiting for the first frame")
    assert judge((31, waiting)) is None
    problem = judge((31, waiting), (31 + GRACE_S, waiting))
    assert problem
    assert problem.startswith("no frame within")


def test_a_start_that_takes_long_gets_a_moment_more_and_no_longer():
    """A slow card is no fault of the release; a hang at the start is told as such."""
    starting = {**UP, "ActiveState": "activating", "SubState": "start"}
    assert judge((31, starting), (35, up("20 frames"))) == ""
    problem = judge((31, starting), (31 + GRACE_S, starting))
    assert problem == "the service was not up after 46 s (activating)"


def test_frames_that_have_stopped_coming_are_not_enough():
    """A count that stands still is a hang that the watchdog has not ended yet."""
    early, late = up("9 frames"), WINDOW_S + FRESH_S + GRACE_S
    assert judge((3, early), (31, early)) is None
    assert "no frame" in (judge((3, early), (31, early), (late, early)) or "")


def test_what_the_old_process_said_last_does_not_count():
    """Until the restart has happened, systemd still shows the process before."""
    assert judge((0, OLD), (31, up("waiting for the first frame"))) is None
    assert judge((0, {**OLD, "SubState": "auto-restart"}), (31, up("5 frames"))) == ""


def test_a_restart_that_does_not_happen_is_noticed():
    """The old process, still there at the end of the window, is not the new release."""
    assert judge((31 + GRACE_S, {**OLD, "ActiveState": "deactivating"})) is not None


def test_a_new_process_by_itself_is_a_failure_at_once():
    """Whatever ended the one before, and however healthy the new one looks."""
    problem = judge((4, up("9 frames", NRestarts="1")))
    assert problem == "the service ended after 4 s: it ended by itself"


def test_a_refused_reload_is_a_failure_at_once():
    """The old model runs on, which is not what was pushed."""
    status = f"912 frames, 20.0 a second, 1 faces now; {REFUSED}, going on as before: no labels"
    assert judge((1, up(status)), reload=True) == f"{REFUSED}, going on as before: no labels"


def test_a_refusal_from_before_is_not_held_against_a_reload():
    """Unless it still stands when the service must have read the new model."""
    refused = {**OLD, "StatusText": f"900 frames; {REFUSED}, going on as before: x"}
    trial = Trial(WINDOW_S, refused, reload=True)
    assert trial.judge(refused, 1) is None
    assert trial.judge(up("910 frames"), 31) is None
    assert Trial(WINDOW_S, refused, reload=True).judge(refused, FRESH_S + 1)


def test_after_a_reload_frames_must_come_anew():
    """The first status line may count frames of the old model; the second one cannot."""
    assert judge((31, up("905 frames")), reload=True) is None
    assert judge((28, up("905 frames")), (31, up("990 frames")), reload=True) == ""
    assert judge((28, up("20 frames")), (31, up("90 frames")), reload=True) is None


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"Result": "exit-code", "ExecMainStatus": "2"}, "exit status 2"),
        ({"Result": "watchdog"}, "the watchdog ended it: it gave no sign of life"),
        ({"Result": "timeout"}, "it was not ready in the time that its unit allows"),
        ({"Result": "oom-kill"}, "its memory went over the limit"),
        ({"Result": "signal", "ExecMainStatus": "11"}, "killed by SIGSEGV"),
        (
            {"Result": "signal", "ExecMainStatus": "9", "MemoryMax": "512000000"},
            "killed by SIGKILL, as at its memory limit of 512 MB",
        ),
        ({"Result": "signal", "ExecMainStatus": "9", "MemoryMax": "infinity"}, "killed by SIGKILL"),
        ({"Result": "start-limit-hit"}, "start-limit-hit"),
    ],
)
def test_the_cause_is_told_in_words(now, expected):
    """A person reads why, not systemd's name for it."""
    assert cause(now) == expected
