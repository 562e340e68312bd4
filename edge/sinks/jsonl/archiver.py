"""The thread that tidies a log directory, so that neither camera nor writer waits for it."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge.config import LogConfig
from edge.sinks.jsonl.tidy import tidy, trusted_now

_log = logging.getLogger(__name__)

_PERIOD_S: Final = 60.0
_PAUSE_S: Final = 2.0
"""Between two rounds at least: a full disk wakes it at every record."""
_NICENESS: Final = 10
_STEP_S: Final = 3600.0
_CALM_S: Final = 86_400.0


class SteadyClock:
    """The time, or None for a day after it leapt forward.

    A clock that is set to a false future for a while would otherwise make every file too old at
    once. Going back is harmless: files seem younger.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()
        self._leapt_s: float | None = None

    def now_s(self) -> float | None:
        """Return seconds since 1970, or None while they are not to be trusted."""
        wall_s, steady_s = self._wall(), self._monotonic()
        offset_s = wall_s - steady_s
        if offset_s - self._offset_s > _STEP_S:
            _log.warning(
                "the clock leapt forward by %.0f s: no log file is removed for its age for a day",
                offset_s - self._offset_s,
            )
            self._leapt_s = steady_s
        self._offset_s = offset_s
        if self._leapt_s is not None and steady_s - self._leapt_s < _CALM_S:
            return None
        return wall_s


class Archiver:
    """Tidies when it is woken, and once a minute.

    Args:
        directory: the log's.
        config: what to keep.
        clock: tests have their own.
    """

    def __init__(
        self, directory: Path, config: LogConfig, clock: SteadyClock | None = None
    ) -> None:
        self._directory = directory
        self._config = config
        self._clock = clock or SteadyClock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="log-archiver", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tidy soon: a file was closed, or the disk is full."""
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Stop; a compression that is under way is given up, and done at the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own
            # A service's filter of system calls may forbid it; tidying is what matters.
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.is_set():
            self._wake.clear()
            self.tidy_once()
            self._stop.wait(_PAUSE_S)
            self._wake.wait(_PERIOD_S)

    def _now_s(self) -> float | None:
        """Return the time that ages count from; None for now, or where age does not count."""
        now_s, keep_s = self._clock.now_s(), self._config.keep_s
        return trusted_now(now_s, self._directory, keep_s) if now_s and keep_s else None

    def tidy_once(self) -> None:
        """Tidy now, as the thread does every minute; a failure is logged once."""
        try:
            removed = tidy(self._directory, self._config, self._now_s(), self._stop.is_set)
        except OSError as error:
            # A deleted directory or a full disk is the writer's to tell; here once is enough.
            if str(error) != self._complaint:
                _log.warning("%s: cannot be tidied (%s)", self._directory, error.strerror)
            self._complaint = str(error)
            return
        self._complaint = ""
        if removed:
            names = ", ".join(path.name for path in removed)
            _log.info("%s: removed as configured: %s", self._directory, names)
