"""Which operations of a TFLite file come from which layers of the Keras model."""

import re
from typing import Any

import msgspec

from converters.errors import ConversionError
from converters.tflite.flatbuffer import Graph


class LayerOperation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation of a float TFLite file.

    The converter names a tensor after what was fused into it, such as
    ``net/relu/Relu;net/norm/add;net/stem/convolution``.

    Attributes:
        name: what TFLite calls it.
        scope: the names of its outputs, each with a final semicolon.
        layers: the layers that it computes, in the model's order.
    """

    name: str
    scope: str
    layers: tuple[str, ...]


def layer_operations(graph: Graph, model: Any) -> list[LayerOperation]:
    """Return the operations that belong to named layers, in the order of computation.

    Args:
        graph: of the model's float TFLite file.
        model: the ``keras.Model``.
    """
    scopes = [_scope(graph, outputs) for outputs in (op.outputs for op in graph.operations)]
    suffix = _suffix(model.name, scopes)
    names = {f"{layer.name}{suffix}": layer.name for layer in model.layers}
    found = []
    for operation, scope in zip(graph.operations, scopes, strict=True):
        parts = {part for path in scope.split(";") for part in path.split("/")}
        layers = tuple(layer for name, layer in names.items() if name in parts)
        if layers:
            found.append(LayerOperation(name=operation.name, scope=scope, layers=layers))
    return found


def operations_of(layers: tuple[str, ...], known: list[LayerOperation]) -> list[LayerOperation]:
    """Return the operations that compute any of these layers.

    Raises:
        ConversionError: one of them computes nothing in the file.
    """
    names = list(dict.fromkeys(name for operation in known for name in operation.layers))
    if unknown := [name for name in layers if name not in names]:
        raise ConversionError(
            f"no layer {', '.join(unknown)} computes anything in this model; choose from "
            f"{', '.join(names)}"
        )
    return [operation for operation in known if set(operation.layers) & set(layers)]


def _scope(graph: Graph, outputs: tuple[int, ...]) -> str:
    return "".join(f"{graph.tensors[index].name};" for index in outputs)


def _suffix(model_name: str, scopes: list[str]) -> str:
    """Return what TensorFlow appends to every name of a graph that was built twice: ``_1``."""
    for scope in scopes:
        if match := re.match(rf"{re.escape(model_name)}((?:_\d+)?)/", scope):
            return match[1]
    return ""
