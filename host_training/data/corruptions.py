"""Pictures as bad cameras, bad light and bad networks make them, to measure a model on.

Kinds and severities follow Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019 (arXiv 1903.12261), fitted to faces: every strength
is in units of the face, so that a face of 48 pixels and one of 300 lose the same.

Nothing in training may use these functions or their levels; it has random degradations of its own
(``host_training.training.augment``), and none of the ``HELD_OUT`` kinds.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SEVERITIES: Final = (1, 2, 3, 4, 5)

FACE_PX: Final = 48
"""The width of the face for which grey levels, pixels and JPEG qualities below are stated."""

DEFOCUS: Final = (0.009, 0.018, 0.027, 0.040, 0.054)
"""Standard deviation of the blur disc, in face widths: 3 px at a face of 110 px is severity 3."""
MOTION: Final = (0.06, 0.10, 0.15, 0.20, 0.25)
"""Length of the streak, in face widths."""
NOISE: Final = (5.0, 9.0, 13.0, 18.0, 24.0)
"""Standard deviation at mid-grey, in grey levels."""
LOW_LIGHT: Final = ((0.65, 2.0), (0.45, 3.0), (1 / 3, 4.0), (0.25, 5.0), (0.18, 6.0))
"""The share of the light that is left, and the standard deviation of the noise in grey levels."""
OVEREXPOSURE: Final = (1.3, 1.6, 2.0, 2.5, 3.2)
"""How many times too long the exposure was."""
JPEG: Final = (50, 35, 22, 14, 8)
"""Quality, 1 to 100."""
LOW_RESOLUTION: Final = (36.0, 30.0, 25.0, 21.0, 18.0)
"""Pixels that are left across the face."""
OCCLUSION: Final = (0.20, 0.28, 0.36, 0.44, 0.52)
"""Side of the square that hides part of the face, in face widths."""

_MID_GREY: Final = 128.0
_REACH: Final = 0.3
"""How far from the middle of the face an occluding square lies at most, in face widths."""
_FINE: Final = 8
"""Sub-pixels across a pixel when a blur kernel is drawn."""


@dataclass(frozen=True, slots=True)
class _Face:
    """Where the face is: its width in pixels, at least 1, and the x and y of its middle."""

    width: float
    x: float
    y: float

    @property
    def grain(self) -> float:
        """Pixels of this picture to one of a picture whose face is ``FACE_PX`` wide, at least 1."""
        return max(1.0, self.width / FACE_PX)


def corrupted(
    image: NDArray[np.uint8],
    kind: str,
    severity: int,
    *,
    face_width: float | None = None,
    middle: tuple[float, float] | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return a corrupted copy of a picture.

    What is random in it (a direction, a place, the noise) follows from ``seed``, the kind and the
    picture's content alone: it is the same at every severity, in any order and on any machine.

    Args:
        image: uint8 ``(h, w)`` grey or ``(h, w, 3)`` BGR.
        kind: one of ``KINDS``.
        severity: 1 to 5.
        face_width: of the face in pixels; None for a picture that is all face, as FER2013's are.
        middle: continuous ``(x, y)`` of the face in pixels; None for the picture's own middle.
        seed: another one gives another picture.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: no such kind or severity, another dtype or shape, or a width that is no width.
    """
    if kind not in KINDS or severity not in SEVERITIES:
        raise ValueError(
            f"corruption {kind!r} of severity {severity!r}; expected one of {', '.join(KINDS)} "
            "and 1 to 5"
        )
    is_picture = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not is_picture or image.size == 0:
        raise ValueError(
            f"a picture must be uint8 (h, w) or (h, w, 3), got {image.dtype} {image.shape}"
        )
    height, width = image.shape[:2]
    across = float(width if face_width is None else face_width)
    if not (np.isfinite(across) and across > 0):
        raise ValueError(f"face_width must be a positive number of pixels, got {face_width}")
    face = _Face(max(1.0, across), *(middle or (width / 2, height / 2)))
    return _APPLY[kind](image, severity - 1, face, _draws(image, kind, seed))


def _draws(image: NDArray[np.uint8], kind: str, seed: int) -> np.random.Generator:
    content = hashlib.blake2b(kind.encode(), digest_size=8)
    content.update(np.ascontiguousarray(image).data)
    return np.random.default_rng((seed, int.from_bytes(content.digest(), "little")))


def _defocus(
    image: NDArray[np.uint8], level: int, face: _Face, _generator: np.random.Generator
) -> NDArray[np.uint8]:
    # A disc's standard deviation along an axis is half its radius.
    return _filtered(image, _disc(2 * DEFOCUS[level] * face.width))


def _motion(
    image: NDArray[np.uint8], level: int, face: _Face, generator: np.random.Generator
) -> NDArray[np.uint8]:
    angle = generator.uniform(0, np.pi)
    return _filtered(image, _streak(MOTION[level] * face.width, angle))


def _noise(
    image: NDArray[np.uint8], level: int, face: _Face, generator: np.random.Generator
) -> NDArray[np.uint8]:
    pixels = image.astype(np.float32)
    # Half of the variance at mid-grey is the sensor's own, half grows with the light (photons).
    sigma = NOISE[level] * np.sqrt(0.5 + 0.5 * pixels / _MID_GREY)
    return _clipped(pixels + sigma * _like(image, _grain(image, face, generator)))


def _low_light(
    image: NDArray[np.uint8], level: int, face: _Face, generator: np.random.Generator
) -> NDArray[np.uint8]:
    light, sigma = LOW_LIGHT[level]
    noise = sigma * _like(image, _grain(image, face, generator))
    return _clipped(image.astype(np.float32) * light + noise)


