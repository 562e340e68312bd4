"""478 points on a face: MediaPipe's attention mesh.

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
from edge.stages.mesh.litert.crop import Cropper
from edge.stages.mesh.litert.roi import Roi

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
