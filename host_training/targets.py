"""What the rows of a run are trained towards."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.errors import DataError


def with_targets(rows: Samples, config: TrainConfig) -> Samples:
    """Return the training rows with the targets that the settings ask for.

    Args:
        rows: trainable ones.
        config: ``targets`` and ``label_smoothing`` count here.

    Raises:
        DataError: no row has one right answer, where ``hard`` targets were asked for.
    """
    if config.targets == "hard":
        rows = rows.where(rows.measurable)
        if not len(rows):
            raise DataError(f"{rows.name}: no training row has one right answer: {rows.protocol}")
        one_hot = np.eye(len(rows.labels), dtype=np.float32)[rows.hard]
        rows = replace(rows, targets=one_hot)
    if config.label_smoothing:
        rows = replace(rows, targets=_smoothed(rows.targets, config.label_smoothing))
    return rows


def _smoothed(targets: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016."""
    return np.asarray((1 - share) * targets + share / targets.shape[1], np.float32)
