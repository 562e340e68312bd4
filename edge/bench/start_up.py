"""How long `edgeemo run` takes to its first result, seen from outside."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.bench.report import StartUp
from edge.contract.logfiles import FILE_NAME

_FIRST: Final = b'"kind":"emotion"'
_LONGEST_S: Final = 60.0
_POLL_S: Final = 0.001
_ENDING_S: Final = 10.0


def time_start_up(options: Sequence[str], runs: int) -> StartUp:
    """Start `edgeemo run` so often, one after the other, and end it at its first result.

    Args:
        options: of `edgeemo run`, but ``--log-dir``.
        runs: the first one finds the files in memory or not; those after it do.
    """
    seconds: list[float] = []
    most_mb: list[float] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="edgeemo-bench-") as directory:
            outcome = _once(options, Path(directory))
        if isinstance(outcome, str):
            return StartUp(problem=outcome)
        seconds.append(outcome[0])
        most_mb.append(outcome[1])
    return StartUp(
        seconds=tuple(round(value, 3) for value in seconds), rss_mb=round(max(most_mb), 1)
    )


def _once(options: Sequence[str], directory: Path) -> tuple[float, float] | str:
    """Return the seconds to the first result and the MB held until then, or what went wrong."""
    command = [sys.executable, "-m", "edgeemo", "run", *options, "--log-dir", str(directory)]
    started_s = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            elapsed_s = _wait(child, directory / FILE_NAME, started_s)
            peak_mb = _peak_mb(child.pid)
        finally:
            errors = _end(child)
    if elapsed_s is None:
        said = errors.strip().splitlines()
        return said[-1] if said else f"no face was seen within {_LONGEST_S:.0f} s of starting"
    return elapsed_s, peak_mb


def _wait(child: "subprocess.Popen[str]", log: Path, started_s: float) -> float | None:
    """Return when the first emotion stood in the log; None when the run ended without one."""
    while (elapsed_s := time.perf_counter() - started_s) < _LONGEST_S:
        has_ended = child.poll() is not None
        if log.exists() and _FIRST in log.read_bytes():
            return elapsed_s
        if has_ended:
            return None
        time.sleep(_POLL_S)
    return None


def _peak_mb(pid: int) -> float:
    """Return the most memory that a process has held, in MB; 0.0 when it is gone already."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return 0.0
    kib = next((line.split()[1] for line in status.splitlines() if line[:6] == "VmHWM:"), "0")
    return int(kib) * 1024 / 1e6


def _end(child: "subprocess.Popen[str]") -> str:
    """Ask a run to end, make it if need be, and return what it said on stderr."""
    if child.poll() is None:
        os.kill(child.pid, signal.SIGTERM)
    try:
        return child.communicate(timeout=_ENDING_S)[1]
    except subprocess.TimeoutExpired:
        child.kill()
        return child.communicate()[1]
