"""Probabilities of a finished TFLite model, for evaluation on the workstation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.calibrate import calibration_inputs, choose_calibration
from converters.flatbuffer import check_full_int8, read_graph
from converters.fold_elu import fold_elu
from converters.model_file import load_model
from converters.parity import tflite_probabilities as run_over
from converters.rows import LabelledImages
from converters.tflite import to_tflite
from edge.contract.bundle import MODEL, open_bundle
from edge.contract.quantize import temper
from edge.emotion_model import EmotionModel, open_emotion_file, open_emotion_model
from edge.interpreter import TfliteModel


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


def int8_probabilities(
    run: Path,
    calibration: LabelledImages,
    images: NDArray[np.uint8],
    mesh: NDArray[np.float32] | None = None,
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Quantise a run's model as ``edgeemo convert --int8`` does, and run it over crops.

    Nothing is written: for cross-validation, whose models nobody keeps.

    Args:
        run: a run directory.
        calibration: rows that the model learnt from.
        images: grey uint8 ``(n, size, size)``.
        mesh: as for ``tflite_probabilities``.

    Returns:
        The model's labels, and float32 ``(n, k)``, not tempered.

    Raises:
        ConversionError: the run's model can not be quantised.
        InferenceError: the device's runtime can not run it.
    """
    trained = load_model(run)
    ranges = calibration_inputs(trained, choose_calibration(calibration))
    content = fold_elu(to_tflite(trained.keras, "int8", ranges))
    check_full_int8(read_graph(content))
    model = EmotionModel(TfliteModel(content, name=MODEL), trained.run.mesh_norm)
    return trained.run.labels, run_over(model, images, mesh)
