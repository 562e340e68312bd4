"""Degradations of training views: what cameras, light and distance do to a face.

They are random in strength and apart from ``host_training.data.corruptions``, which measures: a
model that has seen these views has not seen that module's levels, and by the recipe ``robust``
neither occlusion nor JPEG at all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from host_training.training.augment import Augmentation

Pixels = NDArray[np.float32]

_SHARE_OF_EACH: Final = 0.3
"""How often a degraded view has each of the kinds; one that would have none gets one."""


def degraded(pixels: Pixels, generator: np.random.Generator, how: "Augmentation") -> Pixels:
    """Degrade one view, or leave it as it is.

    The kinds are applied in the order in which a picture comes about: what stands before the face,
    the light, the lens, the sensor, the file.

    Args:
        pixels: float32 ``(h, w)`` in 0..255.
        generator: of this view alone.
        how: the limits; a kind whose limit is 0 is left out.

    Returns:
        float32 ``(h, w)`` in 0..255.
    """
    kinds = active_kinds(how)
    if not kinds or generator.random() >= how.degrade:
        return pixels
    chosen = generator.random(len(kinds)) < _SHARE_OF_EACH
    chosen[generator.integers(len(kinds))] |= not chosen.any()
    for name, is_chosen in zip(kinds, chosen, strict=True):
        if is_chosen:
            pixels = _APPLY[name](pixels, getattr(how, name), generator)
            pixels = np.clip(pixels, 0, 255).astype(np.float32, copy=False)
    return pixels


def active_kinds(how: "Augmentation") -> tuple[str, ...]:
    """Return the kinds that views are degraded by; none where no view is."""
    return tuple(name for name in _APPLY if getattr(how, name) > 0) if how.degrade > 0 else ()


def _occlusion(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    """Hide an upright rectangle behind one grey, or behind another part of the picture."""
    height, width = pixels.shape
    h, w = (generator.uniform(0.1, limit, 2) * (height, width)).round().astype(int).clip(1)
    y, x = generator.integers(-h // 2, height - h // 2), generator.integers(-w // 2, width - w // 2)
    rows, columns = slice(max(0, y), max(0, y + h)), slice(max(0, x), max(0, x + w))
    result = pixels.copy()
    hidden = result[rows, columns]
    if generator.random() < 0.5:
        hidden[...] = generator.uniform(0, 255)
    else:
        rolled = np.roll(pixels, generator.integers(height // 3, height), axis=0)
        hidden[...] = rolled[rows, columns]
    return result


def _gamma(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    exponent = np.float32(np.exp(generator.uniform(-limit, limit)))
    return np.asarray(255 * (pixels / 255) ** exponent, np.float32)


def _darkness(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    """Take light away, and let the sensor's noise show."""
    left = 1 - generator.uniform(0, limit)
    noise = generator.uniform(0, 7) * (1 - left)
    return np.asarray(pixels * left, np.float32) + _grain(pixels, noise, generator)


def _overexposure(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    return pixels * np.float32(1 + generator.uniform(0, limit))


def _blur(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    """Blur by a Gaussian, or by a disc of the same deviation, which is what a lens does."""
    sigma = generator.uniform(0.3, limit)
    if generator.random() < 0.5:
        return np.asarray(
            cv2.GaussianBlur(pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), np.float32
        )
    reach = int(np.ceil(2 * sigma))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # The edge falls over one pixel, so that small discs differ, too.
    return _filtered(pixels, np.clip(2 * sigma + 0.5 - np.hypot(x, y), 0, 1))


def _motion(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    length, angle = generator.uniform(1, max(1.0, limit)), generator.uniform(0, np.pi)
    reach = int(np.ceil(length / 2))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    on_line = np.clip(1 - np.abs(across), 0, 1) * np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return _filtered(pixels, on_line)


def _resolution(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    """Shrink the picture to ``limit`` pixels at least and enlarge it again."""
    height, width = pixels.shape
    left = round(generator.uniform(min(limit, width), width))
    small = cv2.resize(
        pixels, (left, max(1, round(height * left / width))), interpolation=cv2.INTER_AREA
    )
    how = cv2.INTER_LINEAR if generator.random() < 0.7 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(small, (width, height), interpolation=how), np.float32)


def _noise(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    return pixels + _grain(pixels, generator.uniform(1, limit), generator)


def _jpeg(pixels: Pixels, limit: float, generator: np.random.Generator) -> Pixels:
    """Compress to ``limit`` per cent quality at least."""
    quality = int(generator.uniform(min(limit, 95), 95))
    rounded = np.rint(pixels).astype(np.uint8)
    _, data = cv2.imencode(".jpg", rounded, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.float32)


_APPLY: Final[dict[str, Callable[[Pixels, float, np.random.Generator], Pixels]]] = {
    "occlusion": _occlusion,
    "gamma": _gamma,
    "darkness": _darkness,
    "overexposure": _overexposure,
    "blur": _blur,
    "motion": _motion,
    "resolution": _resolution,
    "noise": _noise,
    "jpeg": _jpeg,
}


def _grain(pixels: Pixels, sigma: float, generator: np.random.Generator) -> Pixels:
    return np.float32(sigma) * generator.standard_normal(pixels.shape, np.float32)


def _filtered(pixels: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    kernel = kernel / kernel.sum()
    return np.asarray(cv2.filter2D(pixels, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.float32)
