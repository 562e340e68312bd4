"""Looking less often while little happens: a mesh is kept, and moved along, for up to 0.1 s.

A face's mesh costs most of a frame. Between two of them a small grey picture of each face says
whether anything happens that a shift does not explain; one step of Lucas and Kanade's method (1981)
on it tells the shift.
"""

import math
from collections.abc import Sequence
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.protocols import FaceMesher, ThreadedMesher
from edge.records import Face, Frame

LONGEST_S: Final = 0.1
"""No mesh is kept for longer, so nothing is seen later by more than this."""
_SLACK: Final = 0.9
"""Frames do not come on time: what is nearly due is due."""
_CELLS: Final = 32
"""The grey picture's side."""
_LEAST_PX: Final = 16
"""A face with less of it in the picture is looked at in every frame."""
_FAR_CELLS: Final = 1.0
"""A face that has moved farther has moved, 3 % of its width: one step tells no more."""
_CHANGE: Final = 4.0
"""Grey levels, beyond what noise explains, that make a change."""
_NOISE: Final = 5.0
"""How many standard deviations noise explains."""
_TO_SIGMA: Final = 1.4826
"""From the median of absolute values to a standard deviation."""
_BLUR: Final = 3
"""A change is wider than a cell, noise is not."""
_SCHARR: Final = np.float32(32)
"""The weights of OpenCV's derivative add up to so much."""
_FLAT: Final = 1.0
"""The least texture by which a shift can be told."""


class SparingMesher:
    """Asks another mesher for faces only when it has to; a ``FaceMesher``.

    A frame is looked at when the last look is ``LONGEST_S`` old, or when a face has changed and the
    last look is older than ``tracking_fps`` allows. In between faces are those of the last look,
    shifted. While there is no face, or a number of faces that was not seen ``confirm_hits`` times
    in a row, every frame is looked at: a kept face confirms nothing.

    Args:
        mesher: finds the faces; closed with this one.
        tracking_fps: the most looks a second at faces that move.
        confirm_hits: how often faces must have been seen before they are kept.
    """

    def __init__(self, mesher: FaceMesher, tracking_fps: float, confirm_hits: int) -> None:
        self._mesher = mesher
        self._least_s = min(1 / tracking_fps, LONGEST_S)
        self._confirm_hits = confirm_hits
        self._faces: Sequence[Face] = ()
        self._looks: list[_Look] = []
        self._looked_s = -math.inf
        self._hits = 0
        self._size_hw = (0, 0)

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the faces of ``frame``; see ``edge.protocols.FaceMesher``."""
        kept = (
            None if frame.starts_new_clip or frame.size_hw != self._size_hw else self._kept(frame)
        )
        if kept is not None:
            return kept
        faces = self._mesher.detect(frame)
        is_as_before = len(faces) == len(self._faces) and frame.size_hw == self._size_hw
        self._hits = self._hits + 1 if is_as_before and not frame.starts_new_clip else 1
        self._faces, self._size_hw, self._looked_s = faces, frame.size_hw, frame.t_s
        looks = [_look_at(frame.image, face) for face in faces] if self._is_confirmed else []
        self._looks = [look for look in looks if look is not None]
        return faces

    def use_threads(self, count: int) -> None:
        """Let the mesher run on so many threads, if it can."""
        if isinstance(self._mesher, ThreadedMesher):
            self._mesher.use_threads(count)

    def close(self) -> None:
        """Close the mesher."""
        self._mesher.close()

    @property
    def _is_confirmed(self) -> bool:
        return self._hits >= self._confirm_hits

    def _kept(self, frame: Frame) -> list[Face] | None:
        """Return the faces of the last look where they are now; None when it is time to look."""
        elapsed_s = frame.t_s - self._looked_s
        if not self._looks or len(self._looks) < len(self._faces):
            return None
        if not 0 < elapsed_s < _SLACK * LONGEST_S:
            return None
        may_wait = elapsed_s < _SLACK * self._least_s
        kept = []
        for face, look in zip(self._faces, self._looks, strict=True):
            shift = look.shift(frame.image)
            if shift is None and not may_wait:
                return None
            kept.append(_stale(face) if shift is None else _shifted(face, shift))
        return kept


class _Look(msgspec.Struct, frozen=True, eq=False):
    """What a face looked like.

    Attributes:
        box: of the picture, x1, y1, x2, y2 in whole pixels.
        grey: float32 ``(1024,)``, in rows of 32 cells.
        slopes: float32 ``(2, 1024)``, of the grey levels along x and y, a cell.
        solver: float32 ``(2, 2)``, from the slopes' products with a change to the shift.
    """

    box: tuple[int, int, int, int]
    grey: NDArray[np.float32]
    slopes: NDArray[np.float32]
    solver: NDArray[np.float32]

    def shift(self, image: NDArray[np.uint8]) -> tuple[float, float] | None:
        """Return how far the face has moved since then, in pixels; None where that is not all."""
        change = _grey(image, self.box) - self.grey
        change -= _middle(change)  # the light
        moved = -self.solver @ (self.slopes @ change)
        if np.abs(moved).max() > _FAR_CELLS:
            return None
        change += moved @ self.slopes
        noise = _TO_SIGMA * _middle(np.abs(change)) / _BLUR
        blurred = cv2.blur(change.reshape(_CELLS, _CELLS), (_BLUR, _BLUR))
        if np.abs(blurred).max() > _CHANGE + _NOISE * noise:
            return None
        x1, y1, x2, y2 = self.box
        return float(moved[0]) * (x2 - x1) / _CELLS, float(moved[1]) * (y2 - y1) / _CELLS


def _look_at(image: NDArray[np.uint8], face: Face) -> _Look | None:
    """Return what a face looks like; None where too little of it is in the picture to tell."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (round(float(value)) for value in face.box_xyxy)
    box = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
    if min(box[2] - box[0], box[3] - box[1]) < _LEAST_PX:
        return None
    grey = _grey(image, box)
    plane = grey.reshape(_CELLS, _CELLS)
    gradients = np.stack((cv2.Scharr(plane, -1, 1, 0), cv2.Scharr(plane, -1, 0, 1)))
    slopes = np.asarray(gradients / _SCHARR, np.float32).reshape(2, -1)
    moments = slopes @ slopes.T
    if np.linalg.det(moments) < _FLAT:
        return None
    return _Look(box, grey, slopes, np.linalg.inv(moments).astype(np.float32))


def _grey(image: NDArray[np.uint8], box: tuple[int, int, int, int]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = box
    grey = cv2.cvtColor(image[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).ravel()


def _middle(values: NDArray[np.float32]) -> float:
    """Return a median, in a fifth of the time of NumPy's."""
    half = values.size // 2
    return float(np.partition(values, half)[half])


def _stale(face: Face) -> Face:
    return msgspec.structs.replace(face, is_stale=True)


def _shifted(face: Face, shift: tuple[float, float]) -> Face:
    x, y = shift
    points = face.points + np.array((x, y, 0), np.float32)
    box = face.box_xyxy + np.array((x, y, x, y), np.float32)
    return msgspec.structs.replace(face, points=points, box_xyxy=box)
