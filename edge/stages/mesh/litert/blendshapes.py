"""52 expression coefficients from a mesh.

MediaPipe's blendshape model, an MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601) on a part of
the mesh; the model card "MediaPipe Blendshape V2" (Google 2022).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.interpreter import TfliteModel
from edge.stages.mesh.litert.tensors import expect_shapes

_POINTS: Final = np.array((
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66,
    67, 70, 78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144,
    145, 146, 148, 149, 150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173,
    176, 178, 181, 185, 191, 195, 197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284,
    285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332,
    334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382, 384, 385, 386,
    387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
))  # fmt: skip
"""The mesh points that the model takes, in its order (face_blendshapes_graph.cc)."""


class BlendshapeModel:
    """Reads expressions; for one thread at a time.

    Args:
        model: the content of ``face_blendshapes.tflite``: input float32 ``(1, 146, 2)`` in pixels
            (the model normalises them itself), output ``(52,)``.
        num_threads: CPU threads that one inference may use.

    Raises:
        InferenceError: it is another model, or the runtime can not run it.
    """

    def __init__(self, model: bytes, num_threads: int = 1) -> None:
        self._model = TfliteModel(model, num_threads=num_threads, name="face blendshapes")
        expect_shapes(self._model, "face blendshapes", ((1, len(_POINTS), 2),), ((52,),))

    def coefficients(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32 ``(52,)`` in [0, 1], in MediaPipe's order.

        Args:
            points: the mesh, float32 ``(478, 3)``, in pixels.

        Raises:
            InferenceError: the runtime failed.
        """
        (values,) = self._model.run(np.ascontiguousarray(points[_POINTS, :2])[np.newaxis])
        return np.asarray(np.clip(values, 0, 1), np.float32)
