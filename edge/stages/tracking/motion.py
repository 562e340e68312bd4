"""Where a face goes: its place and speed, filtered, and predicted for when it is not seen."""

import math
from typing import Final

import msgspec

SPEED_MEMORY_S: Final = 1.0
"""A face that is not seen keeps its speed for about so long: people stop and turn."""
UNREST: Final = 12.0
"""How much speed changes by itself: its variance grows by so many face widths^2/s^2 a second."""
PLACE_NOISE: Final = 0.05
"""Standard deviation of a seen face's centre, in face widths."""
FIRST_SPEED: Final = 3.0
"""Standard deviation of the speed of a face that was seen only once, in face widths a second."""


class Motion(msgspec.Struct):
    """A Kalman filter for one face's centre; a mutable value.

    Both axes have the same noise, and so one covariance. Speed fades with ``SPEED_MEMORY_S``
    (Singer, "Estimating optimal tracking filter performance for manned maneuvering targets", IEEE
    Transactions on Aerospace and Electronic Systems 1970, with the speed in place of the
    acceleration). All that is noise is in widths of the face, since a near face moves more pixels.

    Attributes:
        x: the centre, in pixels.
        y: the same.
        vx: the speed, in pixels a second.
        vy: the same.
        place: variance of the centre on each axis, in face widths^2.
        both: covariance of centre and speed.
        speed: variance of the speed.
    """

    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    place: float = PLACE_NOISE**2
    both: float = 0.0
    speed: float = FIRST_SPEED**2

    def after(self, elapsed_s: float) -> "Motion":
        """Return what is to be expected ``elapsed_s`` seconds later."""
        keep = math.exp(-elapsed_s / SPEED_MEMORY_S)
        way = SPEED_MEMORY_S * (1 - keep)
        return Motion(
            self.x + way * self.vx,
            self.y + way * self.vy,
            keep * self.vx,
            keep * self.vy,
            self.place + 2 * way * self.both + way**2 * self.speed + UNREST * elapsed_s**3 / 3,
            keep * (self.both + way * self.speed) + UNREST * elapsed_s**2 / 2,
            keep**2 * self.speed + UNREST * elapsed_s,
        )

    def seen_at(self, x: float, y: float, noise: float = PLACE_NOISE) -> "Motion":
        """Return what is known once the face was seen at ``(x, y)``, as exactly as ``noise``."""
        total = self.place + noise**2
        pull, push = self.place / total, self.both / total
        dx, dy = x - self.x, y - self.y
        return Motion(
            self.x + pull * dx,
            self.y + pull * dy,
            self.vx + push * dx,
            self.vy + push * dy,
            (1 - pull) * self.place,
            (1 - pull) * self.both,
            self.speed - push * self.both,
        )
