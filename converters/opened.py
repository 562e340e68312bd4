"""A model of any kind, ready to be measured: what runs it, and what its files say of it."""

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converters.convert.int8_predict import tflite_probabilities
from converters.errors import ConversionError
from converters.model.model_file import RUN_FILE
from converters.model.saved_model import is_saved_model
from converters.tflite.metadata import metadata_if_ours
from edge.contract.bundle import open_bundle
from edge.contract.labels import EMOTIONS, label_of
from edge.errors import LabelError
from edge.inference.interpreter import read_model_file
from host_training.data.samples import Samples
from host_training.keras_file import KERAS, refusal
from host_training.metrics.predict import Model, keras_probabilities
from host_training.runs.directory import RunDirectory
from host_training.runs.provenance import (
    ModelProvenance,
    origin_of_bundle,
    origin_of_file,
    origin_of_run,
)

TFLITE: Final = ".tflite"

Told = tuple[tuple[str, ...] | None, NDArray[np.floating]]


def check_kind(model: Path) -> None:
    """Refuse what is no model that can be measured, before anything else is read.

    Raises:
        ConversionError: naming what it is, and the remedy.
    """
    if is_saved_model(model):
        raise ConversionError(
            f"{model}: a SavedModel; convert it with `edgeemo convert` and evaluate the bundle, or "
            "give the .keras file"
        )
    if model.is_dir() or model.suffix == TFLITE:
        return
    if reason := refusal(model):
        kind = "cannot be opened as a Keras model: " if model.suffix == KERAS else ""
        raise ConversionError(
            f"{model}: {kind}{reason}; or give a run directory, a .tflite file or a bundle"
        )


def opened(
    model: Path, labels: tuple[str, ...] | None = None
) -> tuple[Model, tuple[str, ...], ModelProvenance]:
    """Return the function that runs a model as it comes, its labels, and where it comes from.

    Args:
        model: a run directory, a ``.keras`` or ``.tflite`` file, or a bundle.
        labels: the emotions in the order of its outputs; needed where its files do not name them,
            refused where they say something else.

    Raises:
        ConversionError: nothing says the order of the outputs, or two say different ones.
        BundleError: a damaged bundle.
        TrainingError: a file is missing or damaged.
    """
    if model.suffix == KERAS or (model / RUN_FILE).is_file():
        origin = origin_of_run(model)
        known = None if origin.is_own else _run_labels(model)
        agreed = _agreed(model, known, labels)
        return _named(partial(keras_probabilities, model), agreed), agreed, origin

    def predict(rows: Samples) -> Told:
        return tflite_probabilities(model, rows.images, rows.mesh, decided=False)

    if model.is_dir():
        bundle = open_bundle(model)
        known, origin = bundle.metadata.labels, origin_of_bundle(bundle)
    else:
        known, origin = _labels_inside(model), origin_of_file(model)
    agreed = _agreed(model, known, labels)
    return _named(predict, agreed), agreed, origin


def _agreed(
    model: Path, known: tuple[str, ...] | None, given: tuple[str, ...] | None
) -> tuple[str, ...]:
    if known is not None and given not in (None, known):
        raise ConversionError(
            f"{model}: labels {', '.join(given or ())} were given, its own files say "
            f"{', '.join(known)}; leave --model-labels out"
        )
    labels = known or given
    if labels is None:
        raise ConversionError(
            f"{model}: nothing says which emotion each of its outputs is; give their names in the "
            f"order of the outputs, such as --model-labels {','.join(EMOTIONS[:3])}"
        )
    return labels


def _named(model: Model, labels: tuple[str, ...]) -> Model:
    def with_labels(rows: Samples) -> Told:
        return labels, model(rows)[1]

    return with_labels


def _run_labels(model: Path) -> tuple[str, ...]:
    return RunDirectory(model if model.is_dir() else model.parent).record().labels


def _labels_inside(model: Path) -> tuple[str, ...] | None:
    """Return the labels that a TFLite file carries, if it carries emotions."""
    found = metadata_if_ours(read_model_file(model))
    try:
        return (
            None if found is None else tuple(label_of(name, {name: name}) for name in found.labels)
        )
    except LabelError:
        return None
