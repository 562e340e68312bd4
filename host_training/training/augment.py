"""Augmentation: random but repeatable views of the training pictures.

All randomness of an epoch is one table drawn from (seed, epoch), one line a picture, so that a
resumed run sees the very batches that an uninterrupted one would have seen.
"""

from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

DRAWS: Final = 10
"""Uniform numbers that one view uses up."""


class Augmentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far a view may stray from its picture.

    Attributes:
        flip: mirror every other view.
        rotation_deg: at most this far, both ways.
        zoom: at most this share larger or smaller.
        shift: at most this share of the side, in x and in y.
        contrast: at most this share stronger or weaker, around the picture's mean.
        brightness: at most this many grey levels lighter or darker.
        cutout: side of a grey square set at a random place, as a share; 0 for none
            (DeVries and Taylor 2017).
        degrade: this share of the views is degraded, by one or more of the following kinds, each
            up to the strength given here and left out at 0; see ``host_training.training.degrade``.
        blur: standard deviation of the blur, in pixels of the view.
        motion: length of a motion blur, in pixels of the view.
        noise: standard deviation of the noise, in grey levels.
        gamma: natural logarithm of the exponent, both ways.
        darkness: share of the light that is taken away, with noise.
        overexposure: share of light that is too much.
        resolution: pixels across that are left at least.
        jpeg: quality that is left at least, 1 to 100.
        occlusion: sides of a hidden rectangle, as a share of the view's.
    """

    flip: bool = True
    rotation_deg: float = 17.0
    zoom: float = 0.15
    shift: float = 0.08
    contrast: float = 0.2
    brightness: float = 20.0
    cutout: float = 0.0
    degrade: float = 0.0
    blur: float = 0.0
    motion: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0
    darkness: float = 0.0
    overexposure: float = 0.0
    resolution: float = 0.0
    jpeg: float = 0.0
    occlusion: float = 0.0


def epoch_generator(seed: int, epoch: int, purpose: int) -> np.random.Generator:
    """Return the generator of one epoch for one purpose; the same three give the same numbers."""
    return np.random.default_rng((seed, epoch, purpose))


def views(
    images: NDArray[np.uint8], draws: NDArray[np.float64], how: Augmentation
) -> NDArray[np.float32]:
    """Make one view of each picture.

    Args:
        images: uint8 ``(n, h, w)``, grey.
        draws: float64 ``(n, DRAWS)``, uniform in [0, 1).
        how: the limits.

    Returns:
        float32 ``(n, h, w)`` in 0..255. What lies outside a picture repeats its border.
    """
    count, height, width = images.shape
    warped = np.empty_like(images)
    matrices = _matrices(draws, how, height, width)
    for image, matrix, place in zip(images, matrices, warped, strict=True):
        cv2.warpAffine(
            image,
            matrix,
            (width, height),
            dst=place,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    pixels = warped.astype(np.float32)
    means = pixels.reshape(count, -1).mean(axis=1)[:, None, None]
    signed = 2 * draws[:, :, None, None] - 1  # from [0, 1) to [-1, 1)
    pixels -= means
    pixels *= (1 + how.contrast * signed[:, 5]).astype(np.float32)
    pixels += (means + how.brightness * signed[:, 6]).astype(np.float32)
    if how.cutout > 0:
        for own, drawn in zip(pixels, draws[:, 7:9], strict=True):
            _cut_out(own, drawn, how.cutout)
    return np.clip(pixels, 0, 255, out=pixels)


def is_mirrored(draws: NDArray[np.float64], how: Augmentation) -> NDArray[np.bool_]:
    """Tell which views are mirrored: bool ``(...)`` for draws ``(..., DRAWS)``."""
    return np.asarray(how.flip & (draws[..., 0] < 0.5))


def _matrices(
    draws: NDArray[np.float64], how: Augmentation, height: int, width: int
) -> NDArray[np.float64]:
    """Return the maps ``(n, 2, 3)`` of flip, rotation, zoom and shift around the centre."""
    signed = 2 * draws - 1
    angles = np.deg2rad(how.rotation_deg * signed[:, 1])
    # Symmetric in the logarithm: as often 1.15 times larger as 1.15 times smaller.
    scales = (1 + how.zoom) ** signed[:, 2]
    cos, sin = scales * np.cos(angles), scales * np.sin(angles)
    mirror = np.where(is_mirrored(draws, how), -1.0, 1.0)
    x, y = (width - 1) / 2, (height - 1) / 2
    maps = np.empty((len(draws), 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos * mirror, -sin
    maps[:, 1, 0], maps[:, 1, 1] = sin * mirror, cos
    maps[:, 0, 2] = x + how.shift * (signed[:, 3] * width) - (maps[:, 0, :2] @ (x, y))
    maps[:, 1, 2] = y + how.shift * (signed[:, 4] * height) - (maps[:, 1, :2] @ (x, y))
    return maps


def _cut_out(pixels: NDArray[np.float32], draws: NDArray[np.float64], share: float) -> None:
    """Paint a square of the picture's mean over ``pixels``, its centre anywhere inside."""
    height, width = pixels.shape
    half = max(1, round(share * min(height, width) / 2))
    y, x = int(draws[0] * height), int(draws[1] * width)
    pixels[max(0, y - half) : y + half, max(0, x - half) : x + half] = pixels.mean()
