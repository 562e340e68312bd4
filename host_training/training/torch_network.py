"""A Keras network, translated layer by layer into a PyTorch module with the same weights.

Only imported once PyTorch is known to be there (``host_training.frameworks.import_torch``).
"""

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from host_training.errors import TrainingError

if TYPE_CHECKING:
    import keras

_TO_TORCH: Final = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
_TO_KERAS: Final = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
"""Axes of kernels: ``(h, w, in, out)`` and ``(in, out)`` in Keras, the last first in PyTorch."""


class TorchNetwork(nn.Module):
    """Takes its ``inputs``, in that order, pixels ``(b, h, w, 1)`` as Keras has them; gives logits.

    Args:
        model: a functional network of Keras that ends in a dense layer; it is not changed.

    Raises:
        TrainingError: it has a layer that is not translated.
    """

    def __init__(self, model: "keras.Model") -> None:
        super().__init__()
        self.inputs: list[str] = [tensor.name for tensor in model.inputs]
        self._sources: list[list[int]] = []
        self._parts = nn.ModuleList()
        places = {id(tensor): number for number, tensor in enumerate(model.inputs)}
        for layer in model.layers:
            if type(layer).__name__ == "InputLayer":
                continue
            given = layer.input if isinstance(layer.input, list) else [layer.input]
            self._sources.append([places[id(tensor)] for tensor in given])
            places[id(layer.output)] = len(places)
            self._parts.append(_translated(layer, is_last=layer is model.layers[-1]))

    def ordered(self) -> list[torch.Tensor]:
        """Return the tensors in the order of ``keras.Model.get_weights``."""
        return [
            tensor
            for part in self._parts
            for name in ("weight", "bias", "mean", "variance")
            if (tensor := getattr(part, name, None)) is not None
        ]

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(b, k)``."""
        values = [x.permute(0, 3, 1, 2) if x.ndim == 4 else x for x in inputs]
        for sources, part in zip(self._sources, self._parts, strict=True):
            values.append(part(*(values[source] for source in sources)))
        return values[-1]


def compiled(network: nn.Module) -> Any:
    """Let PyTorch's compiler fuse a network; without a C++ compiler it runs as it is."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return network
    return torch.compile(network, dynamic=False)


def device_name() -> str:
    """Return where PyTorch computes: a GPU where it finds one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast(precision: str) -> Any:
    """Return a context in which PyTorch multiplies as precisely as a run asks for."""
    return torch.autocast(device_name(), torch.bfloat16, enabled=precision != "float32")


def as_keras(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Return a weight as Keras shapes it, a copy."""
    return np.array(keras_view(tensor), np.float32, order="C")


def keras_view(tensor: torch.Tensor) -> NDArray[np.float32]:
    """Return a weight as Keras shapes it, in PyTorch's own memory where that is the CPU's."""
    array = tensor.detach().cpu().numpy()
    return np.asarray(array.transpose(_TO_KERAS[array.ndim]), np.float32)


def as_torch(array: NDArray[Any]) -> torch.Tensor:
    """Return a weight of Keras as PyTorch shapes it."""
    return torch.from_numpy(np.array(array.transpose(_TO_TORCH[array.ndim]), np.float32, order="C"))


class _Linear(nn.Module):
    """A convolution or a dense layer, with its activation."""

    def __init__(self, layer: Any, *, is_last: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(_value(layer.kernel))
        self.bias = nn.Parameter(_value(layer.bias)) if layer.use_bias else None
        self._activation = _activation("linear" if is_last else layer.activation.__name__, layer)
        self._stride = layer.strides[0] if self.weight.ndim == 4 else 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self._stride:
            return self._activation(functional.linear(x, self.weight, self.bias))
        # Keras' "same": an odd pixel of padding goes right and below.
        total = max(0, self.weight.shape[-1] - (x.shape[2] % self._stride or self._stride))
        if total:
            before = total // 2
            x = functional.pad(x, (before, total - before, before, total - before))
        return self._activation(functional.conv2d(x, self.weight, self.bias, self._stride))


class _Normalization(nn.Module):
    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(_value(layer.gamma))
        self.bias = nn.Parameter(_value(layer.beta))
        self.register_buffer("mean", _value(layer.moving_mean))
        self.register_buffer("variance", _value(layer.moving_variance))
        self._momentum, self._epsilon = 1 - layer.momentum, layer.epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(
            x,
            self.mean,
            self.variance,
            self.weight,
            self.bias,
            self.training,
            self._momentum,
            self._epsilon,
        )


class _Function(nn.Module):
    def __init__(self, function: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self._function(*x)


_FUNCTIONS: Final[dict[str, Callable[..., torch.Tensor]]] = {
    "ReLU": functional.relu,
    "Add": torch.add,
    "Concatenate": lambda *x: torch.cat(x, 1),
    "GlobalAveragePooling2D": lambda x: x.mean((2, 3)),
    "MaxPooling2D": lambda x: functional.max_pool2d(x, 2),
    # Keras flattens pictures with the channels last.
    "Flatten": lambda x: x.permute(0, 2, 3, 1).flatten(1),
}


def _translated(layer: Any, *, is_last: bool) -> nn.Module:
    kind = type(layer).__name__
    if kind in ("Conv2D", "Dense"):
        return _Linear(layer, is_last=is_last)
    if kind == "BatchNormalization":
        return _Normalization(layer)
    if kind == "Dropout":
        return nn.Dropout(layer.rate)
    if kind == "Rescaling":
        scale, offset = float(layer.scale), float(layer.offset)
        return _Function(lambda x: x * scale + offset)
    if kind in _FUNCTIONS:
        return _Function(_FUNCTIONS[kind])
    raise _untranslated(layer, f"is a {kind}")


def _activation(name: str, layer: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    known: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "linear": lambda x: x,
        "elu": functional.elu,
        "relu": functional.relu,
    }
    if name not in known:
        raise _untranslated(layer, f"has the activation {name}")
    return known[name]


def _untranslated(layer: Any, what: str) -> TrainingError:
    return TrainingError(
        f"--set engine=torch: cannot train this network, its layer {layer.name!r} {what}; leave "
        "the setting out"
    )


def _value(variable: Any) -> torch.Tensor:
    return as_torch(np.asarray(variable.numpy()))
