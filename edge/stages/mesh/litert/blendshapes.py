"""52 expression coefficients from a mesh.

MediaPipe's blendshape model, an MLP-Mixer (Tolstikhin et al. 2021, arXiv 2105.01601) on a part of
the mesh; the model card "MediaPipe Blendshape V2" (Google 2022).
"""

import numpy as np
from numpy.typing import NDArray

from edge.contract.mesh_features import EXPRESSION_POINTS
from edge.inference.interpreter import TfliteModel
from edge.stages.mesh.litert.tensors import expect_shapes


class BlendshapeModel:
    """Reads expressions; for one thread at a time.

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
