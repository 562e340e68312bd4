"""Which faces can be read: big enough, lit enough, turned to the camera enough."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.config import QualityConfig
from edge.contract.logrecord import Quality
from edge.records import Face

_SLACK: Final = 0.1
"""A face that was unfit must be better than the threshold by this share to be fit again."""


class FaceGate:
    """Says of every face whether it shall be classified, and if not, why.

    A classifier answers for any crop, and most surely for the worst. What is unfit by one of the
    thresholds stays so until it is better than it by a tenth: a face at the edge of one does not
    flicker between an emotion and none.
    """

    def __init__(self, config: QualityConfig) -> None:
        self._config = config
        self._unfit: dict[int, Quality] = {}

    def judge(
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
            quality = self._light(track_id, pixels)
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

    def _light(self, track_id: int, crop: NDArray[np.uint8]) -> Quality:
        quarter = crop.shape[0] // 4  # brow to chin, without what is behind the head
        centre = crop[quarter:-quarter, quarter:-quarter] if quarter else crop
        limit = self._config.min_brightness * self._raised(track_id, "too_dark")
        return "too_dark" if float(centre.mean()) < limit else "ok"

    def _raised(self, track_id: int, quality: Quality) -> float:
        return 1 + _SLACK if self._unfit.get(track_id) == quality else 1.0
