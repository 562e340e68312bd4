"""Measure a model on a data set's rows."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import EXCLUDED, TRAINING, VALIDATION, Samples
from host_training.errors import DataError, TrainingError
from host_training.frameworks import import_keras
from host_training.metrics import Metrics, metrics
from host_training.run_directory import RUN, RunDirectory

if TYPE_CHECKING:
    import keras

Predict = Callable[[Samples], tuple[tuple[str, ...] | None, NDArray[np.float32]]]
"""A model: from rows to its labels (None when it does not tell them) and float32 ``(n, k)`` class
probabilities."""

_BATCH: Final = 256


def evaluate(rows: Samples, predict: Predict) -> Metrics:
    """Measure a model.

    Args:
        rows: measurable ones only, at least one; see ``rows_to_measure``.
        predict: the model. One that does not tell its labels is taken to have those of the data.

    Raises:
        DataError: rows of an emotion that the model does not know, or an
            output that does not fit the labels.
    """
    told, probabilities = predict(rows)
    labels = rows.labels if told is None else told
    if probabilities.shape != (len(rows), len(labels)):
        raise DataError(
            f"the model has {probabilities.shape[-1]} outputs for {len(labels)} labels "
            f"({', '.join(labels)}); evaluate the run directory or the bundle, which name the "
            "model's own"
        )
    answers = answers_of_model(rows, labels)
    split = "+".join(rows.splits)
    return metrics(probabilities, answers, labels, protocol=rows.protocol, split=split)


def rows_to_measure(samples: Samples, split: str | None) -> tuple[Samples, str | None]:
    """Choose the rows of a split, and warn where a figure would flatter.

    Args:
        samples: the whole data set.
        split: its name; None for ``PublicTest`` where there is one, else for all rows.

    Returns:
        The measurable rows, and a remark for the user.

    Raises:
        DataError: there is no such split, or no measurable row in it.
    """
    if split is None and VALIDATION in samples.splits:
        split = VALIDATION
    chosen = samples if split is None else samples.split_rows(split)
    rows = chosen.where(chosen.measurable)
    if not len(rows):
        raise DataError(f"{samples.name}: no row is left to measure under {samples.protocol}")
    if TRAINING in rows.splits:
        return (
            rows,
            f"note: with rows of {TRAINING}; a model that has learnt from them is flattered",
        )
    return rows, None


def answers_of_model(rows: Samples, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the right answers ``(n,)`` as indices into the model's labels, matched by name.

    Raises:
        DataError: rows of an emotion that the model does not know.
    """
    place = np.array([labels.index(name) if name in labels else EXCLUDED for name in rows.labels])
    answers = np.asarray(place[rows.hard], np.int64)
    if (answers == EXCLUDED).any():
        lacking = {name: n for name, n in rows.counts().items() if n and name not in labels}
        listed = ", ".join(f"{name} ({n} rows)" for name, n in lacking.items())
        raise DataError(
            f"{rows.name} has rows of emotions that the model does not know: {listed}; "
            f"the model knows {', '.join(labels)}"
        )
    return answers


def load_keras_model(path: Path) -> "keras.Model":
    """Open a ``.keras`` file; code inside it (Lambda layers) is refused.

    Raises:
        TrainingError: it is missing or can not be opened.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such model; expected a .keras file")
    keras = import_keras()
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers, h5py and zipfile raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(f"{path}: can not be opened as a Keras model ({reason})") from error


def keras_probabilities(
    path: Path, rows: Samples
) -> tuple[tuple[str, ...] | None, NDArray[np.float32]]:
    """Run a ``.keras`` file, or the one of a run directory, over rows.

    Returns:
        The labels that the run's ``run.json`` names, None for a file without one beside it; and
        float32 ``(n, k)``.

    Raises:
        TrainingError: the file can not be opened, or takes other pictures.
    """
    run = RunDirectory(path if path.is_dir() else path.parent)
    model = load_keras_model(run.model if path.is_dir() else path)
    images = rows.images
    if model.input_shape[1:] != (*images.shape[1:], 1):
        raise TrainingError(
            f"{path}: takes pictures of shape {model.input_shape[1:]}, expected (48, 48, 1)"
        )
    labels = run.record().labels if (run.path / RUN).is_file() else None
    return labels, batched_probabilities(model, images)


def batched_probabilities(model: "keras.Model", images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run a network over uint8 ``(n, 48, 48)`` pictures; returns float32 ``(n, k)``."""
    parts = [
        np.asarray(model.predict_on_batch(images[i : i + _BATCH, ..., None].astype(np.float32)))
        for i in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts).astype(np.float32)
