"""What the rows of a run are trained towards."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.errors import DataError


def with_targets(rows: Samples, config: TrainConfig) -> Samples:
    """Return the training rows with the targets that the settings ask for.

    Args:
        rows: trainable ones.
        config: ``targets``, ``votes_weight`` and ``label_smoothing`` count here.

    Raises:
        DataError: no row has one right answer, where ``hard`` targets were asked for.
        ConfigError: ``privileged`` targets, and no votes beside the labels.
    """
    if config.targets == "hard":
        rows = rows.where(rows.measurable)
        if not len(rows):
            raise DataError(
                f"{rows.name}: no training sample has one right answer: {rows.protocol}"
            )
        one_hot = np.eye(len(rows.labels), dtype=np.float32)[rows.class_ids]
        rows = replace(rows, targets=one_hot)
    elif config.targets == "privileged":
        if rows.votes is None:
            raise ConfigError(
                "--set targets=privileged: needs people's votes beside the labels; give --labels "
                "fer2013new.csv with --protocol fer2013"
            )
        share = np.float32(config.votes_weight)
        likely = likely_labels(rows.votes, rows.targets)
        rows = replace(rows, targets=(1 - share) * rows.targets + share * likely)
    if config.label_smoothing:
        rows = replace(rows, targets=_smoothed(rows.targets, config.label_smoothing))
    return rows


def likely_labels(votes: NDArray[np.int64], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return which labels are likely for pictures that people voted so about.

    A multinomial logistic regression from the votes to the labels, fitted on these very rows (some
    hundreds of weights for tens of thousands of rows). A label is one draw from what its picture
    allows; the votes tell better than a network what that is. They are there while it learns and
    not on the device: privileged information (Vapnik and Vashist, Neural Networks 2009), distilled
    as in Lopez-Paz, Bottou, Schoelkopf, Vapnik, "Unifying distillation and privileged information",
    ICLR 2016.

    Args:
        votes: ``(n, 10)``, as read.
        targets: float32 ``(n, k)``, one-hot labels.

    Returns:
        float32 ``(n, k)``; rows sum to 1. A label that no row has gets 0.
    """
    from sklearn.linear_model import LogisticRegression

    roots = np.sqrt(votes / np.maximum(votes.sum(axis=1, keepdims=True), 1))
    first, second = np.triu_indices(votes.shape[1])
    # Products of roots are votes (with itself) and what two answers have in common.
    features = np.hstack([roots, roots[:, first] * roots[:, second]])
    model = LogisticRegression(C=10, max_iter=500).fit(features, targets.argmax(axis=1))
    likely = np.zeros_like(targets)
    likely[:, model.classes_] = model.predict_proba(features)
    return likely


def _smoothed(targets: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016."""
    return np.asarray((1 - share) * targets + share / targets.shape[1], np.float32)
