"""Measure a model on a data set's rows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import Decision, leading
from edge.inference.trial import OPEN_KERAS, problem_of_opening
from host_training.data.ferplus import MAJORITY, PLURALITY
from host_training.data.samples import EXCLUDED, TRAINING, VALIDATION, Samples
from host_training.errors import DataError, TrainingError
from host_training.frameworks import as_structured, import_keras
from host_training.keras_file import refusal, written_by
from host_training.metrics.inputs import Inputs, adapt_inputs, input_names
from host_training.metrics.scores import Metrics, metrics
from host_training.runs.directory import RUN, RunDirectory

if TYPE_CHECKING:
    import keras

Model = Callable[[Samples], tuple[tuple[str, ...] | None, NDArray[np.floating]]]
"""From samples to the model's labels (None when it does not name them) and ``(n, k)`` class
probabilities."""

_BATCH: Final = 256
_SUM_TOLERANCE: Final = 0.05
"""Eight int8 outputs sum to 1 to within eight half steps, 0.016."""


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model answered, and what would have been right.

    Attributes:
        rows: the ``n`` measurable rows that it was asked about.
        labels: the model's ``k`` labels.
        probabilities: ``(n, k)``, not tempered.
        right: int64 ``(n,)``: indices into ``labels``.
    """

    rows: Samples
    labels: tuple[str, ...]
    probabilities: NDArray[np.floating]
    right: NDArray[np.int64]

    @property
    def are_right(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: whether each answer is right."""
        return np.asarray(leading(self.probabilities) == self.right)

    def where(self, mask: NDArray[np.bool_]) -> "Predictions":
        """Return the answers to the rows where ``mask`` is true."""
        return Predictions(
            self.rows.where(mask), self.labels, self.probabilities[mask], self.right[mask]
        )


def evaluate(rows: Samples, model: Model) -> Metrics:
    """Measure a model.

    Args:
        rows: measurable ones only, at least one; see ``rows_to_measure``.
        model: from samples to probabilities.

    Raises:
        DataError: rows of an emotion that the model does not know, or an
            output that does not fit the labels.
    """
    return measured(predict(rows, model))


def measured(answers: Predictions) -> Metrics:
    """Return the figures of a model's answers as they come."""
    return metrics(
        answers.probabilities,
        answers.right,
        answers.labels,
        protocol=answers.rows.protocol,
        split="+".join(answers.rows.splits),
    )


def predict(rows: Samples, model: Model) -> Predictions:
    """Classify samples.

    Args:
        rows: measurable ones only, at least one.
        model: from samples to probabilities.

    Raises:
        DataError: a model whose labels nobody gave, rows of an emotion that it does not know, or an
            output that does not fit the labels.
        TrainingError: the model's outputs are no probabilities.
    """
    labels, probabilities = model(rows)
    if labels is None:
        raise DataError(
            f"nothing says which emotion each of the model's {probabilities.shape[-1]} outputs is; "
            "give them in their order with --model-labels"
        )
    if probabilities.shape != (len(rows), len(labels)):
        raise DataError(
            f"the model has {probabilities.shape[-1]} outputs for {len(labels)} labels "
            f"({', '.join(labels)}); give as many names as it has outputs, in their order, with "
            "--model-labels, or evaluate the run directory or bundle, which know them"
        )
    _check_probabilities(probabilities)
    return Predictions(rows, labels, probabilities, answers_of_model(rows, labels))


def adjusted(model: Model, decision: Decision) -> Model:
    """Return the model under a decision's tau, not tempered; see ``Decision.adjusted``."""

    def decided(rows: Samples) -> tuple[tuple[str, ...] | None, NDArray[np.floating]]:
        labels, probabilities = model(rows)
        _check_probabilities(probabilities)
        return labels, decision.adjusted(probabilities)

    return decided


def prior_of(samples: Samples, labels: Sequence[str]) -> tuple[float, ...]:
    """Return how frequent each label is, as shares ``(len(labels),)`` that sum to 1.

    It is the mean target of the samples to train on, votes counted as shares; a label that they do
    not know has none.

    Raises:
        DataError: none of the labels is in the samples.
    """
    mean = samples.targets[samples.trainable].sum(axis=0, dtype=np.float64)
    known = dict(zip(samples.labels, mean, strict=True))
    shares = np.array([known.get(label, 0.0) for label in labels])
    if not shares.sum() > 0:
        raise DataError(
            f"{samples.name}: none of {', '.join(labels)} is in its samples; a prior needs some"
        )
    return tuple(float(share) for share in np.round(shares / shares.sum(), 6))


def _check_probabilities(probabilities: NDArray[np.floating]) -> None:
    sums = probabilities.sum(axis=1)
    # Written so that NaN is refused, too.
    if not (np.abs(sums - 1) <= _SUM_TOLERANCE).all() or probabilities.min() < 0:
        raise TrainingError(
            f"the model's outputs are not probabilities (a row sums to {sums.min():.3g}, another "
            f"to {sums.max():.3g}); expected a softmax at its end"
        )


def rows_to_measure(samples: Samples, split: str | None) -> tuple[Samples, str | None]:
    """Choose the rows of a split, and warn where a figure would flatter.

    Args:
        samples: the whole data set.
        split: its name; None for ``PublicTest`` where there is one, else for all rows.

    Returns:
        The measurable rows, and a remark for the user.

    Raises:
        DataError: there is no such split, no measurable row in it, or no label at all.
    """
    samples.check_labelled()
    mask = measured_mask(samples, split)
    rows = samples.where(mask)
    if TRAINING in rows.splits:
        return (
            rows,
            f"note: with samples of {TRAINING}; a model that has learnt from them is flattered",
        )
    return rows, None


def measured_mask(samples: Samples, split: str | None) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: the measurable rows of a split.

    Args:
        samples: the whole data set.
        split: its name; None for ``PublicTest`` where there is one, else for all rows.

    Raises:
        DataError: there is no such split, or no measurable row in it.
    """
    if split is None and VALIDATION in samples.splits:
        split = VALIDATION
    mask = samples.measurable
    if split is not None:
        samples.check_split(split)
        mask = mask & (samples.split == split)
    if not mask.any():
        where = "" if split is None else f" of {split}"
        raise DataError(
            f"{samples.name}: no sample{where} is left to measure under {samples.protocol}"
        )
    return np.asarray(mask)


def answers_of_model(rows: Samples, labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the right answers ``(n,)`` as indices into the model's labels, matched by name.

    Raises:
        DataError: rows of an emotion that the model does not know.
    """
    place = np.array([labels.index(name) if name in labels else EXCLUDED for name in rows.labels])
    answers = np.asarray(place[rows.class_ids], np.int64)
    if (answers == EXCLUDED).any():
        lacking = {name: n for name, n in rows.counts().items() if n and name not in labels}
        listed = ", ".join(f"{name} ({n} samples)" for name, n in lacking.items())
        raise DataError(
            f"{rows.name} has samples of emotions that the model does not know: {listed}; "
            f"the model knows {', '.join(labels)}; {_remedy(rows, lacking)}"
        )
    return answers


def _remedy(rows: Samples, lacking: Iterable[str]) -> str:
    if rows.protocol in (MAJORITY, PLURALITY) and set(lacking) == {"contempt"}:
        return "a model of FER2013's seven labels is measured with --protocol fer2013"
    return "leave those samples out, or evaluate a model that was trained on all of them"


def load_keras_model(path: Path) -> "keras.Model":
    """Open a ``.keras`` file; see ``host_training.keras_file`` for what is refused.

    Raises:
        TrainingError: it is missing, refused, or cannot be opened.
    """
    if reason := refusal(path):
        raise TrainingError(f"{path}: cannot be opened as a Keras model: {reason}")
    keras = import_keras()
    if problem := problem_of_opening(path, OPEN_KERAS):
        raise TrainingError(f"{path}: refused, {problem}")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its layers, h5py and zipfile raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrainingError(
            f"{path}: cannot be opened as a Keras model ({reason}); it was {written_by(path)}, "
            f"expected are layers of Keras only, saved by Keras {keras.__version__} or an older 3"
        ) from error


def keras_probabilities(
    path: Path, rows: Samples
) -> tuple[tuple[str, ...] | None, NDArray[np.float32]]:
    """Run a ``.keras`` file, or the one of a run directory, over rows.

    Returns:
        The labels that the run's ``run.json`` names, None for a file without one beside it; and
        float32 ``(n, k)``.

    Raises:
        TrainingError: the file cannot be opened, or takes other pictures.
    """
    run = RunDirectory(path if path.is_dir() else path.parent)
    model = load_keras_model(run.model if path.is_dir() else path)
    record = run.record() if (run.path / RUN).is_file() else None
    norm = None if record is None else record.mesh_norm
    inputs = adapt_inputs(model, rows, norm, str(path))
    return None if record is None else record.labels, batched_probabilities(model, inputs)


def batched_probabilities(model: "keras.Model", inputs: Inputs) -> NDArray[np.float32]:
    """Run a network over rows; returns float32 ``(n, k)``.

    Args:
        model: any.
        inputs: ``n`` rows for each of its inputs, by their names.
    """
    own = [inputs[name] for name in input_names(model)]
    parts = [
        model.predict_on_batch(as_structured(model, [rows[i : i + _BATCH] for rows in own]))
        for i in range(0, len(own[0]), _BATCH)
    ]
    return np.concatenate([np.asarray(part) for part in parts]).astype(np.float32)
