"""How the service does, measured only while somebody watches."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from edge.system import machine
from edge.view import messages
from edge.view.faults import Faults

VITALS_S: Final = 1.0

_Value = TypeVar("_Value")


class Vitals:
    """Measures the service, at most once a second, and only when asked.

    What cannot be measured keeps its last value, and is counted.
    """

    def __init__(
        self,
        dropped: Callable[[], int],
        lost_records: Callable[[], int | None],
        faults: Faults,
    ) -> None:
        self.frames = 0
        self.fps_limit: float | None = None
        self._read_dropped = dropped
        self._read_lost_records = lost_records
        self._faults = faults
        self._failed = 0
        self._dropped = 0
        self._lost_records: int | None = None
        self._measured_s = time.monotonic()
        self._measured_frames = 0
        self._fps = 0.0
        self._machine: _Machine = (0.0, None, None)

    def read(self, viewers: int) -> messages.HealthMessage:
        """Return the health since the last measurement."""
        now_s = time.monotonic()
        elapsed_s = now_s - self._measured_s
        if elapsed_s >= VITALS_S or self._machine[0] == 0:
            self._fps = (self.frames - self._measured_frames) / elapsed_s if elapsed_s > 0 else 0.0
            self._measured_s, self._measured_frames = now_s, self.frames
            self._machine = self._tried(_machine, self._machine)
        self._dropped = self._tried(self._read_dropped, self._dropped)
        self._lost_records = self._tried(self._read_lost_records, self._lost_records)
        rss_mb, temperature_c, throttling = self._machine
        return messages.HealthMessage(
            fps=round(self._fps, 1),
            fps_limit=self.fps_limit,
            dropped_frames=self._dropped,
            lost_records=self._lost_records,
            rss_mb=round(rss_mb, 1),
            temperature_c=temperature_c,
            throttling=throttling,
            viewers=viewers,
            failed_readings=self._failed,
        )

    def _tried(self, read: Callable[[], _Value], last: _Value) -> _Value:
        try:
            return read()
        except Exception as error:
            self._failed += 1
            self._faults.note(f"health cannot be read: {error}")
            return last


_Machine = tuple[float, float | None, tuple[str, ...] | None]


def _machine() -> _Machine:
    bits = machine.throttled()
    throttling = None if bits is None else machine.throttling(bits)
    return machine.rss_mb(), machine.temperature_c(), throttling
