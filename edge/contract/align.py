"""From a face mesh to the classifier's crop: the one alignment code of host and device.

Coordinates are continuous pixels ``(x, y)`` with the origin at the top-left corner of the top-left
pixel, so that pixel ``(0, 0)`` has its centre at ``(0.5, 0.5)``; MediaPipe's normalised landmarks
times the picture's size are in the same system.
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

RIGHT_EYE: Final = (33, 133, 159, 145)
"""Mesh points around the subject's right eye (the left one in the picture): corners and lids."""
LEFT_EYE: Final = (362, 263, 386, 374)
"""Mesh points around the subject's left eye."""
MOUTH: Final = (61, 291)
"""The corners of the mouth; their mean moves little when the mouth opens or smiles."""

MESH_POINTS: Final = 478
"""Points of MediaPipe's face mesh with irises."""


class Template(msgspec.Struct, frozen=True):
    """Where the three anchors lie in a square crop of ``size`` pixels.

    Attributes:
        template_id: the name that a model's metadata carries.
        size: width and height of the crop in pixels.
        right_eye: continuous ``(x, y)`` of the subject's right eye centre.
        left_eye: the same for the left eye.
        mouth: the same for the middle of the mouth.
    """

    template_id: str
    size: int
    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    mouth: tuple[float, float]

    def anchors(self) -> NDArray[np.float64]:
        """Return the anchors as a float64 array ``(3, 2)``: right eye, left eye, mouth."""
        return np.array((self.right_eye, self.left_eye, self.mouth), np.float64)


FER48: Final = Template(
    template_id="fer48-v1",
    size=48,
    right_eye=(15.1, 18.9),
    left_eye=(32.9, 18.9),
    mouth=(24.0, 37.3),
)
"""FER2013's own framing: the median eye and mouth places of its Training pictures, made symmetric.

Measured by ``benchmarks/fer2013_framing.py`` (3,780 faces found among 4,019 rows). A raw FER2013
picture is thus already an approximately aligned crop, and a device crop looks like a FER2013
picture: neither tighter nor looser.
"""

TEMPLATES: Final = {template.template_id: template for template in (FER48,)}

_GROUPS: Final = (RIGHT_EYE, LEFT_EYE, MOUTH)
_ANCHOR_POINTS: Final = np.concatenate(_GROUPS)
_SIZES: Final = [len(group) for group in _GROUPS]
_ANCHOR_WEIGHTS: Final = np.repeat(np.diag(1 / np.array(_SIZES)), _SIZES, axis=1)
"""``(3, points)``: each anchor is the mean of its group."""


def face_anchors(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Reduce a mesh to its three anchors.

    Args:
        points: ``(478, 2)`` or ``(478, 3)``, continuous pixels; a third column is ignored.

    Returns:
        float64 ``(3, 2)``: centres of the right eye, the left eye and the mouth.
    """
    if points.ndim != 2 or points.shape[0] != MESH_POINTS or points.shape[1] < 2:
        raise ValueError(f"points must have shape (478, 2) or (478, 3), got {points.shape}")
    return _ANCHOR_WEIGHTS @ np.asarray(points[_ANCHOR_POINTS, :2], np.float64)


_COMPLEX: Final = np.array((1, 1j))


def similarity(source: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Fit the similarity (rotation, uniform scale, shift) that maps ``source`` onto ``target``.

    Least squares without reflection; Umeyama, "Least-squares estimation of transformation
    parameters between two point patterns", PAMI 1991, in its two-dimensional closed form.

    Args:
        source: ``(n, 2)``, n >= 2, not all the same point.
        target: ``(n, 2)``.

    Returns:
        float64 ``(2, 3)``: ``target ~ source @ m[:, :2].T + m[:, 2]``.

    Raises:
        ValueError: the source points coincide, or are not finite.
    """
    # As complex numbers: a rotation with a scale is one factor.
    z, w = source @ _COMPLEX, target @ _COMPLEX
    z_mean, w_mean = z.mean(), w.mean()
    z = z - z_mean
    spread = float(np.vdot(z, z).real)
    if not math.isfinite(spread) or spread < 1e-12:
        raise ValueError("the anchor points coincide or are not finite: no similarity fits them")
    factor = complex(np.vdot(z, w - w_mean)) / spread
    shift = complex(w_mean) - factor * complex(z_mean)
    cos, sin = factor.real, factor.imag
    return np.array(((cos, -sin, shift.real), (sin, cos, shift.imag)))


def crop_matrix(points: NDArray[np.floating], template: Template = FER48) -> NDArray[np.float64]:
    """Return the ``(2, 3)`` similarity from picture coordinates to crop coordinates."""
    return similarity(face_anchors(points), template.anchors())


def aligned_crop(
    image: NDArray[np.uint8], points: NDArray[np.floating], template: Template = FER48
) -> NDArray[np.uint8]:
    """Cut the upright, scaled, grey face out of a picture.

    Args:
        image: ``(H, W)`` grey or ``(H, W, 3)`` BGR, uint8.
        points: the face's mesh in that picture, see ``face_anchors``.
        template: where eyes and mouth shall lie.

    Returns:
        uint8 ``(size, size)``. What lies outside the picture repeats its border.
    """
    return warp(image, crop_matrix(points, template), template.size)


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Resample ``image`` through ``matrix`` to a grey ``(size, size)`` crop, without aliasing.

    Bilinear sampling reads four pixels, however far apart the samples lie: a face of 300 pixels
    would be decimated to 48. So the warp goes to a whole multiple of ``size`` that is no coarser
    than the picture, and the mean over each block gives the crop.
    """
    import cv2  # the one warp of the contract; the module itself stays numpy-only

    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    oversampling = int(np.clip(np.ceil(1 / max(scale, 1e-6) - 0.25), 1, 32))
    x1, y1, x2, y2 = _needed(image.shape[:2], matrix, size)
    part = image[y1:y2, x1:x2]
    if part.ndim == 3:  # before the warp: one channel to resample, not three
        part = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8)
    enlarged = matrix * oversampling
    # OpenCV counts from pixel centres: shift by half a pixel on both sides.
    enlarged[:, 2] += enlarged[:, :2] @ (x1 + 0.5, y1 + 0.5) - 0.5
    side = size * oversampling
    crop = cv2.warpAffine(
        part, enlarged, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    if oversampling > 1:
        crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def _needed(
    size_hw: tuple[int, ...], matrix: NDArray[np.float64], size: int
) -> tuple[int, int, int, int]:
    """Return the box of the pixels that a crop through ``matrix`` reads: x1, y1, x2, y2.

    Cut at the picture's edges, where the crop repeats the border, and never empty.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    area = a * d - b * c
    if not abs(area) > 1e-12:  # everything falls together: no box of its own
        return 0, 0, size_hw[1], size_hw[0]
    # The corners 0 and size of the crop, taken back into the picture.
    left, top = (b * y - d * x) / area, (c * x - a * y) / area
    xs = (left, left + size * d / area, left - size * b / area, left + size * (d - b) / area)
    ys = (top, top - size * c / area, top + size * a / area, top + size * (a - c) / area)
    x1, x2 = _range(min(xs), max(xs), size_hw[1])
    y1, y2 = _range(min(ys), max(ys), size_hw[0])
    return x1, y1, x2, y2


def _range(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return whole pixels from below ``low`` to above ``high``, two to spare, in [0, limit]."""
    first = min(max(math.floor(low) - 2, 0), limit - 1)
    return first, max(min(math.ceil(high) + 2, limit), first + 1)
