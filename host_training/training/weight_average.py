"""An exponential moving average of a network's weights.

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; as in Tarvainen
and Valpola, "Mean teachers are better role models", NeurIPS 2017, the average follows closely at
first. Statistics of batch normalisation are averaged with the weights that they belong to.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from host_training.training.learner import Learner, check_shapes


class WeightAverage:
    """Follows a network step by step.

    Args:
        learner: of the network, at its first weights.
        decay: of the average, in [0, 1); 0 makes it the network itself.
        anchor: share of ``anchored`` in those that are given out, in [0, 1): Wortsman et al.,
            "Robust fine-tuning of zero-shot models", CVPR 2022 (arXiv 2109.01903).
        anchored: weights in the order of the network's own; its first ones when None.
    """

    def __init__(
        self,
        learner: Learner,
        decay: float,
        anchor: float = 0.0,
        anchored: Sequence[NDArray[np.float32]] | None = None,
    ) -> None:
        self._learner = learner
        self._decay = decay
        self._anchor = np.float32(anchor)
        own = learner.get_weights() if anchored is None else anchored
        self._anchored: list[NDArray[np.float32]] = list(own) if anchor else []
        self._steps = 0
        # Copies that lie in memory as the weights do: adding across another order of axes takes
        # several times as long as a training step.
        views = learner.weight_views() if decay else []
        self._average = [np.array(view, np.float32, order="K") for view in views]

    def update(self) -> None:
        """Take in the weights after one more step."""
        if not self._decay:
            return
        self._steps += 1
        rate = np.float32(1 - min(self._decay, (1 + self._steps) / (10 + self._steps)))
        for mean, weight in zip(self._average, self._learner.weight_views(), strict=True):
            np.add(mean, rate * (weight - mean), out=mean)

    def weights(self) -> list[NDArray[np.float32]]:
        """Return the average, in the order of the network's own weights."""
        own = self._average if self._decay else self._learner.get_weights()
        if not self._anchored:
            return own
        return [
            (1 - self._anchor) * mean + self._anchor * anchored
            for mean, anchored in zip(own, self._anchored, strict=True)
        ]

    def state(self) -> list[NDArray[np.generic]]:
        """Return what a checkpoint must keep."""
        return [np.array(self._steps), *self._average] if self._decay else []

    def restore(self, state: Sequence[NDArray[np.generic]]) -> None:
        """Take up a kept state again.

        Raises:
            TrainingError: it is of another network.
        """
        if self._decay:
            self._steps = int(state[0])
            check_shapes([mean.shape for mean in self._average], list(state[1:]))
            for mean, array in zip(self._average, state[1:], strict=True):
                mean[...] = array
