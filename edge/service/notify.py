"""What a service manager is told: sd_notify(3), spoken over its socket without a library.

systemd reads ``READY=1`` (the start is done), ``STATUS=`` (a line for ``systemctl status``),
``WATCHDOG=1`` (still making progress), ``RELOADING=1`` and ``STOPPING=1``. Without a service
manager nothing is sent.
"""

import logging
import os
import time
from collections.abc import Callable, MutableMapping
from typing import Final

from edge.text import one_line

_log = logging.getLogger(__name__)

_SOCKET: Final = "NOTIFY_SOCKET"
_WATCHDOG: Final = "WATCHDOG_USEC"
_WATCHDOG_PID: Final = "WATCHDOG_PID"

BEATS_PER_WATCHDOG: Final = 4
"""So many signs of life fit into the watchdog's time; sd_watchdog_enabled(3) asks for two."""
LONGEST_PAUSE_S: Final = 5.0
"""A status line is no older, if there is progress."""
RELOAD_S: Final = 60.0
"""What a reload may take: a new model is tried in a child process first (``crash_guard``)."""
_SEND_TIMEOUT_S: Final = 0.5
"""A manager that does not read (it re-executes itself) must not hold up the camera."""


class Notifier:
    """Tells the service manager how the service is.

    A message that cannot be sent is dropped: the next one comes soon, and the service goes on.

    Args:
        address: the manager's datagram socket, a path or ``@`` and an abstract name; None is for
            nobody.
        watchdog_s: the manager ends a service that makes no progress for so long; None, it waits.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        address: str | None = None,
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address.replace("@", "\0", 1) if address else None
        self._watchdog_s = watchdog_s
        self._is_reloading = False
        self._pause_s = min((watchdog_s or 60.0) / BEATS_PER_WATCHDOG, LONGEST_PAUSE_S)
        self._clock = clock
        self._told_s = clock()

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> "Notifier":
        """Return the notifier for the manager that started this process, if one did.

        The variables are removed, so that no child process speaks in this one's name.
        """
        address = environment.pop(_SOCKET, None)
        microseconds = environment.pop(_WATCHDOG, "")
        meant_for = environment.pop(_WATCHDOG_PID, "")
        is_ours = meant_for in {"", str(os.getpid())}
        watchdog_s = int(microseconds) / 1e6 if microseconds.isdecimal() and is_ours else None
        return cls(address, watchdog_s or None)

    @property
    def is_managed(self) -> bool:
        """Whether a service manager listens."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Tell that the start, or a reload, is done; the watchdog's time begins anew."""
        usual = self._watchdog_time(self._watchdog_s) if self._is_reloading else {}
        self._is_reloading = False
        self._send(READY=1, **self._watchdog(), **usual, STATUS=status)

    def progress(self, status: Callable[[float], str]) -> None:
        """Tell that the loop goes round; cheap, for it speaks now and then only.

        Args:
            status: makes the status line from the seconds since the last one.
        """
        if self._address is None:
            return
        now_s = self._clock()
        pause_s = now_s - self._told_s
        if pause_s >= self._pause_s:
            self._told_s = now_s
            self._send(**self._watchdog(), STATUS=status(pause_s))

    def reloading(self) -> None:
        """Tell that a reload begins; the watchdog waits ``RELOAD_S`` until ``ready`` ends it."""
        self._is_reloading = True
        # The kernel's CLOCK_MONOTONIC, which systemd compares with its own (Type=notify-reload).
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        longer = self._watchdog_time(max(self._watchdog_s or 0.0, RELOAD_S))
        self._send(RELOADING=1, MONOTONIC_USEC=now_us, **longer, STATUS="reading the configuration")

    def stopping(self, reason: str) -> None:
        """Tell that the end has begun, and why."""
        self._send(STOPPING=1, STATUS=f"stopping: {reason}")

    def _watchdog(self) -> dict[str, int]:
        return {} if self._watchdog_s is None else {"WATCHDOG": 1}

    def _watchdog_time(self, seconds: float | None) -> dict[str, int]:
        if self._watchdog_s is None or seconds is None:
            return {}
        return {"WATCHDOG_USEC": round(seconds * 1e6)}

    def _send(self, **fields: object) -> None:
        if self._address is None:
            return
        import socket  # half a megabyte that a run without a manager does not need

        # One line each: a reason that holds a line break must not become a field of its own.
        lines = [f"{name}={one_line(str(value))}" for name, value in fields.items()]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(_SEND_TIMEOUT_S)
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.debug("the service manager was not told %s: %s", lines[0], error)
