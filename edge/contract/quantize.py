"""int8 in, int8 out: the arithmetic on both sides of a full-integer TFLite model.

Source: the TensorFlow Lite 8-bit quantisation specification, ``real = (q - zero_point) * scale``.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

INT8_MIN: Final = -128
INT8_MAX: Final = 127


class QuantizationParams(msgspec.Struct, frozen=True):
    """Per-tensor affine quantisation: ``real = (quantised - zero_point) * scale``."""

    scale: float
    zero_point: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive number, got {self.scale}")
        if not INT8_MIN <= self.zero_point <= INT8_MAX:
            raise ValueError(f"zero_point must lie in [-128, 127], got {self.zero_point}")


PIXELS: Final = QuantizationParams(scale=1.0, zero_point=INT8_MIN)
"""The input quantisation every edgeemo model has: pixel 0..255 is int8 -128..127, exactly."""


def pixels_to_int8(pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Shift uint8 pixels onto int8 under ``PIXELS``; any shape, lossless.

    Flipping the top bit subtracts 128 without widening.
    """
    if pixels.dtype != np.uint8:
        raise TypeError(f"pixels must be uint8, got {pixels.dtype}")
    return np.bitwise_xor(pixels, np.uint8(0x80)).view(np.int8)


def quantize(values: NDArray[np.floating], quantization: QuantizationParams) -> NDArray[np.int8]:
    """Quantise real values to int8, rounding half away from zero and saturating, as TFLite does."""
    scaled = np.asarray(values, np.float64) / quantization.scale
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + quantization.zero_point
    return np.asarray(np.clip(rounded, INT8_MIN, INT8_MAX), np.int8)


def dequantize(values: NDArray[np.int8], quantization: QuantizationParams) -> NDArray[np.float32]:
    """Return the real values (float32) of int8 ``values``, widening before subtracting."""
    shifted = values.astype(np.int32) - quantization.zero_point
    return shifted.astype(np.float32) * np.float32(quantization.scale)
