"""Finding faces: BlazeFace short range (arXiv 1907.05047; its model card, Google 2021).

It sees faces within about two metres of a phone's camera, that is from about a tenth of the
picture's longer side on; smaller ones are found in tiles of the picture (see ``tiles``).
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.inference.interpreter import TfliteModel, expect_shapes
from edge.records import intersection_over_union
from edge.stages.mesh.litert.roi import Cropper, Roi, around_detection, whole_picture

_GRIDS: Final = ((16, 2), (8, 6))
"""Cells a side and anchors a cell: two on the 16x16 feature map, six on the 8x8 one."""


def blazeface_anchors() -> NDArray[np.float32]:
    """Return the anchors' centres, float32 ``(896, 2)``: x, y as a fraction of the model's input.

    Bazarevsky et al. 2019, arXiv 1907.05047, section 3.2.

    Rows first, then columns, then the anchors of a cell, which all lie in its middle; their size is
    fixed at the whole input, so that boxes are regressed in input pixels.
    """
    grids = []
    for cells, anchors in _GRIDS:
        centres = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(centres, centres, indexing="ij")
        grids.append(np.repeat(np.stack((x, y), axis=-1).reshape(-1, 2), anchors, axis=0))
    return np.concatenate(grids)


_SIZE: Final = 128
_ANCHORS: Final = 896
_VALUES: Final = 16
"""A box (centre, size) and six points (x, y each): eyes, nose tip, mouth, ear tragions."""
_RIGHT_EYE: Final = slice(4, 6)
_LEFT_EYE: Final = slice(6, 8)
_SAME_FACE: Final = 0.5
"""Detections that overlap more than this are one face."""
_MAX_LOGIT: Final = 80.0
"""Keeps the exponential finite in float32."""
_LOOK_MIN_SCORE: Final = 0.5
"""A second look takes what scores so much, or what the caller's threshold is if that is less."""
_MIDDLE: Final = 0.25
"""A face that a second look is about has its centre within this share of the side from the middle:
neighbours have not."""

_AS_IT_IS: Final = np.eye(2, 3)


class Sighting(msgspec.Struct, frozen=True, eq=False):
    """What the detector says about one region.

    Attributes:
        roi: the region to look for landmarks in.
        points: ``(6, 2)``, in the picture: the subject's right and left eye, nose tip, middle of
            the mouth, right and left ear.
        score: how sure it is, in [0, 1].
    """

    roi: Roi
    points: NDArray[np.float64]
    score: float


