"""Which faces can be classified: big, lit, sharp and turned to the camera enough."""

import math
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import QualityConfig
from edge.contract.logrecord import Quality
from edge.records import Face

_SLACK: Final = 0.1
"""A face that was unfit must be better than the threshold by this share to be fit again."""
_MARGIN: Final = 1 / 8
"""What of a crop is not judged, on every side, as a share of it: what is around the face."""
_CROP_PX: Final = 48
"""The crop's side for which the finest details are those of one pixel."""
_NOISE_KERNEL: Final = np.array(((1, -2, 1), (-2, 4, -2), (1, -2, 1)), np.float32)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Return the share of a face's contrast that lies in its finest details, in [0, 1].

    It is what a Gaussian of one pixel takes away from the crop, as the classifier sees it: light
    and contrast do not matter, nor how large the face was in the frame, if its details survived.

    Args:
        crop: the aligned grey face, uint8 ``(size, size)``.
    """
    face = _face(crop)
    contrast = float(face.std())
    if contrast < 1:  # nothing is there that could be blurred
        return 1.0
    soft = cv2.GaussianBlur(face, (0, 0), len(crop) / _CROP_PX)
    return min(1.0, float((face - soft).std()) / contrast)


def contrast_to_noise(crop: NDArray[np.uint8]) -> float:
    """Return how many times larger a face's contrast is than its noise, from 0 on.

    A camera in the dark turns its gain up: the noise grows and not the light. The noise is
    estimated after Immerkaer, "Fast noise variance estimation" (CVIU 64, 1996).

    Args:
        crop: the aligned grey face, uint8 ``(size, size)``.
    """
    face = _face(crop)
    rough = cv2.filter2D(face, -1, _NOISE_KERNEL)[1:-1, 1:-1]
    noise = math.sqrt(math.pi / 2) / 6 * cv2.norm(rough, cv2.NORM_L1) / max(rough.size, 1)
    return float(face.std()) / noise if noise > 0 else math.inf


def _face(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    margin = round(len(crop) * _MARGIN)
    inside = slice(margin, len(crop) - margin)
    return crop[inside, inside].astype(np.float32)


class FaceQualityFilter:
    """Says of every face whether it shall be classified, and if not, why.

    A classifier answers for any crop, and most surely for the worst. What is unfit by one of the
    thresholds stays so until it is better than it by a tenth: a face at the edge of one does not
    flicker between an emotion and none.
    """

    def __init__(self, config: QualityConfig) -> None:
        self._config = config
        self._unfit: dict[int, Quality] = {}

    def check(
        self, track_id: int, face: Face, crop: Callable[[], NDArray[np.uint8]]
    ) -> tuple[Quality, NDArray[np.uint8] | None]:
        """Judge the next face of a track, the cheapest threshold first.

        Args:
            track_id: whose face it is.
            face: as meshed.
            crop: cuts out the aligned grey face, uint8 ``(size, size)``; called only for a face
                that size and angle do not rule out.

        Returns:
            ``ok`` with the crop, or what is wrong with the face and None.
        """
        quality, pixels = self._shape(track_id, face), None
        if quality == "ok":
            pixels = crop()
            quality = self._detail(track_id, pixels)
        if quality == "ok":
            self._unfit.pop(track_id, None)
            return quality, pixels
        self._unfit[track_id] = quality
        return quality, None

    def forget(self, track_id: int) -> None:
        """Drop a track that has ended."""
        self._unfit.pop(track_id, None)

    def _shape(self, track_id: int, face: Face) -> Quality:
        config, pose = self._config, face.head_pose
        width = float(face.box_xyxy[2] - face.box_xyxy[0])
        if not (math.isfinite(width) and width > 0):
            return "too_small"
        if width < config.min_width_px * self._raised(track_id, "too_small"):
            return "too_small"
        if pose is None:
            return "ok"
        limit = 1 / self._raised(track_id, "too_turned")
        is_turned = (
            abs(pose.yaw_deg) > config.max_yaw_deg * limit
            or abs(pose.pitch_deg) > config.max_pitch_deg * limit
        )
        return "too_turned" if is_turned else "ok"

    def _detail(self, track_id: int, crop: NDArray[np.uint8]) -> Quality:
        config, lit = self._config, self._raised(track_id, "too_dark")
        quarter = crop.shape[0] // 4  # brow to chin, without what is behind the head
        centre = crop[quarter:-quarter, quarter:-quarter] if quarter else crop
        if float(centre.mean()) < config.min_brightness * lit:
            return "too_dark"
        if contrast_to_noise(crop) < config.min_contrast_to_noise * lit:
            return "too_dark"
        is_sharp = sharpness(crop) >= config.min_sharpness * self._raised(track_id, "too_blurred")
        return "ok" if is_sharp else "too_blurred"

    def _raised(self, track_id: int, quality: Quality) -> float:
        return 1 + _SLACK if self._unfit.get(track_id) == quality else 1.0
