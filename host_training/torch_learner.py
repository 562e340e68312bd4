"""The steps of a Keras network, taken by PyTorch.

PyTorch's compiler fuses the network for the processor at hand: on a CPU with AMX and in bfloat16 it
trains ``compact`` three times as fast as TensorFlow does (docs/training.md). The network is
translated layer by layer, learns with the same batches, targets and schedule, and gives its weights
back in Keras' order; what is validated, kept and converted is the Keras network, as ever.

Two details differ by less than rounding in bfloat16 does: the running variance of a batch
normalisation is the unbiased one, and AdamW adds its epsilon after the correction of its bias.
"""

import shutil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from host_training.config import TrainConfig
from host_training.errors import TrainingError
from host_training.frameworks import import_torch
from host_training.inputs import Batch
from host_training.learner import Arrays, check_shapes
from host_training.optimizer import cosine_rate

if TYPE_CHECKING:
    import keras

_EPSILON: Final = 1e-7
"""Of AdamW, as Keras has it."""
_TO_TORCH: Final = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
_TO_KERAS: Final = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
"""Axes of kernels: ``(h, w, in, out)`` and ``(in, out)`` in Keras, the last first in PyTorch."""


class TorchLearner:
    """A network that PyTorch trains, see ``host_training.learner.Learner``.

    Args:
        model: the Keras network, at its first weights; it is not changed.
        config: the run's settings.
        steps_per_epoch: batches an epoch, which the schedule is made for.
        offsets: added to the logits while it learns, float32 ``(k,)``, or None.

    Raises:
        TrainingError: PyTorch is not installed, or cannot train such a network.
    """

    def __init__(
        self,
        model: "keras.Model",
        config: TrainConfig,
        steps_per_epoch: int,
        offsets: NDArray[np.float32] | None = None,
    ) -> None:
        torch = self._torch = import_torch()
        self._config, self._steps_per_epoch = config, steps_per_epoch
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = translated(model, torch).to(self._device)
        self._offsets = torch.tensor(0.0 if offsets is None else offsets).to(self._device)
        self._compiled = compiled(self._network, torch)
        parameters = dict(self._network.named_parameters())
        decayed = [p for p in parameters.values() if p.ndim > 1]
        others = [p for p in parameters.values() if p.ndim == 1]
        self._parameters = decayed + others
        groups = [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        if config.optimizer == "nadam":
            raise TrainingError("--set engine=torch: trains with adamw only, not with nadam")
        self._optimizer = torch.optim.AdamW(
            groups, lr=config.learning_rate, eps=_EPSILON, fused=True
        )
        self._steps = 0
        self._plateau_rate = config.learning_rate
        # Its moments exist from the first step on only, and a checkpoint must find them.
        for parameter in self._parameters:
            self._optimizer.state[parameter] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

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
        seed = np.random.SeedSequence((self._config.seed, epoch)).generate_state(1, np.uint64)[0]
        self._torch.manual_seed(int(seed >> np.uint64(1)))
        self._network.train()

    def step(self, batch: Batch) -> tuple[float, float]:
        """Take a step, see ``Learner``."""
        torch = self._torch
        inputs = [torch.from_numpy(batch.inputs[name]) for name in self._network.inputs]
        targets = torch.from_numpy(batch.targets).to(self._device)
        with _autocast(torch, self._device, self._config.precision):
            logits = self._compiled(*(values.to(self._device) for values in inputs))
        logits = logits.float()
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

    def state(self) -> Arrays:
        """Return weights, moments and the number of steps."""
        moments = [
            self._optimizer.state[parameter][name].cpu().numpy().copy()
            for name in ("exp_avg", "exp_avg_sq")
            for parameter in self._parameters
        ]
        return [*self.get_weights(), *moments, np.array(self._steps), np.array(self._plateau_rate)]

    def restore(self, state: Arrays) -> None:
        """Put a state back, see ``Learner``."""
        check_shapes([array.shape for array in self.state()], state)
        torch, weights = self._torch, self._network.ordered()
        self._steps, self._plateau_rate = int(state[-2]), float(state[-1])
        with torch.no_grad():
            for tensor, array in zip(weights, state, strict=False):
                tensor.copy_(torch.from_numpy(_as_torch(array)))
            moments = iter(state[len(weights) : -2])
            for name in ("exp_avg", "exp_avg_sq"):
                for parameter in self._parameters:
                    self._optimizer.state[parameter][name].copy_(torch.from_numpy(next(moments)))
            for parameter in self._parameters:
                self._optimizer.state[parameter]["step"].fill_(self._steps)


class TorchPredictor:
    """A finished Keras network's probabilities, computed by PyTorch, for teachers.

    Args:
        model: as it is trained: the mirror image is looked at here where ``mirrored``.
        mirrored: answer with the mean of the picture and its mirror image.
        precision: see ``TrainConfig``.
    """

    def __init__(self, model: "keras.Model", *, mirrored: bool, precision: str) -> None:
        self._torch = import_torch()
        self._device = "cuda" if self._torch.cuda.is_available() else "cpu"
        self._network = translated(model, self._torch).to(self._device).eval()
        self._compiled = compiled(self._network, self._torch)
        self._mirrored, self._precision = mirrored, precision

    def predict_on_batch(self, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return float32 ``(b, k)``; rows sum to 1."""
        torch = self._torch
        own = [torch.from_numpy(inputs[name]).to(self._device) for name in self._network.inputs]
        with torch.no_grad(), _autocast(torch, self._device, self._precision):
            logits = self._compiled(*own).float()
            if self._mirrored:
                other = [x.flip(2) if x.ndim == 4 else x for x in own]
                # The layer after the mean is linear: the mean of its outputs is the same.
                logits = (logits + self._compiled(*other).float()) / 2
            return np.asarray(torch.softmax(logits, 1).cpu().numpy(), np.float32)


def compiled(network: Any, torch: Any) -> Any:
    """Let PyTorch's compiler fuse a network; without a C++ compiler it runs as it is."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return network
    return torch.compile(network, dynamic=False)


def _autocast(torch: Any, device: str, precision: str) -> Any:
    return torch.autocast(device, torch.bfloat16, enabled=precision != "float32")


def as_keras(tensor: Any) -> NDArray[np.float32]:
    """Return a PyTorch tensor as Keras shapes it, a copy."""
    array = tensor.detach().cpu().numpy()
    return np.ascontiguousarray(array.transpose(_TO_KERAS[array.ndim])).copy()


def _as_torch(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array.transpose(_TO_TORCH[array.ndim]))


def translated(model: "keras.Model", torch: Any) -> Any:
    """Return a Keras functional network as a PyTorch module that gives logits.

    It is called with its ``inputs``, in that order, pixels ``(b, h, w, 1)`` as Keras has them;
    ``ordered()`` gives its tensors in the order of ``model.get_weights()``.

    Raises:
        TrainingError: it has a layer that is not translated.
    """
    nn, functional = torch.nn, torch.nn.functional

    def tensor(variable: Any) -> Any:
        return torch.from_numpy(_as_torch(np.asarray(variable.numpy())))

    class Convolution(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.weight = nn.Parameter(tensor(layer.kernel))
            self.bias = nn.Parameter(tensor(layer.bias)) if layer.use_bias else None
            self.stride, self.size = layer.strides[0], layer.kernel_size[0]
            self.activation = _activation(layer, functional)

        def forward(self, x: Any) -> Any:
            # Keras' "same": what has to be added goes right and below first.
            total = max(0, self.size - (x.shape[2] % self.stride or self.stride))
            if total:
                before = total // 2
                x = functional.pad(x, (before, total - before, before, total - before))
            return self.activation(functional.conv2d(x, self.weight, self.bias, self.stride))

    class Dense(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, layer: Any, is_last: bool) -> None:
            super().__init__()
            self.weight = nn.Parameter(tensor(layer.kernel))
            self.bias = nn.Parameter(tensor(layer.bias)) if layer.use_bias else None
            self.activation = _identity if is_last else _activation(layer, functional)

        def forward(self, x: Any) -> Any:
            return self.activation(functional.linear(x, self.weight, self.bias))

    class Normalisation(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(tensor(layer.gamma)), nn.Parameter(tensor(layer.beta))
            self.register_buffer("mean", tensor(layer.moving_mean))
            self.register_buffer("variance", tensor(layer.moving_variance))
            self.momentum, self.epsilon = 1 - layer.momentum, layer.epsilon

        def forward(self, x: Any) -> Any:
            return functional.batch_norm(
                x, self.mean, self.variance, self.weight, self.bias,
                self.training, self.momentum, self.epsilon,
            )

    class Plain(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function = function

        def forward(self, *x: Any) -> Any:
            return self.function(*x)

    def module(layer: Any) -> Any:
        kind = type(layer).__name__
        if kind == "Conv2D":
            return Convolution(layer)
        if kind == "Dense":
            return Dense(layer, layer is model.layers[-1])
        if kind == "BatchNormalization":
            return Normalisation(layer)
        if kind == "Dropout":
            return nn.Dropout(layer.rate)
        functions = {
            "ReLU": functional.relu,
            "Add": lambda *x: x[0] + x[1],
            "Concatenate": lambda *x: torch.cat(x, 1),
            "GlobalAveragePooling2D": lambda x: x.mean((2, 3)),
            "MaxPooling2D": lambda x: functional.max_pool2d(x, 2),
            # Keras flattens pictures with the channels last.
            "Flatten": lambda x: x.permute(0, 2, 3, 1).flatten(1),
        }
        if kind == "Rescaling":
            scale, offset = float(layer.scale), float(layer.offset)
            return Plain(lambda x: x * scale + offset)
        if kind not in functions:
            raise TrainingError(
                f"--set engine=torch: cannot train {model.name}, whose layer {layer.name!r} is a "
                f"{kind}; leave the setting out"
            )
        return Plain(functions[kind])

    class Network(nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inputs = [x.name for x in model.inputs]
            places = {id(x): number for number, x in enumerate(model.inputs)}
            self.steps, self.parts = [], nn.ModuleList()
            for layer in model.layers:
                if type(layer).__name__ == "InputLayer":
                    continue
                given = layer.input if isinstance(layer.input, list) else [layer.input]
                self.steps.append([places[id(x)] for x in given])
                places[id(layer.output)] = len(places)
                self.parts.append(module(layer))

        def ordered(self) -> list[Any]:
            names = ("weight", "bias", "mean", "variance")
            return [
                getattr(part, name)
                for part in self.parts
                for name in names
                if getattr(part, name, None) is not None
            ]

        def forward(self, *inputs: Any) -> Any:
            values = [x.permute(0, 3, 1, 2) if x.ndim == 4 else x for x in inputs]
            for given, part in zip(self.steps, self.parts, strict=True):
                values.append(part(*(values[place] for place in given)))
            return values[-1]

    return Network()


def _identity(x: Any) -> Any:
    return x


def _activation(layer: Any, functional: Any) -> Any:
    name = layer.activation.__name__
    known = {"linear": _identity, "elu": functional.elu, "relu": functional.relu}
    if name not in known:
        raise TrainingError(
            f"--set engine=torch: cannot train layer {layer.name!r} with activation {name}; leave "
            "the setting out"
        )
    return known[name]
