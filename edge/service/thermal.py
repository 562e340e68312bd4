"""Thermal back-off: fewer frames while the board is hot, more again when it has cooled."""

import logging
from collections.abc import Callable
from typing import Final

import msgspec

from edge.config import ThermalConfig
from edge.system import machine

_log = logging.getLogger(__name__)

_SLOWED_BY_HEAT: Final = 0b1110
"""Of the Pi's throttling bits those that tell of now: frequency capped, throttled, too hot. Not
under-voltage, which no pause cures, nor the bits from 16 on, which tell of the past."""


class Heat(msgspec.Struct, frozen=True):
    """What the machine tells of its temperature.

    Attributes:
        celsius: None where it does not tell.
        is_slowed: the firmware runs the processor slower than asked for.
    """

    celsius: float | None = None
    is_slowed: bool = False

    def __str__(self) -> str:
        told = "" if self.celsius is None else f"{self.celsius:.0f} degrees C"
        slowed = "slowed by its firmware" if self.is_slowed else ""
        return ", ".join(filter(None, (told, slowed))) or "temperature unknown"


def read_heat() -> Heat:
    """Ask the kernel, and a Raspberry Pi's firmware."""
    try:
        bits = int(machine.throttled() or "0", 16)
    except ValueError:
        bits = 0
    return Heat(machine.temperature_c(), bool(bits & _SLOWED_BY_HEAT))


class ThermalThrottle:
    """Says how many frames a second the board can bear, one step at a time.

    Hotter than ``high_c``, or slowed by its firmware, it goes a step down; for ``hold_s`` without a
    break below ``low_c`` and not slowed, a step up. Between the two it stays. After any step the
    board is given ``hold_s`` to show what it did: heat follows load slowly, and a rate that swings
    is worse than a low one.

    Args:
        config: the thresholds and the steps.
        sensor: asked every ``interval_s``; tests have their own.
    """

    def __init__(self, config: ThermalConfig, sensor: Callable[[], Heat] = read_heat) -> None:
        self._config = config
        self._sensor = sensor
        self._step = 0
        self._looked_s: float | None = None
        self._stepped_s: float | None = None
        self._cool_since_s: float | None = None

    @property
    def fps_limit(self) -> float | None:
        """The most frames per second, or None without a limit."""
        return self._config.steps_fps[self._step - 1] if self._step else None

    def due_s(self, last_s: float) -> float:
        """Return when the next frame may be begun, after one that was begun at ``last_s``."""
        limit = self.fps_limit
        return last_s + 1 / limit if limit else last_s

    def look(self, now_s: float) -> None:
        """Look at the sensor when it is time, and step when need be.

        Args:
            now_s: a monotonic clock's seconds.
        """
        config = self._config
        if not config.high_c or not config.steps_fps:
            return
        if self._looked_s is not None and now_s - self._looked_s < config.interval_s:
            return
        self._looked_s = now_s
        heat = self._sensor()
        is_hot = heat.is_slowed or (heat.celsius is not None and heat.celsius > config.high_c)
        is_cool = not is_hot and (heat.celsius is None or heat.celsius < config.low_c)
        if not is_cool:
            self._cool_since_s = None
        elif self._cool_since_s is None:
            self._cool_since_s = now_s
        if is_hot and self._step < len(config.steps_fps) and self._has_settled(now_s):
            self._move(1, now_s, heat)
        elif self._step and self._has_been_cool(now_s) and self._has_settled(now_s):
            self._move(-1, now_s, heat)

    def reconfigure(self, config: ThermalConfig) -> None:
        """Go by other thresholds and steps from the next look on, which comes at once.

        The board stays as hot as it was, and the step as low, as far as there are so many.
        """
        if config == self._config:
            return
        self._config = config
        self._step = min(self._step, len(config.steps_fps)) if config.high_c else 0
        self._looked_s = None

    def _has_settled(self, now_s: float) -> bool:
        return self._stepped_s is None or now_s - self._stepped_s >= self._config.hold_s

    def _has_been_cool(self, now_s: float) -> bool:
        since_s = self._cool_since_s
        return since_s is not None and now_s - since_s >= self._config.hold_s

    def _move(self, steps: int, now_s: float, heat: Heat) -> None:
        self._step += steps
        self._stepped_s = now_s
        limit = self.fps_limit
        rate = f"at most {limit:g} frames a second" if limit else "as many frames as it can"
        _log.warning("%s: %s from now on", heat, rate)
