"""What a network costs: parameters and multiplications, counted from its layers."""

from math import prod
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from host_training.frameworks import import_keras

if TYPE_CHECKING:
    import keras


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one inference takes.

    Attributes:
        parameters: weights, batch normalisation's statistics included.
        trainable: those that training moves.
        macs: multiply-accumulate operations of convolutions and dense layers for one picture; the
            rest (normalisation is folded into them, additions, pooling) is left out, as is usual.
    """

    parameters: int
    trainable: int
    macs: int


def cost(model: "keras.Model") -> Cost:
    """Count a network's parameters and multiplications."""
    return Cost(
        parameters=int(model.count_params()),
        trainable=int(sum(prod(weight.shape) for weight in model.trainable_weights)),
        macs=_macs(model),
    )


def _macs(model: "keras.Model") -> int:
    """Each weight of a kernel is used once for every place of the output.

    The places are counted in a real pass of one picture: a layer that sees the mirrored one as
    well has them twice, which the network's open batch dimension does not tell.
    """
    layers = [layer for layer in model.layers if getattr(layer, "kernel", None) is not None]
    inner = import_keras().Model(model.input, [layer.output for layer in layers])
    row = [np.zeros((1, *tensor.shape[1:]), np.float32) for tensor in model.inputs]
    outputs = inner(row if len(row) > 1 else row[0], training=False)
    places = [prod(output.shape[:-1]) for output in outputs]
    return sum(
        prod(layer.kernel.shape) * count for layer, count in zip(layers, places, strict=True)
    )