def _overexposure(
    image: NDArray[np.uint8], level: int, _face: _Face, _generator: np.random.Generator
) -> NDArray[np.uint8]:
    return _clipped(image.astype(np.float32) * OVEREXPOSURE[level])


def _jpeg(
    image: NDArray[np.uint8], level: int, face: _Face, _generator: np.random.Generator
) -> NDArray[np.uint8]:
    """Add what JPEG does to the picture where the face is ``FACE_PX`` wide, its blocks enlarged."""
    small = _shrunk(image, face.grain)
    _, data = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, JPEG[level]))
    flag = cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR
    artefacts = cv2.imdecode(data, flag).astype(np.float32) - small
    return _clipped(image + _enlarged(artefacts, image, cv2.INTER_NEAREST))


def _low_resolution(
    image: NDArray[np.uint8], level: int, face: _Face, _generator: np.random.Generator
) -> NDArray[np.uint8]:
    factor = face.width / LOW_RESOLUTION[level]
    return _clipped(_enlarged(_shrunk(image, factor), image)) if factor > 1 else image.copy()


def _occlusion(
    image: NDArray[np.uint8], level: int, face: _Face, generator: np.random.Generator
) -> NDArray[np.uint8]:
    x, y = (np.array((face.x, face.y)) + generator.uniform(-_REACH, _REACH, 2) * face.width).round()
    half = max(1, round(OCCLUSION[level] * face.width / 2))
    result = image.copy()
    rows, columns = (slice(max(0, int(at) - half), max(0, int(at) + half)) for at in (y, x))
    result[rows, columns] = generator.integers(0, 256)
    return result


_Apply = Callable[[NDArray[np.uint8], int, _Face, np.random.Generator], NDArray[np.uint8]]

_APPLY: Final[dict[str, _Apply]] = {
    "defocus": _defocus,
    "motion": _motion,
    "noise": _noise,
    "low_light": _low_light,
    "overexposure": _overexposure,
    "jpeg": _jpeg,
    "low_resolution": _low_resolution,
    "occlusion": _occlusion,
}

KINDS: Final = tuple(_APPLY)
"""Names, in the order of the reports."""

HELD_OUT: Final = ("jpeg", "occlusion")
"""Never trained on: how a model fares on what it was not prepared for."""


def one_each(images: NDArray[np.uint8], seed: int = 0) -> NDArray[np.uint8]:
    """Return each picture corrupted once, uint8 ``(n, h, w)``.

    The kinds but those of ``HELD_OUT``, at all severities, are dealt out evenly and in an order
    that follows from ``seed`` alone.
    """
    kinds = [kind for kind in KINDS if kind not in HELD_OUT]
    pairs = [(kind, severity) for kind in kinds for severity in SEVERITIES]
    dealt = np.random.default_rng(seed).permutation(len(images)) % len(pairs)
    worse = [
        corrupted(image, *pairs[number], seed=seed)
        for image, number in zip(images, dealt, strict=True)
    ]
    return np.stack(worse)


def _disc(radius: float) -> NDArray[np.float32]:
    """Return a kernel that spreads a point over a disc, its edge as finely as a pixel allows."""
    reach = int(np.ceil(radius))
    side = _FINE * (2 * reach + 1)
    at = (np.arange(side) + 0.5) / _FINE - (reach + 0.5)
    fine = np.hypot(at[:, None], at) <= max(radius, 1 / _FINE)
    return _normalized(fine.reshape(2 * reach + 1, _FINE, 2 * reach + 1, _FINE).mean(axis=(1, 3)))


def _streak(length: float, angle: float) -> NDArray[np.float32]:
    """Return a kernel that spreads a point over a line, each part of it over its four pixels."""
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    along = np.linspace(-length / 2, length / 2, max(2, int(np.ceil(length * _FINE))))
    x, y = along * np.cos(angle) + reach, along * np.sin(angle) + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            weight = (1 - np.abs(x - left - dx)) * (1 - np.abs(y - top - dy))
            np.add.at(kernel, (top + dy, left + dx), weight)
    return _normalized(kernel)


def _normalized(kernel: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(kernel / kernel.sum(), np.float32)


def _filtered(image: NDArray[np.uint8], kernel: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)


def _grain(
    image: NDArray[np.uint8], face: _Face, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Return noise of mean 0 and standard deviation 1, ``(h, w)``, as coarse as the face is large.

    Noise of single pixels would vanish from a large face when its crop is shrunk.
    """
    height, width = image.shape[:2]
    small = (max(2, round(height / face.grain)), max(2, round(width / face.grain)))
    noise = generator.standard_normal(small, np.float32)
    if small != (height, width):
        noise = np.asarray(
            cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
        )
    spread = float(noise.std())  # 0 in a picture of one pixel
    return noise / np.float32(spread) if spread > 0 else noise


def _like(image: NDArray[np.uint8], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a plane that fits a picture: in colour, the same for every channel."""
    return plane if image.ndim == 2 else plane[..., None]


def _shrunk(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _enlarged(
    small: NDArray[np.uint8] | NDArray[np.float32],
    image: NDArray[np.uint8],
    interpolation: int = cv2.INTER_LINEAR,
) -> NDArray[np.float32]:
    size = image.shape[1], image.shape[0]
    return np.asarray(
        cv2.resize(small.astype(np.float32), size, interpolation=interpolation), np.float32
    )


def _clipped(pixels: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(pixels), 0, 255), np.uint8)
