"""Cutting a region out of a picture into a model's input tensor, without copies of the picture."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import InferenceError
from edge.stages.mesh.litert.roi import Roi

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