class FaceDetector:
    """Finds the regions of a picture to look for landmarks in; for one thread at a time.

    Args:
        model: the content of ``face_detector.tflite``: input float32 ``(1, 128, 128, 3)`` in
            [-1, 1], outputs ``(1, 896, 16)`` and ``(1, 896, 1)``.
        min_score: what a detection must reach, in [0, 1].
        num_threads: CPU threads that one inference may use.

    Raises:
        InferenceError: it is another model, or the runtime cannot run it.
    """

    def __init__(self, model: bytes, min_score: float, num_threads: int = 1) -> None:
        self._model = TfliteModel(model, num_threads=num_threads, name="face detector")
        expect_shapes(
            self._model,
            "face detector",
            ((1, _SIZE, _SIZE, 3),),
            ((1, _ANCHORS, _VALUES), (1, _ANCHORS, 1)),
        )
        self._min_score = min_score
        self._cropper = Cropper(_SIZE, (-1.0, 1.0), cv2.BORDER_CONSTANT)
        self._anchors = blazeface_anchors() * np.float32(_SIZE)

    def detect(self, image: NDArray[np.uint8]) -> list[Roi]:
        """Return the regions of the faces found, the surest first.

        Args:
            image: BGR uint8 ``(H, W, 3)``.

        Raises:
            InferenceError: the runtime failed.
        """
        whole = whole_picture((image.shape[0], image.shape[1]))
        scores, values = self._candidates(image, whole, self._min_score)
        matrix = whole.to_picture(_SIZE)
        rois = (_region(face, matrix) for face in suppress(values, scores))
        return [roi for roi in rois if roi.is_usable()]

    def propose(
        self, image: NDArray[np.uint8], tiles: Sequence[Roi], min_score: float
    ) -> list[Roi]:
        """Return where faces may be by a look at each tile, the likeliest first.

        What several tiles show is blended as what several anchors show is.

        Args:
            image: BGR uint8 ``(H, W, 3)``.
            tiles: upright squares.
            min_score: what a proposal must reach, in [0, 1].

        Raises:
            InferenceError: the runtime failed.
        """
        scores, values = [], []
        for tile in tiles:
            tile_scores, tile_values = self._candidates(image, tile, min_score)
            matrix = tile.to_picture(_SIZE)
            points = tile_values.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]
            scores.append(tile_scores)
            values.append(points.reshape(-1, _VALUES).astype(np.float32))
        faces = suppress(np.concatenate(values), np.concatenate(scores))
        rois = (_region(face, _AS_IT_IS) for face in faces)
        return [roi for roi in rois if roi.is_usable()]

    def look(self, image: NDArray[np.uint8], roi: Roi) -> Sighting | None:
        """Return the face in the middle of a region, if there seems to be one.

        Args:
            image: BGR uint8 ``(H, W, 3)``.
            roi: a square, about twice the size of the face and turned as it is.

        Raises:
            InferenceError: the runtime failed.
        """
        scores, values = self._candidates(image, roi, min(self._min_score, _LOOK_MIN_SCORE))
        off_centre = np.abs((values[:, :2] + values[:, 2:4] - _SIZE) / 2).max(axis=1)
        central = off_centre < _MIDDLE * _SIZE
        scores, values = scores[central], values[central]
        if not len(scores):
            return None
        sighting = _sighting(suppress(values, scores)[0], float(scores.max()), roi)
        return sighting if sighting.roi.is_usable() else None

    def _candidates(
        self, image: NDArray[np.uint8], roi: Roi, min_score: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the model and decode the anchors that score high enough.

        Returns:
            Scores ``(n,)`` and values ``(n, 16)``: a box as x1, y1, x2, y2 and six points, in
            pixels of the model's input.
        """
        # Values are relative to the anchors.
        (raw,), logits, *_ = self._model.run_filled(partial(self._cropper.cut, image, roi))
        logits = logits[0, :, 0]
        scores = 1 / (1 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)))
        kept = np.flatnonzero((scores >= min_score) & (raw[:, 2:4] >= 0).all(axis=1))
        chosen, anchors = raw[kept], self._anchors[kept]
        values = np.tile(anchors, _VALUES // 2) + chosen
        half = chosen[:, 2:4] / 2
        centre = values[:, :2].copy()
        values[:, :2], values[:, 2:4] = centre - half, centre + half
        return np.asarray(scores[kept], np.float32), values


def suppress(values: NDArray[np.float32], scores: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Blend detections of the same face, weighted by score (arXiv 1907.05047, section 3.3).

    Unlike plain non-maximum suppression, which keeps the best box and jumps from anchor to anchor,
    blending keeps a still face's box still.

    Args:
        values: float32 ``(n, 16)``; the first four are a box x1, y1, x2, y2.
        scores: float32 ``(n,)``.

    Returns:
        One ``(16,)`` array for each face, in falling order of the best score among its detections.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    faces = []
    while len(scores):
        best, *_ = boxes = values[:, :4].tolist()
        same = np.array([intersection_over_union(box, best) > _SAME_FACE for box in boxes])
        same[0] = True  # a box without area overlaps nothing, not even itself
        weights = scores[same]
        faces.append(np.asarray(weights @ values[same] / weights.sum(), np.float32))
        values, scores = values[~same], scores[~same]
    return faces


def _region(face: NDArray[np.float32], matrix: NDArray[np.float64]) -> Roi:
    """Bring a detection into the picture; ``matrix`` scales and shifts, it does not turn."""
    points = face.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]
    flat = points.reshape(-1)
    return around_detection(flat[:4], flat[_RIGHT_EYE], flat[_LEFT_EYE])


def _sighting(face: NDArray[np.float32], score: float, roi: Roi) -> Sighting:
    """Bring a detection from a turned square into the picture; its box stays turned."""
    matrix = roi.to_picture(_SIZE)
    points = face.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]
    centre, half = points[:2].mean(axis=0), (face[2:4] - face[:2]) * (roi.width / _SIZE / 2)
    box = np.concatenate((centre - half, centre + half))
    marks = points[2:]
    return Sighting(around_detection(box, marks[0], marks[1]), marks, score)
