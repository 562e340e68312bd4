"""Probabilities of a finished TFLite model, for evaluation on the workstation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.parity import tflite_probabilities as run_over
from edge.contract.bundle import open_bundle
from edge.contract.quantize import temper
from edge.emotion_model import open_emotion_file, open_emotion_model


def tflite_probabilities(
    model: Path,
    images: NDArray[np.uint8],
    mesh: NDArray[np.float32] | None = None,
    *,
    tempered: bool = True,
) -> tuple[tuple[str, ...] | None, NDArray[np.float32]]:
    """Run a bundle, or a bare ``.tflite`` file, over crops as the device would.

    Args:
        model: a bundle directory or a ``.tflite`` file.
        images: grey uint8 ``(n, size, size)``.
        mesh: float32 ``(n, FEATURE_COUNT)`` as ``mesh_features`` gives them, NaN where no face was
            found; for models that take them.
        tempered: False for a bundle's answers without its temperature.

    Returns:
        The model's labels, None for a bare file, which does not carry them; and float32
        ``(n, k)``: tempered as on the device for a bundle, as they come for a bare file.

    Raises:
        BundleError: a damaged bundle.
        ConversionError: a model that takes mesh features, and rows without them.
        InferenceError: not a TFLite emotion model, a bare file of one that takes mesh features,
            crops of another size, or no runtime.
    """
    if model.suffix == ".tflite" and not model.is_dir():
        return None, run_over(open_emotion_file(model), images, mesh)
    bundle = open_bundle(model)
    probabilities = run_over(open_emotion_model(bundle), images, mesh)
    if tempered:
        probabilities = temper(probabilities, bundle.metadata.temperature)
    return bundle.metadata.labels, probabilities
