"""Probabilities of a finished TFLite model, for evaluation on the workstation."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.convert.calibrate import calibration_inputs, choose_calibration
from converters.labelled_images import LabelledImages
from converters.model.model_file import load_model
from converters.parity.check import tflite_probabilities as run_over
from converters.tflite.metadata import metadata_if_ours
from edge.contract.bundle import MODEL, open_bundle
from edge.contract.decision import temper
from edge.inference.crash_guard import check_loads
from edge.inference.emotion_model import EmotionModel, open_emotion_model
from edge.inference.interpreter import TfliteModel, read_model_file


def tflite_probabilities(
    model: Path,
    images: NDArray[np.uint8],
    mesh: NDArray[np.float32] | None = None,
    *,
    decided: bool = True,
) -> tuple[tuple[str, ...] | None, NDArray[np.floating]]:
    """Run a bundle, or a bare ``.tflite`` file, over crops as the device would.

    Args:
        model: a bundle directory or a ``.tflite`` file.
        images: grey uint8 ``(n, size, size)``.
        mesh: float32 ``(n, FEATURE_COUNT)`` as ``mesh_features`` gives them, NaN where no face was
            found; for models that take them.
        decided: False for a bundle's answers as they come, without its decision.

    Returns:
        The model's labels, None for a bare file, which does not carry them; and floats ``(n, k)``:
        under its decision as on the device for a bundle, as they come for a bare file.

    Raises:
        BundleError: a damaged bundle.
        ConversionError: a model that takes mesh features, and rows without them.
        InferenceError: not a TFLite emotion model, a bare file of one that takes mesh features,
            crops of another size, or no runtime.
    """
    if model.suffix == ".tflite" and not model.is_dir():
        return None, run_over(_open_file(model), images, mesh)
    bundle = open_bundle(model)
    labels, decision = bundle.metadata.labels, bundle.metadata.decision
    probabilities = run_over(open_emotion_model(bundle), images, mesh)
    if not decided:
        return labels, probabilities
    return labels, temper(decision.adjusted(probabilities), decision.temperature)


def _open_file(path: Path) -> EmotionModel:
    """Load a ``.tflite`` file that has no metadata beside it; what it gives stands in the file."""
    content = read_model_file(path)
    check_loads(content, str(path))
    known = metadata_if_ours(content)
    model = TfliteModel(content, name=str(path))
    return EmotionModel(model, output_kind="probabilities" if known is None else known.output)


def int8_probabilities(
    run: Path,
    calibration: LabelledImages,
    images: NDArray[np.uint8],
    mesh: NDArray[np.float32] | None = None,
) -> tuple[tuple[str, ...], NDArray[np.floating]]:
    """Quantise a run's model as ``edgeemo convert --int8`` does, and run it over crops.

    Nothing is written: for cross-validation, whose models nobody keeps.

    Args:
        run: a run directory.
        calibration: rows that the model learnt from.
        images: grey uint8 ``(n, size, size)``.
        mesh: as for ``tflite_probabilities``.

    Returns:
        The model's labels, and floats ``(n, k)``, not tempered.

    Raises:
        ConversionError: the run's model cannot be quantised.
        InferenceError: the device's runtime cannot run it.
    """
    from converters.convert.convert import device_file  # and with it TensorFlow's converter

    trained = load_model(run)
    ranges = calibration_inputs(trained, choose_calibration(calibration))
    content, kind = device_file(trained, "int8", ranges)
    model = EmotionModel(TfliteModel(content, name=MODEL), trained.run.mesh_norm, kind)
    return trained.run.labels, run_over(model, images, mesh)
