"""478 points on a face, MediaPipe's attention mesh, and how they are kept steady.

Kartynnik et al. 2019 (face mesh, arXiv 1907.06724), Grishchenko et al. 2020 (attention mesh, arXiv
2006.10962); the model card "MediaPipe Attention Mesh" (Google 2022).
"""

import math
from functools import partial
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import MESH_POINTS
from edge.contract.mesh_features import EXPRESSION_POINTS
from edge.inference.interpreter import TfliteModel, expect_shapes
from edge.records import bounding_box
from edge.stages.mesh.litert.roi import Cropper, Roi

_SIZE: Final = 256


class Mesh(msgspec.Struct, frozen=True, eq=False):
    """What the model says about a region.

    Attributes:
        points: float32 ``(478, 3)``: x, y in pixels of the picture, z in the same unit.
        presence: how sure it is that there is a face, in [0, 1].
    """

    points: NDArray[np.float32]
    presence: float

    def is_finite(self) -> bool:
        """Tell whether every number of it is one."""
        return math.isfinite(self.presence) and bool(np.isfinite(self.points).all())


class LandmarkModel:
    """Finds the mesh in a region; for one thread at a time.

    Args:
        model: the content of ``face_landmarks_detector.tflite``: input float32
            ``(1, 256, 256, 3)`` in [0, 1], outputs ``(1, 1, 1, 1434)`` (x, y, z of each point in
            pixels of the input) and ``(1, 1, 1, 1)`` (the presence, before the sigmoid).
        num_threads: CPU threads that one inference may use.

    Raises:
        InferenceError: it is another model, or the runtime cannot run it.
    """

    def __init__(self, model: bytes, num_threads: int = 1) -> None:
        self._model = TfliteModel(model, num_threads=num_threads, name="face landmarks")
        expect_shapes(
            self._model,
            "face landmarks",
            ((1, _SIZE, _SIZE, 3),),
            ((1, 1, 1, MESH_POINTS * 3), (1, 1, 1, 1)),
        )
        self._cropper = Cropper(_SIZE, (0.0, 1.0), cv2.BORDER_REPLICATE)

    def mesh(self, image: NDArray[np.uint8], roi: Roi) -> Mesh:
        """Return the mesh of the face in ``roi``.

        Args:
            image: BGR uint8 ``(H, W, 3)``.
            roi: a usable region of it.

        Raises:
            InferenceError: the runtime failed.
        """
        raw, logit, *_ = self._model.run_filled(partial(self._cropper.cut, image, roi))
        return Mesh(to_picture(raw.reshape(MESH_POINTS, 3), roi), _sigmoid(float(logit.item())))


def to_picture(points: NDArray[np.float32], roi: Roi) -> NDArray[np.float32]:
    """Bring points from the model's input into the picture.

    Args:
        points: float32 ``(n, 3)`` in pixels of the input.
        roi: the region that was cut out.

    Returns:
        float32 ``(n, 3)``; z is scaled as the region's width is.
    """
    matrix = roi.to_picture(_SIZE)
    linear = np.zeros((3, 3), np.float32)
    linear[:2, :2], linear[2, 2] = matrix[:, :2].T, roi.width / _SIZE
    moved = points @ linear
    moved += np.array((matrix[0, 2], matrix[1, 2], 0), np.float32)
    return moved


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-max(logit, -100.0)))


class BlendshapeModel:
    """Computes 52 expression coefficients from a mesh; for one thread at a time.

    MediaPipe's blendshape model, an MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601) on a part
    of the mesh; the model card "MediaPipe Blendshape V2" (Google 2022).

    Args:
        model: the content of ``face_blendshapes.tflite``: input float32 ``(1, 146, 2)`` in pixels
            (the model normalises them itself), output ``(52,)``.
        num_threads: CPU threads that one inference may use.

    Raises:
        InferenceError: it is another model, or the runtime cannot run it.
    """

    def __init__(self, model: bytes, num_threads: int = 1) -> None:
        self._model = TfliteModel(model, num_threads=num_threads, name="face blendshapes")
        expect_shapes(self._model, "face blendshapes", ((1, len(EXPRESSION_POINTS), 2),), ((52,),))

    def coefficients(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 ``(52,)`` in [0, 1], in MediaPipe's order.

        Args:
            points: the mesh, float32 ``(478, 3)``, in pixels.

        Raises:
            InferenceError: the runtime failed.
        """
        (values,) = self._model.run(np.ascontiguousarray(points[EXPRESSION_POINTS, :2])[np.newaxis])
        return np.asarray(np.clip(values, 0, 1), np.float32)


_MIN_CUTOFF_HZ: Final = 0.05
_BETA: Final = 80.0
"""Hz of cut-off for a speed of one face size a second."""
_SPEED_CUTOFF_HZ: Final = 1.0
_MIN_SIZE_PX: Final = 1e-6


class OneEuroFilter:
    """Smooths one face's mesh, each coordinate by itself; another face takes another filter.

    The One Euro filter (Casiez, Roussel, Vogel, CHI 2012): a low-pass filter whose cut-off rises
    with speed. A still face does not tremble, a moving one does not lag. The constants are
    MediaPipe's (face_landmarks_detector_graph.cc), which smooths only where it looks for a single
    face.
    """

    def __init__(self) -> None:
        self._t_s = 0.0
        self._raw: NDArray[np.float32] | None = None
        self._smooth = np.empty(0)
        self._speed = np.empty(0)

    def apply(self, points: NDArray[np.float32], t_s: float) -> NDArray[np.float32]:
        """Return the smoothed mesh.

        Args:
            points: float32 ``(478, 3)``, in pixels.
            t_s: when it was seen; a mesh that is not later than the last one is returned as it is.
        """
        if self._raw is None:
            self._start(points, t_s)
            return points
        elapsed_s = t_s - self._t_s
        x1, y1, x2, y2 = bounding_box(points)
        size = (x2 - x1 + y2 - y1) / 2
        if elapsed_s <= 0 or size < _MIN_SIZE_PX:
            return points
        speed = (points - self._raw) / (size * elapsed_s)
        self._speed += _alpha(np.float64(_SPEED_CUTOFF_HZ), elapsed_s) * (speed - self._speed)
        alpha = _alpha(_MIN_CUTOFF_HZ + _BETA * np.abs(self._speed), elapsed_s)
        self._smooth += alpha * (points - self._smooth)
        self._raw, self._t_s = points, t_s
        return self._smooth.astype(np.float32)

    def _start(self, points: NDArray[np.float32], t_s: float) -> None:
        self._raw, self._t_s = points, t_s
        self._smooth = points.astype(np.float64)
        self._speed = np.zeros_like(self._smooth)


def _alpha(cutoff_hz: NDArray[np.float64] | np.float64, elapsed_s: float) -> NDArray[np.float64]:
    """Return the weight of a new value in an exponential average, in (0, 1)."""
    ratio = 2 * np.pi * cutoff_hz * elapsed_s
    return np.asarray(ratio / (1 + ratio))
