"""Training batches: own shuffling and augmentation, a pure function of (seed, epoch)."""

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from host_training.augment import DRAWS, Augmentation, epoch_generator, view
from host_training.data.samples import Samples

Batch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]
"""Pixels ``(b, 48, 48, 1)`` in 0..255, targets ``(b, k)``, row weights ``(b,)`` or None."""

_ORDER: Final = 0
_VIEWS: Final = 1


class TrainingBatches:
    """The batches of any epoch, without a memory of the one before.

    Args:
        samples: rows to learn from.
        batch_size: rows a batch; a last batch that is not full is left out (batch normalisation
            dislikes small ones), other rows each epoch, unless there is no full one at all.
        seed: of order and views.
        how: the augmentation.
        weights: float32 ``(k,)``, one a class, or None.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        seed: int,
        how: Augmentation,
        weights: NDArray[np.float32] | None = None,
    ) -> None:
        self._samples = samples
        self._size = min(batch_size, len(samples))
        self._seed = seed
        self._how = how
        self._row_weights = None if weights is None else samples.targets @ weights

    def __len__(self) -> int:
        return len(self._samples) // self._size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0."""
        rows = len(self._samples)
        order = epoch_generator(self._seed, epoch, _ORDER).permutation(rows)
        draws = epoch_generator(self._seed, epoch, _VIEWS).random((rows, DRAWS))
        for start in range(0, len(self) * self._size, self._size):
            chosen = order[start : start + self._size]
            views = [view(self._samples.images[i], draws[i], self._how) for i in chosen]
            weights = None if self._row_weights is None else self._row_weights[chosen]
            yield np.stack(views)[..., None], self._samples.targets[chosen], weights


def balanced_class_weights(samples: Samples) -> NDArray[np.float32]:
    """Return float32 ``(k,)``: weights inverse to how often each label is meant.

    Counted in target mass; scaled so that the mean over the rows is 1. A label without a row
    weighs 0.
    """
    mass = samples.targets.sum(axis=0, dtype=np.float64)
    inverse = np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)
    scale = mass.sum() / max(1, int((mass > 0).sum()))
    return np.asarray(inverse * scale, np.float32)
