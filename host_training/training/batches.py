"""Training batches: own shuffling, views and mixing, a pure function of (seed, epoch)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.mesh_features import FeatureNorm
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.distributed.workers import ALONE, Workers, slice_of
from host_training.metrics.inputs import Batch, Inputs, MeshRows
from host_training.training.augment import DRAWS, epoch_generator, is_mirrored, views
from host_training.training.degrade import active_kinds, degraded
from host_training.training.distillation import Teachers

_ORDER: Final = 0
_VIEWS: Final = 1
_MIXES: Final = 2
_CROPS: Final = 3
_DEGRADATIONS: Final = 4
_ALIGNED_SHARE: Final = 0.5
"""How often a row that has an aligned crop is shown as that one."""


class TrainingBatches:
    """The batches of any epoch, without a memory of the one before.

    A last batch that is not full is left out (batch normalisation dislikes small ones), other rows
    each epoch, unless there is no full one at all.

    Args:
        samples: rows to learn from.
        config: the run's settings.
        mesh: the rows' mesh features, where the network or a teacher takes them.
        weights: float32 ``(k,)``, one a class, or None.
        teachers: whose answers are mixed into the targets, or None.
        workers: those who train together: each gets its part of every batch.
        mine: so many of the first samples are one's own; of those behind them an epoch shows others
            each time, ``config.rehearsal`` for each of one's own. All are one's own when None.
    """

    def __init__(
        self,
        samples: Samples,
        config: TrainConfig,
        *,
        mesh: MeshRows | None = None,
        weights: NDArray[np.float32] | None = None,
        teachers: Teachers | None = None,
        workers: Workers = ALONE,
        mine: int | None = None,
    ) -> None:
        self._samples = samples
        self._config = config
        self._mine = len(samples) if mine is None else mine
        self._rehearsed = _rehearsed(len(samples), self._mine, config)
        self._size = min(config.batch_size, self._mine + self._rehearsed)
        self._mesh = mesh
        self._row_weights = None if weights is None else samples.targets @ weights
        self._teachers = teachers
        self._own = np.arange(self._size)[slice_of(self._size, workers.index, workers.count)]

    def __len__(self) -> int:
        return (self._mine + self._rehearsed) // self._size

    def shown(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows that an epoch shows, in its order."""
        generator = epoch_generator(self._config.seed, epoch, _ORDER)
        if self._mine == len(self._samples):
            return generator.permutation(self._mine)
        general = np.arange(self._mine, len(self._samples))
        rehearsed = generator.choice(general, self._rehearsed, replace=False)
        return generator.permutation(np.concatenate((np.arange(self._mine), rehearsed)))

    @property
    def can_run_ahead(self) -> bool:
        """Tell whether another thread may make them: teachers are asked by the network's own."""
        return self._teachers is None

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield this worker's part of the batches of an epoch, counted from 0.

        The whole batches are the same whatever the number of workers.
        """
        config, rows = self._config, len(self._samples)
        order = self.shown(epoch)
        # Teachers are asked once about each view, so their views recur; without them none does.
        table = epoch % config.teacher_views if self._teachers else epoch
        draws = epoch_generator(config.seed, table, _VIEWS).random((rows, DRAWS))
        is_aligned = epoch_generator(config.seed, table, _CROPS).random(rows) < _ALIGNED_SHARE
        mixes = epoch_generator(config.seed, epoch, _MIXES)
        for start in range(0, len(self) * self._size, self._size):
            mix = Mix.drawn(self._size, config.mixup, mixes) if config.mixup else None
            needed = self._own if mix is None else mix.needed(self._own)
            chosen = order[start : start + self._size][needed]
            batch = self._batch(chosen, draws[chosen], is_aligned[chosen], table)
            if active_kinds(config.augmentation):
                self._degrade(batch, chosen, epoch)
            yield batch if mix is None else mix.applied(batch, needed, self._own)
        if self._teachers:
            # Rows that filled no batch, too: one unknown row has its whole batch asked again later.
            rest = order[-self._size :][self._own]
            self._batch(rest, draws[rest], is_aligned[rest], table)
            self._teachers.keep(table)

    def _batch(
        self,
        chosen: NDArray[np.int64],
        draws: NDArray[np.float64],
        is_aligned: NDArray[np.bool_],
        table: int,
    ) -> Batch:
        how = self._config.augmentation
        images = self._samples.images[chosen]
        if self._samples.aligned is not None:
            images[is_aligned] = self._samples.aligned[chosen[is_aligned]]
        mirrored = is_mirrored(draws, how)
        inputs: Inputs = {"pixels": views(images, draws, how)[..., None]}
        if self._mesh is not None:
            inputs["mesh"] = self._mesh.rows(chosen, mirrored)
        targets = self._samples.targets[chosen]
        if self._teachers:
            share = np.float32(self._config.teacher_weight)
            answers = self._teachers.answers(table, chosen, inputs["pixels"], mirrored)
            targets = (1 - share) * targets + share * answers
        weights = None if self._row_weights is None else self._row_weights[chosen]
        return Batch(inputs, targets, weights)

    def _degrade(self, batch: Batch, chosen: NDArray[np.int64], epoch: int) -> None:
        """Degrade a batch's views in place, after the teachers have seen them as they were.

        They teach what is in the picture, not what a bad picture of it shows. Their views recur;
        degradations do not.
        """
        config, pixels = self._config, batch.inputs["pixels"]
        for place, row in enumerate(chosen):
            own = np.random.default_rng((config.seed, epoch, _DEGRADATIONS, row))
            pixels[place, ..., 0] = degraded(pixels[place, ..., 0], own, config.augmentation)


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How every sample of a batch is mixed with another one.

    Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Attributes:
        shares: float32 ``(b,)``: of the sample itself.
        partners: int64 ``(b,)``: the place of the other one.
    """

    shares: NDArray[np.float32]
    partners: NDArray[np.int64]

    @staticmethod
    def drawn(rows: int, alpha: float, generator: np.random.Generator) -> "Mix":
        """Draw one for ``rows`` samples; ``alpha`` is of the shares' Beta distribution."""
        shares = np.asarray(generator.beta(alpha, alpha, rows), np.float32)
        return Mix(shares, generator.permutation(rows))

    def needed(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the places of the samples that mixing those at ``places`` takes, ascending."""
        return np.union1d(places, self.partners[places])

    def applied(self, batch: Batch, needed: NDArray[np.int64], places: NDArray[np.int64]) -> Batch:
        """Return the samples at ``places``, mixed; ``batch`` has those at ``needed``."""
        first, second = (np.searchsorted(needed, at) for at in (places, self.partners[places]))
        shares = self.shares[places]

        def mix(values: NDArray[np.float32]) -> NDArray[np.float32]:
            own = shares.reshape(-1, *(1,) * (values.ndim - 1))
            return own * values[first] + (1 - own) * values[second]

        return Batch(
            {name: mix(values) for name, values in batch.inputs.items()},
            mix(batch.targets),
            None if batch.weights is None else mix(batch.weights),
        )


def epoch_after_the_last(
    samples: Samples,
    config: TrainConfig,
    norm: FeatureNorm | None = None,
    weights: NDArray[np.float32] | None = None,
    mine: int | None = None,
) -> Iterator[Batch]:
    """Yield the views of an epoch that no epoch of a run has shown, with the samples' own targets.

    Args:
        samples: rows to learn from.
        config: the run's settings; pairs of rows are not mixed here.
        norm: of the network's mesh features, where it takes them.
        weights: float32 ``(k,)``, one a class, or None.
        mine: as of ``TrainingBatches``.
    """
    batches = TrainingBatches(
        samples,
        msgspec.structs.replace(config, mixup=0.0),
        mesh=None if norm is None else MeshRows(samples, norm),
        weights=weights,
        mine=mine,
    )
    return batches.epoch(config.epochs)


def _rehearsed(rows: int, mine: int, config: TrainConfig) -> int:
    """Return how many general samples an epoch shows."""
    return min(rows - mine, round(config.rehearsal * mine))


def shown_shares(rows: int, mine: int, config: TrainConfig) -> NDArray[np.float32]:
    """Return how often an epoch shows each sample, on average.

    Args:
        rows: all samples.
        mine: so many of the first are one's own, each shown once.
        config: ``rehearsal`` counts here.

    Returns:
        float32 ``(rows,)``.
    """
    shares = np.ones(rows, np.float32)
    if rows > mine:
        shares[mine:] = _rehearsed(rows, mine, config) / (rows - mine)
    return shares


def balanced_class_weights(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 ``(k,)``: weights inverse to how often each label is meant.

    Counted in target mass; scaled so that the mean over the rows is 1. A label without a row
    weighs 0.

    Args:
        targets: float32 ``(n, k)``; a row that is shown more or less than once sums to as much.
    """
    mass = targets.sum(axis=0, dtype=np.float64)
    inverse = np.divide(1, mass, out=np.zeros_like(mass), where=mass > 0)
    scale = mass.sum() / max(1, int((mass > 0).sum()))
    return np.asarray(inverse * scale, np.float32)
