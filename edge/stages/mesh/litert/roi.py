"""Rotated regions of interest: where in a picture a model looks, and cutting them out.

Coordinates are continuous pixels of the picture (see ``edge.contract.align``). The constants are
those of MediaPipe's face_detector_graph.cc and face_landmarks_detector_graph.cc.
"""

import math
from collections.abc import Iterable
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import InferenceError
from edge.records import bounding_box, intersection_over_union

_EXPANSION: Final = 1.5
"""A region is this much wider and higher than the face in it: room to move until the next frame."""
_RIGHT_EYE_OUTER: Final = 33
_LEFT_EYE_OUTER: Final = 263
"""The mesh points whose connection is level in an upright face."""
_MAX_SIDE_PX: Final = 1e6
_MIN_SIDE_PX: Final = 1e-3


class Roi(msgspec.Struct, frozen=True):
    """A rectangle, turned about its centre.

    Attributes:
        x: its centre.
        y: its centre.
        width: of the side along its own x axis, in pixels.
        height: of the other side.
        rotation: radians, clockwise in the picture; 0 for an upright face.
    """

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def to_picture(self, size: int) -> NDArray[np.float64]:
        """Return the ``(2, 3)`` affine map from a square crop of ``size`` pixels to the picture."""
        cos, sin = math.cos(self.rotation), math.sin(self.rotation)
        xx, xy = cos * self.width / size, -sin * self.height / size
        yx, yy = sin * self.width / size, cos * self.height / size
        half = size / 2
        return np.array(((xx, xy, self.x - (xx + xy) * half), (yx, yy, self.y - (yx + yy) * half)))

    def bounds(self) -> tuple[float, float, float, float]:
        """Return the smallest upright box around it: x1, y1, x2, y2."""
        cos, sin = abs(math.cos(self.rotation)), abs(math.sin(self.rotation))
        half_x = (cos * self.width + sin * self.height) / 2
        half_y = (sin * self.width + cos * self.height) / 2
        return self.x - half_x, self.y - half_y, self.x + half_x, self.y + half_y

    def unrotated(self) -> tuple[float, float, float, float]:
        """Return its box before it was turned: x1, y1, x2, y2."""
        half_x, half_y = self.width / 2, self.height / 2
        return self.x - half_x, self.y - half_y, self.x + half_x, self.y + half_y

    def square(self, growth: float) -> "Roi":
        """Return the square on its longer side, grown by a factor."""
        side = max(self.width, self.height) * growth
        return msgspec.structs.replace(self, width=side, height=side)

    def turned(self, angle: float) -> "Roi":
        """Return the same region, turned by radians clockwise."""
        return msgspec.structs.replace(self, rotation=self.rotation + angle)

    def is_usable(self) -> bool:
        """Tell whether it is finite and of a size that can be cut out."""
        values = (self.x, self.y, self.width, self.height, self.rotation)
        return (
            all(map(math.isfinite, values))
            and max(abs(self.x), abs(self.y)) < _MAX_SIDE_PX
            and min(self.width, self.height) > _MIN_SIDE_PX
            and max(self.width, self.height) < _MAX_SIDE_PX
        )


def whole_picture(size_hw: tuple[int, int]) -> Roi:
    """Return the smallest square that holds the picture, with the same centre."""
    height, width = size_hw
    side = float(max(size_hw))
    return Roi(width / 2, height / 2, side, side)


def around_detection(
    box_xyxy: NDArray[np.floating], right_eye: NDArray[np.floating], left_eye: NDArray[np.floating]
) -> Roi:
    """Return the region to look for landmarks in, from what the detector gives.

    Args:
        box_xyxy: ``(4,)``, the face's box in the picture.
        right_eye: ``(2,)``, the subject's right eye, which is the left one in an upright picture.
        left_eye: ``(2,)``.
    """
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return Roi(
        (x1 + x2) / 2,
        (y1 + y2) / 2,
        (x2 - x1) * _EXPANSION,
        (y2 - y1) * _EXPANSION,
        _slope(right_eye, left_eye),
    )


def around_points(points: NDArray[np.floating]) -> Roi:
    """Return the region to look for the same face in the next frame.

    Args:
        points: the mesh, ``(478, 2)`` or ``(478, 3)``, in the picture.
    """
    x1, y1, x2, y2 = bounding_box(points)
    side = max(x2 - x1, y2 - y1) * _EXPANSION
    slope = _slope(points[_RIGHT_EYE_OUTER], points[_LEFT_EYE_OUTER])
    return Roi((x1 + x2) / 2, (y1 + y2) / 2, side, side, slope)


