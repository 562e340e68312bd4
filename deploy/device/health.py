"""Is a release healthy? Judged from what systemd shows of the service; nothing is asked here.

Healthy is: up, never ended, no reload refused, and at the end of the window frames come or the
absence of the camera is stated. The service says so itself in its status line, at least every 5 s
(``edge/service/notify.py``).
"""

import re
import signal
from contextlib import suppress

REFUSED = "reload refused"
"""How a problem begins after which the old model runs on, in the process that ran before."""
FRESH_S = 10.0
"""Frames are coming if their count has grown within this time: two status lines."""
GRACE_S = 15.0
"""So much longer than the window may a slow device take to start, and to say its first line."""

_FRAMES = re.compile(r"(\d+) frames")
_ABSENT = "waiting for the camera"
_CAUSES = {
    "watchdog": "the watchdog ended it: it gave no sign of life",
    "timeout": "it was not ready in the time that its unit allows",
    "oom-kill": "its memory went over the limit",
}


class Trial:
    """A release on trial.

    Args:
        window_s: how long it must hold.
        before: what systemd showed before the release was taken up.
        reload: it was taken up by the process that ran, not by a new one.
    """

    def __init__(self, window_s: float, before: dict[str, str], *, reload: bool) -> None:
        self._window_s = window_s
        self._old_process = None if reload else before.get("InvocationID")
        self._restarts = _number(before, "NRestarts") if reload else 0
        self._old_refusal = _refusal(before) if reload else ""
        self._frames = (_frames(before) or 0) if reload else 0
        # The first line after a reload may still count frames of the time before.
        self._growths_needed = 2 if reload else 1
        self._grown_s = -FRESH_S

    def judge(self, now: dict[str, str], elapsed_s: float) -> str | None:
        """Return what is wrong; an empty text once it has held; None while it is open.

        Args:
            now: the properties that ``systemctl show`` prints.
            elapsed_s: since the release was taken up.
        """
        if self._is_old(now) and elapsed_s < self._window_s:
            return None
        if problem := self._problem(now, elapsed_s):
            return problem
        self._count(now, elapsed_s)
        return None if elapsed_s < self._window_s else self._verdict(now, elapsed_s)

    def _is_old(self, now: dict[str, str]) -> bool:
        """Tell whether this is still about the process that is being stopped."""
        return bool(self._old_process) and now.get("InvocationID") == self._old_process

    def _problem(self, now: dict[str, str], elapsed_s: float) -> str:
        """Return what need not be watched any longer."""
        ended = now.get("ActiveState") == "failed" or now.get("SubState") == "auto-restart"
        if ended or _number(now, "NRestarts") > self._restarts:
            return f"the service ended after {elapsed_s:.0f} s: {cause(now)}"
        refusal = _refusal(now)
        is_new = refusal != self._old_refusal or elapsed_s > FRESH_S
        return refusal if is_new else ""

    def _verdict(self, now: dict[str, str], elapsed_s: float) -> str | None:
        is_up = now.get("ActiveState") == "active" and now.get("SubState") == "running"
        if is_up and (self._sees(elapsed_s) or now.get("StatusText", "").startswith(_ABSENT)):
            return ""
        is_coming = is_up or now.get("ActiveState") in {"activating", "reloading"}
        if is_coming and elapsed_s < self._window_s + GRACE_S:
            return None
        said = now.get("StatusText") or "it has said nothing"
        if not is_up:
            return f"the service was not up after {elapsed_s:.0f} s ({now.get('ActiveState')})"
        return f"no frame within {elapsed_s:.0f} s, and no word of a camera's absence ({said})"

    def _count(self, now: dict[str, str], elapsed_s: float) -> None:
        frames = _frames(now)
        if frames is not None and frames > self._frames:
            self._frames, self._grown_s = frames, elapsed_s
            self._growths_needed -= 1

    def _sees(self, elapsed_s: float) -> bool:
        return self._growths_needed <= 0 and elapsed_s - self._grown_s < FRESH_S


def cause(now: dict[str, str]) -> str:
    """Tell in words why the service ended, by systemd's account of it."""
    result, status = now.get("Result", "unknown"), _number(now, "ExecMainStatus")
    if result in _CAUSES:
        return _CAUSES[result]
    if result == "exit-code":
        return f"exit status {status}"
    if result in {"signal", "core-dump"}:
        name = f"signal {status}"
        with suppress(ValueError):
            name = signal.Signals(status).name
        # With cgroups v1 systemd is not told that it was the memory limit.
        limit = _number(now, "MemoryMax")
        hint = f", as at its memory limit of {limit / 1e6:.0f} MB" if status == 9 and limit else ""
        return f"killed by {name}{hint}"
    return "it ended by itself" if result == "success" else result


def _frames(now: dict[str, str]) -> int | None:
    found = _FRAMES.search(now.get("StatusText", ""))
    return int(found[1]) if found else None


def _refusal(now: dict[str, str]) -> str:
    _, found, why = now.get("StatusText", "").partition(REFUSED)
    return found + why


def _number(now: dict[str, str], name: str) -> int:
    text = now.get(name, "")
    return int(text) if text.isdecimal() else 0
