"""From a face mesh to the numbers that a model reads beside, or instead of, the crop.

344 features: the points that MediaPipe's blendshape model reads, freed of place, size and tilt in
the picture, and that model's 52 expression coefficients. A model sees them standardised by the
means and scales of its training rows, which travel in its metadata.
"""

from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import MESH_POINTS, face_anchors
from edge.contract.quantize import INT8_MAX, INT8_MIN, QuantizationParams

FEATURES_ID: Final = "mesh-v1"
"""Names this definition in a model's metadata; another definition gets another name."""

EXPRESSION_POINTS: Final = np.array((
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
))  # fmt: skip
"""The 146 mesh points that MediaPipe's blendshape model takes (face_blendshapes_graph.cc)."""

MIRRORED_POINTS: Final = (
    (7, 249), (21, 251), (33, 263), (37, 267), (39, 269), (40, 270), (46, 276), (52, 282),
    (53, 283), (54, 284), (55, 285), (58, 288), (61, 291), (63, 293), (65, 295), (66, 296),
    (67, 297), (70, 300), (78, 308), (80, 310), (81, 311), (82, 312), (84, 314), (87, 317),
    (88, 318), (91, 321), (93, 323), (95, 324), (103, 332), (105, 334), (107, 336), (109, 338),
    (127, 356), (132, 361), (133, 362), (136, 365), (144, 373), (145, 374), (146, 375), (148, 377),
    (149, 378), (150, 379), (153, 380), (154, 381), (155, 382), (157, 384), (158, 385), (159, 386),
    (160, 387), (161, 388), (162, 389), (163, 390), (172, 397), (173, 398), (176, 400), (178, 402),
    (181, 405), (185, 409), (191, 415), (234, 454), (246, 466),
    # The irises. Both are numbered from the picture's right, so a mirror swaps their ends.
    (468, 473), (469, 476), (470, 475), (471, 474), (472, 477),
)  # fmt: skip
"""Which of those points are each other's mirror image: the subject's right one, the left one.

The others lie on the midline. MediaPipe's canonical face is symmetric to the last bit.
"""

BLENDSHAPES: Final = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft",
    "browOuterUpRight", "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft",
    "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight",
    "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight", "eyeSquintLeft",
    "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft",
    "mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper",
    "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft",
    "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight", "noseSneerLeft",
    "noseSneerRight",
)  # fmt: skip
"""MediaPipe's expression coefficients, in its order."""

FEATURE_COUNT: Final = 2 * len(EXPRESSION_POINTS) + len(BLENDSHAPES)
"""x and y of each point in turn, then the blendshapes: 344."""

FEATURES: Final = QuantizationParams(scale=1 / 32, zero_point=0)
"""The int8 quantisation of standardised features in every model that takes them.

A thirty-second is exact in binary, so that the calibration range -4 to 127/32 gives this scale and
this zero point to the last bit.
"""

FEATURE_MIN: Final = INT8_MIN * FEATURES.scale
FEATURE_MAX: Final = INT8_MAX * FEATURES.scale
"""Standardised features are clipped to -4 ... 3.96875, what int8 can tell, in float models too."""

_MIN_SCALE: Final = 1e-3
"""Features that vary less, such as the blendshape ``_neutral``, are noise and stay small."""


_LEAST_SCALE: Final = 1e-6


class FeatureNorm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """What standardises features: ``(feature - mean) / scale``, one of each per feature.

    Attributes:
        mean: ``FEATURE_COUNT`` finite numbers.
        scale: ``FEATURE_COUNT`` numbers from 1e-6 to 1e6.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("scale", self.scale)):
            if len(values) != FEATURE_COUNT or not np.isfinite(values).all():
                raise ValueError(
                    f"{name} must be {FEATURE_COUNT} finite numbers, got {len(values)}"
                )
        least, most = min(self.scale), max(self.scale)
        if least < _LEAST_SCALE or most > 1 / _LEAST_SCALE:
            raise ValueError(f"scale must be positive, 1e-6 to 1e6, got {least:g} to {most:g}")
        if max(map(abs, self.mean)) > 1 / _LEAST_SCALE:
            raise ValueError("mean must be at most 1e6 from zero")

    @cached_property
    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and scale, float32 ``(FEATURE_COUNT,)`` each."""
        return np.array(self.mean, np.float32), np.array(self.scale, np.float32)


