"""The steps of a Keras network, taken by PyTorch.

PyTorch's compiler fuses the network for the processor at hand: on a CPU with AMX and in bfloat16 it
trains ``compact`` three times as fast as TensorFlow does (docs/training.md). The network learns
with the same batches, targets and schedule, and gives its weights back in Keras' order; what is
validated, kept and converted is the Keras network, as ever.

Two details differ by less than rounding in bfloat16 does: the running variance of a batch
normalisation is the unbiased one, and AdamW adds its epsilon after the correction of its bias.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from numpy.typing import NDArray

from host_training.config import TrainConfig
from host_training.errors import TrainingError
from host_training.metrics.inputs import Batch, Inputs
from host_training.training.learner import Arrays, check_shapes
from host_training.training.optimizer import cosine_rate
from host_training.training.torch_network import (
    TorchNetwork,
    as_keras,
    as_torch,
    autocast,
    compiled,
    device_name,
    keras_view,
)

if TYPE_CHECKING:
    import keras

_EPSILON: Final = 1e-7
"""Of AdamW, as Keras has it."""
_MOMENTS: Final = ("exp_avg", "exp_avg_sq")


class TorchLearner:
    """A network that PyTorch trains, see ``host_training.training.learner.Learner``.

    Args:
        model: the Keras network, at its first weights; it is not changed.
        config: the run's settings.
        steps_per_epoch: batches an epoch, which the schedule is made for.
        offsets: added to the logits while it learns, float32 ``(k,)``, or None.

    Raises:
        TrainingError: PyTorch cannot train such a network, or not with this optimiser.
    """

    def __init__(
        self,
        model: "keras.Model",
        config: TrainConfig,
        steps_per_epoch: int,
        offsets: NDArray[np.float32] | None = None,
    ) -> None:
        if config.optimizer != "adamw":
            raise TrainingError(
                f"--set engine=torch: trains with adamw only, got optimizer={config.optimizer}; "
                "leave one of the two out"
            )
        self._config, self._steps_per_epoch = config, steps_per_epoch
        self._device = device_name()
        self._network = TorchNetwork(model).to(self._device)
        self._compiled = compiled(self._network)
        self._offsets = torch.tensor(0.0 if offsets is None else offsets).to(self._device)
        # Decay pulls kernels towards zero; on a normalisation's scale and shift it only does harm.
        kernels = [tensor for tensor in self._network.parameters() if tensor.ndim > 1]
        others = [tensor for tensor in self._network.parameters() if tensor.ndim == 1]
        self._parameters = kernels + others
        groups = [
            {"params": kernels, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, eps=_EPSILON, fused=True
        )
        self._steps = 0
        self._plateau_rate = config.learning_rate
        # The moments must exist before a checkpoint can be put into them.
        for tensor in self._parameters:
            zeros = {name: torch.zeros_like(tensor) for name in _MOMENTS}
            step = torch.tensor(0.0, device=self._device)
            self._optimizer.state[tensor] = {"step": step, **zeros}

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        if self._config.schedule == "plateau":
            return self._plateau_rate
        return cosine_rate(self._config, self._steps_per_epoch, self._steps)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._plateau_rate = rate

    def begin_epoch(self, epoch: int) -> None:
        """Start the epoch's own random numbers: a resumed run drops the same units."""
        (seed,) = np.random.SeedSequence((self._config.seed, epoch)).generate_state(1)
        torch.manual_seed(int(seed))
        self._network.train()

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step, see ``Learner``."""
        targets = torch.from_numpy(batch.targets).to(self._device)
        with autocast(self._config.precision):
            logits = self._compiled(*_tensors(self._network, batch.inputs, self._device)).float()
        losses = torch.nn.functional.cross_entropy(
            logits + self._offsets, targets, reduction="none"
        )
        if batch.weights is not None:
            losses = losses * torch.from_numpy(batch.weights).to(self._device)
        loss = losses.mean()
        for group in self._optimizer.param_groups:
            group["lr"] = self.learning_rate
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._steps += 1
        right = (logits.argmax(1) == targets.argmax(1)).float().mean()
        return float(loss.detach()), float(right)

    def get_weights(self) -> Arrays:
        """Return the weights, see ``Learner``."""
        return [as_keras(tensor) for tensor in self._network.ordered()]

    def weight_views(self) -> Arrays:
        """Return the weights as they lie in memory, see ``Learner``."""
        return [keras_view(tensor) for tensor in self._network.ordered()]

    def state(self) -> Arrays:
        """Return weights, moments, steps and rate; all random numbers begin with an epoch."""
        moments = [
            self._optimizer.state[tensor][name].cpu().numpy().copy()
            for name in _MOMENTS
            for tensor in self._parameters
        ]
        return [*self.get_weights(), *moments, np.array(self._steps), np.array(self._plateau_rate)]

    def restore(self, state: Arrays) -> None:
        """Put a state back, see ``Learner``."""
        check_shapes([array.shape for array in self.state()], state)
        *arrays, steps, rate = state
        self._steps, self._plateau_rate = int(steps), float(rate)
        remaining = iter(arrays)
        with torch.no_grad():
            for tensor in self._network.ordered():
                tensor.copy_(as_torch(next(remaining)))
            for name in _MOMENTS:
                for tensor in self._parameters:
                    moment = torch.from_numpy(np.asarray(next(remaining)))
                    self._optimizer.state[tensor][name].copy_(moment)
            for tensor in self._parameters:
                self._optimizer.state[tensor]["step"].fill_(self._steps)


class TorchPredictor:
    """A finished Keras network's probabilities, computed by PyTorch, for teachers.

    Args:
        model: in the form that is trained.
        mirrored: answer with the mean of the picture and its mirror image.
        precision: see ``TrainConfig``.
    """

    def __init__(self, model: "keras.Model", *, mirrored: bool, precision: str) -> None:
        self._device = device_name()
        self._network = TorchNetwork(model).to(self._device).eval()
        self._compiled = compiled(self._network)
        self._mirrored, self._precision = mirrored, precision

    def predict_on_batch(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return float32 ``(b, k)``; rows sum to 1."""
        own = _tensors(self._network, inputs, self._device)
        with torch.no_grad(), autocast(self._precision):
            logits = self._compiled(*own).float()
            if self._mirrored:
                other = [x.flip(2) if x.ndim == 4 else x for x in own]
                # The layer after the mean is linear: the mean of its outputs is the same.
                logits = (logits + self._compiled(*other).float()) / 2
            return np.asarray(torch.softmax(logits, 1).cpu().numpy(), np.float32)


def _tensors(network: TorchNetwork, inputs: Inputs, device: str) -> list[torch.Tensor]:
    return [torch.from_numpy(inputs[name]).to(device) for name in network.inputs]
