"""From a picture as a film stores it to the scene as it is: turned upright, with square pixels."""

import math
import struct
from fractions import Fraction
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

_MATRIX: Final = struct.Struct("=9i")
_ODDEST: Final = Fraction(8)
"""No camera has pixels that are wider, or narrower, than so many to one; a header may say so."""
_SQUARE: Final = Fraction(1, 100)
"""Encoders that round a size to even numbers make up for it here; no face shows the difference."""


class Turn(msgspec.Struct, frozen=True):
    """One of the eight ways in which a picture can lie: first transposed, then mirrored."""

    is_transposed: bool = False
    is_mirrored_x: bool = False
    is_mirrored_y: bool = False

    @classmethod
    def of_matrix(cls, matrix: bytes) -> "Turn":
        """Read the display matrix of a film (ISO/IEC 14496-12, ``tkhd``) as FFmpeg hands it on.

        It maps what is stored to what is shown, ``x' = a x + c y``, ``y' = b x + d y``. One that
        turns by another angle counts as the nearest quarter turn; scale and place do not count.
        """
        if len(matrix) != _MATRIX.size:
            return cls()
        a, b, _, c, d, *_ = _MATRIX.unpack(matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    @classmethod
    def of_degrees(cls, clockwise: float) -> "Turn":
        """Return the turn by so many degrees, to the nearest quarter."""
        quarters = round(clockwise / 90) % 4 if math.isfinite(clockwise) else 0
        return (cls(), cls(True, True, False), cls(False, True, True), cls(True, False, True))[
            quarters
        ]

    @classmethod
    def of_camera(cls, clockwise: int, flip: str) -> "Turn":
        """Return the turn by a multiple of 90 degrees, then ``horizontal`` or ``vertical``."""
        turn = cls.of_degrees(clockwise)
        return cls(
            turn.is_transposed,
            turn.is_mirrored_x != (flip == "horizontal"),
            turn.is_mirrored_y != (flip == "vertical"),
        )

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture as it is to be shown; as it is where nothing is to be done."""
        if self.is_transposed:
            image = np.asarray(cv2.transpose(image), np.uint8)
        if self.is_mirrored_x or self.is_mirrored_y:
            code = -1 if self.is_mirrored_x and self.is_mirrored_y else int(self.is_mirrored_x)
            image = np.asarray(cv2.flip(image, code), np.uint8)
        return image


def square_size_wh(size_wh: tuple[int, int], aspect: Fraction | None) -> tuple[int, int]:
    """Return the size, width and height, that a stored picture has with square pixels.

    Args:
        size_wh: as stored, before any turn.
        aspect: width by height of a pixel; None or zero where nobody tells, which is square.

    The shorter side of the pixels is stretched: nothing that was recorded gets lost.
    """
    width, height = size_wh
    if not aspect or not 1 / _ODDEST <= aspect <= _ODDEST or abs(aspect - 1) < _SQUARE:
        return size_wh
    if aspect > 1:
        return max(1, round(width * aspect)), height
    return width, max(1, round(height / aspect))
