"""Probabilities of a finished TFLite model, for evaluation on the workstation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.parity import tflite_probabilities as run_over
from edge.contract.bundle import open_bundle
from edge.contract.quantize import temper
from edge.crop_model import open_crop_file, open_crop_model


def tflite_probabilities(
    model: Path, images: NDArray[np.uint8]
) -> tuple[tuple[str, ...] | None, NDArray[np.float32]]:
    """Run a bundle, or a bare ``.tflite`` file, over crops as the device would.

    Args:
        model: a bundle directory or a ``.tflite`` file.
        images: grey uint8 ``(n, size, size)``.

    Returns:
        The model's labels, None for a bare file, which does not carry them; and float32
        ``(n, k)``: tempered as on the device for a bundle, as they come for a bare file.

    Raises:
        BundleError: a damaged bundle.
        InferenceError: not a TFLite emotion model, crops of another size, or no runtime.
    """
    if model.suffix == ".tflite" and not model.is_dir():
        return None, run_over(open_crop_file(model), images)
    bundle = open_bundle(model)
    probabilities = run_over(open_crop_model(bundle), images)
    return bundle.metadata.labels, temper(probabilities, bundle.metadata.temperature)