def _slope(start: NDArray[np.floating], end: NDArray[np.floating]) -> float:
    """Return the angle of the way from ``start`` to ``end``, clockwise in the picture."""
    return math.atan2(float(end[1] - start[1]), float(end[0] - start[0]))


def overlap(one: Roi, other: Roi) -> float:
    """Return the intersection over union of two regions, taken as unrotated, in [0, 1]."""
    return intersection_over_union(one.unrotated(), other.unrotated())


def overlaps_any(roi: Roi, others: Iterable[Roi], threshold: float) -> bool:
    """Tell whether ``roi`` covers the same face as one of ``others``."""
    return any(overlap(roi, other) > threshold for other in others)


_FLAGS: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_PATCH: Final = 512
"""Regions that span at most so many pixels take the faster way: OpenCV 5 warps four channels in
40 % of the time that three take, which pays for widening so many. (OpenCV 4.10: no difference.)"""


class Cropper:
    """Warps regions to squares and scales their pixels; its buffers are used over and over.

    Like MediaPipe's image_to_tensor_converter_opencv.cc, it maps the region's corners to the
    crop's corners in OpenCV's pixel-centre coordinates, without a half-pixel shift: parity with
    the results that MediaPipe publishes rests on that.

    Args:
        size: width and height of the crop in pixels.
        value_range: what the pixel values 0 and 255 become.
        border_mode: OpenCV's, for what lies outside the picture.
    """

    def __init__(self, size: int, value_range: tuple[float, float], border_mode: int) -> None:
        self._size = size
        self._border_mode = border_mode
        self._patch = np.empty((_PATCH, _PATCH, 4), np.uint8)
        self._wide = np.empty((size, size, 4), np.uint8)
        self._warped = np.empty((size, size, 3), np.uint8)
        self._values = np.linspace(*value_range, 256, dtype=np.float32)

    def cut(self, image: NDArray[np.uint8], roi: Roi, target: NDArray[np.float32]) -> None:
        """Write the region into a tensor.

        Args:
            image: BGR uint8 ``(H, W, 3)``.
            roi: what to cut out.
            target: RGB float32 ``(1, size, size, 3)``, overwritten.

        Raises:
            InferenceError: OpenCV cannot warp such a picture.
        """
        try:
            if not self._warp_patch(image, roi):
                self._warp(image, roi.to_picture(self._size), self._warped)
                cv2.cvtColor(self._warped, cv2.COLOR_BGR2RGB, dst=self._warped)
            cv2.LUT(self._warped, self._values, dst=target[0])
        except cv2.error as error:
            raise InferenceError(
                f"a picture of {image.shape[1]}x{image.shape[0]} cannot be warped "
                f"({' '.join(str(error).split())}); OpenCV 4 takes at most 32766 pixels a side"
            ) from error

    def _warp_patch(self, image: NDArray[np.uint8], roi: Roi) -> bool:
        """Warp by way of a four-channel copy of no more than what is needed, if it is small."""
        x1, y1, x2, y2 = _pixels_read(roi, (image.shape[0], image.shape[1]))
        width, height = x2 - x1, y2 - y1
        if not (0 < width <= _PATCH and 0 < height <= _PATCH):
            return False
        patch = self._patch[:height, :width]
        cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_BGR2RGBA, dst=patch)
        shifted = roi.to_picture(self._size) - ((0, 0, x1), (0, 0, y1))
        self._warp(patch, shifted, self._wide)
        cv2.cvtColor(self._wide, cv2.COLOR_RGBA2RGB, dst=self._warped)
        return True

    def _warp(
        self, image: NDArray[np.uint8], matrix: NDArray[np.float64], target: NDArray[np.uint8]
    ) -> None:
        side = (self._size, self._size)
        cv2.warpAffine(image, matrix, side, dst=target, flags=_FLAGS, borderMode=self._border_mode)


def _pixels_read(roi: Roi, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return which pixels of the picture a crop reads, as x1, y1, x2, y2; may be empty."""
    x1, y1, x2, y2 = roi.bounds()
    height, width = size_hw
    return (
        max(0, math.floor(x1) - 1),
        max(0, math.floor(y1) - 1),
        min(width, math.ceil(x2) + 2),
        min(height, math.ceil(y2) + 2),
    )
