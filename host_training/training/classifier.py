"""Classifier retraining: the last layer is fitted anew once the layers below it have learnt.

Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020
(arXiv 1910.09217). A last layer that learnt along the way, averaged and from teachers' answers,
undervalues rare emotions; fitted to people's votes on finished features it does not.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.mesh_features import FeatureNorm
from host_training.config import TrainConfig
from host_training.data.folds import alike_in_labels
from host_training.data.samples import Samples
from host_training.frameworks import import_keras
from host_training.metrics.inputs import (
    Batch,
    as_model_input,
    input_names,
    model_inputs,
)
from host_training.training.batches import (
    balanced_class_weights,
    epoch_after_the_last,
    shown_shares,
)
from host_training.training.bundle_weights import HEAD
from host_training.training.learner import log_prior

if TYPE_CHECKING:
    import keras

MOST: Final = 1 << 17
"""Samples that a last layer is fitted to: of ``compact`` up to 330 MB of what goes into it."""
_STEPS: Final = 200
"""Of L-BFGS: after a hundred the loss of a large set no longer changes in its fourth digit."""

_Array = NDArray[np.float64]


def retrain_classifier(
    model: "keras.Model",
    rows: Samples,
    config: TrainConfig,
    norm: FeatureNorm | None = None,
    mine: int | None = None,
) -> None:
    """Fit the last layer of a trained network anew, in place.

    It learns from the training pictures as they are, from their aligned crops where the run shows
    those, and from the views of one more epoch, which no epoch of the run has shown. Of a large
    data set ``MOST`` samples are drawn for it.

    Args:
        model: in the form that is kept; its last layer is called ``scores``.
        rows: to learn from, with their targets; no teacher answers beside them.
        config: of the run. ``classifier_retraining`` is the penalty on each weight's squared
            distance from what it was; ``logit_adjustment`` and ``class_weights`` count as in the
            epochs.
        norm: of the network's mesh features, where it takes them.
        mine: so many of the first rows are one's own; those behind them count as often as an epoch
            shows them. All are one's own when None.
    """
    chosen = drawn(rows)
    mine = int(chosen[:mine].sum())
    rows = rows.where(chosen)
    head = model.get_layer(HEAD)
    trunk = import_keras().Model(model.inputs, head.input)
    features, targets, weights = [], [], []
    shares = shown_shares(len(rows), mine, config)
    for batch in _batches(rows, config, input_names(model), norm, mine):
        features.append(np.asarray(trunk.predict_on_batch(as_model_input(trunk, batch.inputs))))
        targets.append(batch.targets)
        weights.append(np.ones(len(batch.targets)) if batch.weights is None else batch.weights)
    head.set_weights(
        fitted_layer(
            np.concatenate(features),
            np.concatenate(targets),
            np.concatenate(weights),
            start=head.get_weights(),
            offsets=config.logit_adjustment * log_prior(rows.targets * shares[:, None]),
            penalty=config.classifier_retraining,
        )
    )


def drawn(rows: Samples) -> NDArray[np.bool_]:
    """Choose the rows that a last layer is fitted to, bool ``(n,)``: ``MOST``, or all of fewer.

    What goes into that layer lies in memory all at once; it has too few weights to need more.
    """
    if len(rows) <= MOST:
        return np.ones(len(rows), bool)
    return np.isin(np.arange(len(rows)), alike_in_labels(rows.targets.argmax(axis=1), MOST))


def _batches(
    rows: Samples,
    config: TrainConfig,
    names: tuple[str, ...],
    norm: FeatureNorm | None,
    mine: int,
) -> Iterator[Batch]:
    """Yield the training pictures as they are, then the views of the epoch after the last."""
    shares = shown_shares(len(rows), mine, config)
    classes = None
    if config.class_weights:
        classes = balanced_class_weights(rows.targets * shares[:, None])
    weights = shares if classes is None else shares * (rows.targets @ classes)
    crops = [rows.images] if rows.aligned is None else [rows.images, rows.aligned]
    mesh = model_inputs(rows, ("mesh",), norm)["mesh"] if "mesh" in names else None
    for images in crops:
        for start in range(0, len(rows), config.batch_size):
            part = slice(start, start + config.batch_size)
            inputs = {"pixels": images[part][..., None].astype(np.float32)}
            if mesh is not None:
                inputs["mesh"] = mesh[part]
            yield Batch(inputs, rows.targets[part], weights[part])
    yield from epoch_after_the_last(rows, config, norm, classes, mine)


def fitted_layer(
    features: NDArray[np.float32],
    targets: NDArray[np.float32],
    weights: NDArray[np.floating],
    *,
    start: list[NDArray[np.float32]],
    offsets: NDArray[np.float32],
    penalty: float,
) -> list[NDArray[np.float32]]:
    """Return kernel ``(u, k)`` and bias ``(k,)`` of the least penalised cross-entropy.

    Args:
        features: ``(n, u)``, what goes into the layer.
        targets: ``(n, k)``; rows sum to 1.
        weights: ``(n,)``, how much each counts.
        start: kernel and bias before.
        offsets: ``(k,)``, added to the layer's output while it is fitted.
        penalty: on each weight's squared distance from what it was, against the mean loss.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    first, bias = start
    units = len(first)
    shares = (weights / weights.sum()).astype(np.float32)[:, None]

    def loss(values: _Array) -> tuple[float, _Array]:
        kernel, bias = _split(values, units)
        logs = log_softmax(features @ kernel + bias + offsets, axis=1)
        error = shares * (np.exp(logs) * targets.sum(axis=1, keepdims=True) - targets)
        change = kernel - first
        value = -float((shares * targets * logs).sum(dtype=np.float64))
        value += penalty * float((change.astype(np.float64) ** 2).sum())
        slope = features.T @ error + 2 * penalty * change
        return value, np.concatenate([slope.ravel(), error.sum(axis=0)]).astype(np.float64)

    values = np.concatenate([first.ravel(), bias]).astype(np.float64)
    found = minimize(loss, values, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return list(_split(found.x, units))


def _split(values: _Array, units: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return kernel ``(units, k)`` and bias ``(k,)`` from one vector of both."""
    classes = len(values) // (units + 1)
    flat = values.astype(np.float32)
    return flat[:-classes].reshape(units, classes), flat[-classes:]
