"""Float weights out of an int8 bundle, so that training can go on from a packaged model.

A converter folds each batch normalisation into the convolution before it (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
2018). Here it is unfolded again: the kernels are taken as they are in the file, and each
normalisation gets the mean and variance that its input has on the new rows, with a gain and an
offset that cancel them. At first the network answers as the bundle does, but for rounding, and its
normalisations do what training expects of them.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import Bundle, open_bundle
from edge.errors import ConfigError
from edge.inference.tflite.flatbuffer import MalformedError, read
from edge.inference.tflite.verify import SCHEMA, check_tflite
from host_training.architectures import build

if TYPE_CHECKING:
    import keras

_CONVOLUTION: Final = 3
_FULLY_CONNECTED: Final = 9
_MULTIPLY: Final = 18
_REVERSE: Final = 105
_TYPES: Final = {0: "<f4", 2: "<i4", 9: "<i1"}
_OPERATION: Final = re.compile(r"(?:^|/)([^/;]+)/(?:convolution|Conv2D|MatMul)\b")
_SMALLEST_VARIANCE: Final = 1e-6
_KERNEL_NORM: Final = 2**0.5
"""He et al.'s start has it on average; steps of an optimiser are made for weights of that size."""

HEAD: Final = "scores"
"""The last layer, which a network of other emotions has in another width."""
_MEASURED: Final = 1024
"""So many rows tell the means and variances of the layers."""

_Array = NDArray[np.float32]
Folded = dict[str, tuple[_Array, _Array]]
"""By the layer's name: kernel, ``(h, w, in, out)`` or ``(in, out)``, and bias ``(out,)``."""


def bundle_network(path: Path, images: NDArray[np.uint8]) -> "tuple[tuple[str, ...], keras.Model]":
    """Return a bundle's labels, and its network in floats, as it is asked and not trained.

    Args:
        path: the bundle.
        images: uint8 ``(n, 48, 48)``, see ``unfold_bundle``.

    Raises:
        ConfigError: no sound bundle, or not of an architecture that can be unfolded.
    """
    bundle = open_bundle(path)
    labels = bundle.metadata.labels
    model = build(bundle.metadata.architecture, len(labels), inference=True)
    model.get_layer(HEAD).set_weights(unfold_bundle(model, bundle, path, images))
    return labels, model


def unfold_bundle(
    model: "keras.Model", bundle: Bundle, path: Path, images: NDArray[np.uint8]
) -> list[_Array]:
    """Give a network a bundle's weights, all but its last layer's, and return those.

    Args:
        model: of the bundle's architecture, for any emotions.
        bundle: where they are.
        path: where that is, for messages.
        images: rows like those that it has learnt from, uint8 ``(n, 48, 48)``; some are looked at.

    Raises:
        ConfigError: it is another architecture.
    """
    name, labels = str(path), bundle.metadata.labels
    weights = folded_weights(bundle.model, name)
    chosen = np.linspace(0, len(images) - 1, min(_MEASURED, len(images))).astype(int)
    unfold(model, weights, images[chosen][..., np.newaxis].astype(np.float32), name)
    units = model.get_layer(HEAD).get_weights()[0].shape[0]
    return list(layer_weights(weights, HEAD, (units, len(labels)), name))


def folded_weights(content: bytes, name: str) -> Folded:
    """Return the kernels and biases of a ``.tflite`` file as floats.

    Args:
        content: the file.
        name: how messages call it.

    Raises:
        ConfigError: not a TFLite file, or one whose layers have no names.
    """
    try:
        check_tflite(content)
        model = read(content, "Model", SCHEMA)
    except MalformedError as error:
        raise ConfigError(f"--init {name}: not a sound TFLite file: {error}") from error
    codes = [
        max(code.get("builtin_code", 0), code.get("deprecated_builtin_code", 0))
        for code in model["operator_codes"]
    ]
    graph = model["subgraphs"][0]
    kinds = [codes[operator.get("opcode_index", 0)] for operator in graph["operators"]]
    weights: Folded = {}
    for kind, operator in zip(kinds, graph["operators"], strict=True):
        if kind not in (_CONVOLUTION, _FULLY_CONNECTED):
            continue
        _, kernel, bias = (graph["tensors"][index] for index in operator["inputs"][:3])
        found = _OPERATION.search(kernel["name"].decode("utf-8", "replace"))
        if found is not None:
            values = _floats(kernel, model["buffers"])
            is_dense = values.ndim == 2
            axes = (1, 0) if is_dense else (1, 2, 3, 0)
            if is_dense and _REVERSE in kinds and kinds.count(_MULTIPLY) <= 1:
                # The mean of a picture and its mirror image: its half went into these weights. The
                # one multiplication is that of the pixels.
                values = 2 * values
            weights[found[1]] = values.transpose(axes), _floats(bias, model["buffers"])
    if not weights:
        raise ConfigError(f"--init {name}: its layers have no names; start from a run directory")
    return weights


