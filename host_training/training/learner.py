"""Who takes the training steps: Keras itself, or another engine behind the same few methods."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from host_training.errors import TrainingError
from host_training.frameworks import import_keras
from host_training.metrics.inputs import Batch, as_model_input

if TYPE_CHECKING:
    import keras

Arrays = list[NDArray[Any]]


class Learner(Protocol):
    """A network that learns, with its optimiser.

    Attributes:
        learning_rate: of the next step; may be set where the schedule is not the engine's own.
    """

    learning_rate: float

    def begin_epoch(self, epoch: int) -> None:
        """Be told that an epoch begins, counted from 0."""

    def step(self, batch: Batch) -> tuple[float, float]:
        """Learn from a batch; return its mean loss and accuracy before the step."""

    def get_weights(self) -> Arrays:
        """Return the weights as Keras orders and shapes them, copies."""

    def weight_views(self) -> Arrays:
        """Return the same without copying where the engine can: valid until the next step."""

    def state(self) -> Arrays:
        """Return everything that the next step depends on: weights, moments, random state."""

    def restore(self, state: Arrays) -> None:
        """Put a state back.

        Raises:
            TrainingError: it is of another network.
        """


class KerasLearner:
    """A compiled Keras network.

    Args:
        model: compiled, at its first weights.
    """

    def __init__(self, model: "keras.Model") -> None:
        self._model = model

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        ops = import_keras().ops
        return float(
            ops.convert_to_numpy(ops.convert_to_tensor(self._model.optimizer.learning_rate))
        )

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._model.optimizer.learning_rate = rate

    def begin_epoch(self, epoch: int) -> None:
        """Do nothing: Keras keeps the state of its random numbers among its variables."""

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step, see ``Learner``."""
        logs = self._model.train_on_batch(
            as_model_input(self._model, batch.inputs),
            batch.targets,
            batch.weights,
            return_dict=True,
        )
        return float(logs["loss"]), float(logs["accuracy"])

    def get_weights(self) -> Arrays:
        """Return the weights, see ``Learner``."""
        return list(self._model.get_weights())

    def weight_views(self) -> Arrays:
        """Return copies: TensorFlow gives no others."""
        return self.get_weights()

    def state(self) -> Arrays:
        """Return every variable of model and optimiser."""
        return [np.asarray(variable.numpy()) for variable in self._variables()]

    def restore(self, state: Arrays) -> None:
        """Put a state back, see ``Learner``."""
        variables = self._variables()
        check_shapes([tuple(variable.shape) for variable in variables], state)
        for variable, array in zip(variables, state, strict=True):
            variable.assign(array)

    def _variables(self) -> "list[keras.Variable]":
        """Every variable but the metrics', which each epoch resets."""
        metric = {id(variable) for variable in self._model.metrics_variables}
        own = [variable for variable in self._model.variables if id(variable) not in metric]
        return own + list(self._model.optimizer.variables)


def check_shapes(expected: list[tuple[int, ...]], state: Arrays) -> None:
    """Refuse the state of another network.

    Raises:
        TrainingError: the shapes are not those expected.
    """
    if expected != [array.shape for array in state]:
        raise TrainingError("the checkpoint belongs to another network than this run's config.json")


def log_prior(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the logarithm of each label's share in the targets, float32 ``(k,)``.

    A label without a row counts as half a row: its logarithm stays finite.

    Args:
        targets: float32 ``(n, k)``; rows sum to 1, or to how often they are shown.
    """
    mass = np.maximum(targets.sum(axis=0, dtype=np.float64), 0.5)
    return np.asarray(np.log(mass / mass.sum()), np.float32)


def adjusted_cross_entropy(offsets: NDArray[np.float32]) -> Callable[[Any, Any], Any]:
    """Return Keras' cross-entropy with offsets added to the logits while the network learns.

    With ``tau * log_prior`` a network learns scores that are balanced by themselves: Menon et al.,
    "Long-tail learning via logit adjustment", ICLR 2021 (arXiv 2007.07314); with tau 1 it is Ren et
    al.'s balanced softmax, NeurIPS 2020 (arXiv 2007.10740).

    Args:
        offsets: float32 ``(k,)``.
    """
    ops = import_keras().ops

    def loss(targets: Any, probabilities: Any) -> Any:
        logits = ops.log(ops.clip(probabilities, 1e-7, 1.0)) + offsets
        return ops.categorical_crossentropy(targets, logits, from_logits=True)

    return loss
