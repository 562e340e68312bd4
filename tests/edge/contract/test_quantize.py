import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.quantize import (
    PIXELS,
    QuantizationParams,
    dequantize,
    pixels_to_int8,
    quantize,
)

QUANTIZATIONS = st.builds(
    QuantizationParams,
    scale=st.floats(1e-6, 1e3).map(lambda scale: float(np.float32(scale))),
    zero_point=st.integers(-128, 127),
)


def test_every_pixel_value_has_its_own_int8():
    """The shift onto int8 loses nothing and is exactly the input quantisation of every model."""
    pixels = np.arange(256, dtype=np.uint8)
    shifted = pixels_to_int8(pixels)
    assert shifted.dtype == np.int8
    assert shifted.tolist() == list(range(-128, 128))
    assert dequantize(shifted, PIXELS).tolist() == pixels.tolist()
    assert np.array_equal(quantize(pixels.astype(np.float64), PIXELS), shifted)


def test_shape_is_kept_and_the_source_untouched():
    """Pictures of any shape are shifted into a new array."""
    pixels = np.full((2, 48, 48, 1), 200, np.uint8)
    assert pixels_to_int8(pixels).shape == (2, 48, 48, 1)
    assert (pixels == 200).all()


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16"])
def test_only_uint8_pixels_are_shifted(dtype):
    """Values that are not pixels are refused, not reinterpreted."""
    with pytest.raises(TypeError, match=f"uint8, got {dtype}"):
        pixels_to_int8(np.zeros(4, dtype))


@given(QUANTIZATIONS, st.lists(st.integers(-128, 127), min_size=1, max_size=50))
def test_int8_survives_the_way_there_and_back(quantization, values):
    """Quantising what was dequantised gives the very same integers."""
    integers = np.array(values, np.int8)
    assert np.array_equal(quantize(dequantize(integers, quantization), quantization), integers)


@given(QUANTIZATIONS, st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_reals_in_range_move_by_half_a_step_at_most(quantization, fractions):
    """A value within the representable range comes back within half a scale."""
    low = (-128 - quantization.zero_point) * quantization.scale
    values = low + np.array(fractions) * 255 * quantization.scale
    back = dequantize(quantize(values, quantization), quantization)
    tolerance = quantization.scale * 0.5 + np.abs(values).max() * 1e-6
    assert np.abs(back - values).max() <= tolerance


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 1), (-0.5, -1), (1.5, 2), (-1.5, -2), (0.49, 0), (1e9, 127), (-1e9, -128)],
)
def test_rounding_is_that_of_tflite(value, expected):
    """Halves go away from zero and what does not fit saturates."""
    assert quantize(np.array([value]), QuantizationParams(1.0, 0)).tolist() == [expected]


def test_dequantising_widens_before_it_subtracts():
    """The extremes of int8 do not wrap around."""
    ends = np.array([-128, 127], np.int8)
    assert dequantize(ends, QuantizationParams(0.5, 127)).tolist() == [-127.5, 0.0]
    assert dequantize(ends, QuantizationParams(0.5, -128)).tolist() == [0.0, 127.5]


@pytest.mark.parametrize(
    ("scale", "zero_point"),
    [(0.0, 0), (-1.0, 0), (float("nan"), 0), (float("inf"), 0), (1.0, 128), (1.0, -129)],
)
def test_impossible_quantisations_are_refused(scale, zero_point):
    """A scale that is no positive number, or a zero point outside int8, cannot be built."""
    with pytest.raises(ValueError, match=r"scale must be|zero_point must"):
        QuantizationParams(scale, zero_point)