def unfold(model: "keras.Model", weights: Mapping[str, Any], pixels: _Array, name: str) -> None:
    """Give a network the weights of ``folded_weights``, all but its last layer.

    Args:
        model: of convolutions, each with a batch normalisation ``NAME_norm`` after it.
        weights: see there.
        pixels: float32 ``(n, 48, 48, 1)``, rows to measure means and variances on.
        name: how messages call the bundle.

    Raises:
        ConfigError: it is another architecture.
    """
    import keras

    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    others = [
        layer.name
        for layer in model.layers
        if layer.get_weights()
        and not isinstance(layer, keras.layers.Conv2D | keras.layers.BatchNormalization)
    ]
    if others != [HEAD] or not convolutions:
        raise ConfigError(
            f"--init {name}: only compact and micro can start from a bundle, {model.name} from a "
            "run directory"
        )
    biases = {}
    for layer in convolutions:
        kernel, biases[layer.name] = layer_weights(weights, layer.name, layer.kernel.shape, name)
        norm = model.get_layer(f"{layer.name}_norm")
        ones, zeros = np.ones_like(biases[layer.name]), np.zeros_like(biases[layer.name])
        layer.set_weights([kernel])
        norm.set_weights([ones, biases[layer.name], zeros, ones - norm.epsilon])
    inside = keras.Model(model.inputs, [layer.output for layer in convolutions])
    for layer, values in zip(convolutions, inside.predict(pixels, verbose=0), strict=True):
        _normalise(model, layer, biases[layer.name], np.asarray(values, np.float64))


def layer_weights(
    weights: Mapping[str, Any], layer: str, shape: tuple[int, ...], name: str
) -> tuple[_Array, _Array]:
    """Return a layer's kernel and bias; Keras numbers the layers of a network that was copied.

    Raises:
        ConfigError: it is not there, or has another shape.
    """
    for known, (kernel, bias) in weights.items():
        if known == layer or re.fullmatch(rf"{re.escape(layer)}_\d+", known):
            if kernel.shape == tuple(shape):
                return kernel, bias
            break
    raise ConfigError(
        f"--init {name}: is another architecture, layer {layer!r} does not fit; give the --arch "
        "that it was trained as"
    )


def _normalise(model: "keras.Model", layer: Any, bias: _Array, values: NDArray[np.float64]) -> None:
    """Let a normalisation do what its name says, and nothing to the result."""
    norm = model.get_layer(f"{layer.name}_norm")
    (kernel,) = layer.get_weights()
    mean = values.mean(axis=(0, 1, 2))
    variance = np.maximum(values.var(axis=(0, 1, 2)), _SMALLEST_VARIANCE)
    length = np.sqrt(np.square(kernel.astype(np.float64)).sum(axis=(0, 1, 2)))
    scale = _KERNEL_NORM / np.maximum(length, 1e-6)
    layer.set_weights([kernel * scale])
    gain = np.sqrt(variance * scale**2 + norm.epsilon) / scale
    norm.set_weights([gain, bias + mean, mean * scale, variance * scale**2])


def _floats(tensor: Mapping[str, Any], buffers: Any) -> _Array:
    """Return a constant tensor, with its scales applied along its first axis."""
    shape = tuple(int(n) for n in tensor["shape"])
    data = buffers[tensor["buffer"]]["data"]
    values = data.view(_TYPES[tensor.get("type", 0)]).reshape(shape).astype(np.float64)
    scales = np.asarray(tensor.get("quantization", {}).get("scale", ()), np.float64)
    if scales.size:
        values = values * scales.reshape(-1, *(1,) * (len(shape) - 1))
    return np.asarray(values, np.float32)