def mesh_features(
    points: NDArray[np.floating], blendshapes: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the features of a face, the same ones wherever, how large and how tilted it is.

    The points are centred between the eyes, turned until the eyes are level, and measured in
    distances of the eye centres (see ``face_anchors``).

    Args:
        points: the mesh ``(478, 2)`` or ``(478, 3)`` in pixels; a third column is ignored.
        blendshapes: ``(52,)`` in MediaPipe's order.

    Returns:
        float32 ``(FEATURE_COUNT,)``.

    Raises:
        ValueError: wrong shapes, values that are not finite, or eye centres that coincide.
    """
    if points.shape not in ((MESH_POINTS, 2), (MESH_POINTS, 3)):
        raise ValueError(f"points must have shape (478, 2) or (478, 3), got {points.shape}")
    if blendshapes.shape != (len(BLENDSHAPES),):
        raise ValueError(f"blendshapes must have shape (52,), got {blendshapes.shape}")
    right, left, _ = face_anchors(points)
    across = left - right
    squared = float(across @ across)
    xy = points[EXPRESSION_POINTS, :2].astype(np.float64) - (right + left) / 2
    if not (np.isfinite(squared) and np.isfinite(xy).all() and np.isfinite(blendshapes).all()):
        raise ValueError("the mesh or its blendshapes hold values that are not finite")
    if squared < 1e-12:
        raise ValueError("the eye centres coincide: the face has no size")
    turn = np.array(((across[0], -across[1]), (across[1], across[0]))) / squared
    return np.concatenate(((xy @ turn).ravel(), blendshapes)).astype(np.float32)


def mirrored_features(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features ``(..., FEATURE_COUNT)`` that the mirrored pictures would have."""
    _check_count(features)
    return features[..., _MIRROR] * _MIRROR_SIGN


def feature_norm(features: NDArray[np.float32]) -> FeatureNorm:
    """Measure mean and standard deviation of rows ``(n, FEATURE_COUNT)``; NaN rows do not count.

    Rounded to six digits, so that training uses the very numbers that metadata spells out.

    Raises:
        ValueError: there is no row with a face.
    """
    _check_count(features)
    known = features[np.isfinite(features).all(axis=1)].astype(np.float64)
    if not len(known):
        raise ValueError(f"none of {len(features)} rows has mesh features: no mean can be taken")
    scale = np.maximum(known.std(axis=0), _MIN_SCALE)
    return FeatureNorm(*(tuple(map(_rounded, values)) for values in (known.mean(axis=0), scale)))


def standardized(features: NDArray[np.float32], norm: FeatureNorm) -> NDArray[np.float32]:
    """Return what a model is fed: float32 ``(..., FEATURE_COUNT)`` from -4 to 3.96875.

    Rows with a value that is not finite, which stand for no face, give zeros: the mean face.
    """
    _check_count(features)
    mean, scale = norm.arrays
    known = np.isfinite(features).all(axis=-1, keepdims=True)
    values = np.where(known, (np.where(known, features, mean) - mean) / scale, 0)
    return np.clip(values, FEATURE_MIN, FEATURE_MAX).astype(np.float32)


def _check_count(features: NDArray[np.float32]) -> None:
    if features.ndim == 0 or features.shape[-1] != FEATURE_COUNT:
        raise ValueError(f"features must have shape (..., {FEATURE_COUNT}), got {features.shape}")


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def _mirror_order() -> NDArray[np.intp]:
    """Return for each feature the one that takes its place in a mirrored picture."""
    partner = {**dict(MIRRORED_POINTS), **{left: right for right, left in MIRRORED_POINTS}}
    position = {int(point): i for i, point in enumerate(EXPRESSION_POINTS)}
    points = [position[partner.get(point, point)] for point in position]
    shapes = [BLENDSHAPES.index(_other_side(name)) for name in BLENDSHAPES]
    coordinates = [2 * point + axis for point in points for axis in (0, 1)]
    return np.array(coordinates + [2 * len(points) + shape for shape in shapes], np.intp)


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return f"{name.removesuffix('Left')}Right"
    return f"{name.removesuffix('Right')}Left" if name.endswith("Right") else name


_MIRROR: Final = _mirror_order()
_MIRROR_SIGN: Final = np.array(
    (-1, 1) * len(EXPRESSION_POINTS) + (1,) * len(BLENDSHAPES), np.float32
)
