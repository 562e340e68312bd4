"""Reading a TFLite file back: what is really in it, whatever the converter was asked for."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any, Final

import msgspec

from converters.errors import ConversionError
from edge.contract.mesh_features import FEATURE_MAX, FEATURE_MIN, FEATURES
from edge.contract.quantize import PIXELS

_CONVOLUTIONS: Final = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_MESH_RANK: Final = 2
_PIXELS: Final = (
    "input",
    PIXELS,
    "the calibration samples must reach from 0 to 255, and rescaling must be inside the model",
)
_FEATURES: Final = (
    "mesh input",
    FEATURES,
    f"the calibration samples must reach from {FEATURE_MIN:g} to {FEATURE_MAX:g}",
)
_MATRIX_PRODUCTS: Final = ("FULLY_CONNECTED", "BATCH_MATMUL")
_FLOATS: Final = ("FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16")


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor of a graph.

    Attributes:
        dtype: TFLite's name of the type, such as ``INT8``.
        scales: quantisation scales: none, one, or one per channel.
        zero_points: as many as scales.
        data_bytes: size of its constant data; 0 for an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    data_bytes: int = 0


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """An operation: its built-in name or, if ``custom``, its own; tensors by index, -1 is none."""

    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """The one subgraph of a TFLite file."""

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def operation_counts(self) -> dict[str, int]:
        """Return how often each operation occurs, the commonest first."""
        return dict(Counter(operation.name for operation in self.operations).most_common())

    def macs(self) -> int:
        """Return the multiply-accumulate operations of one inference.

        Those of convolutions and matrix products; activations, pooling and additions are left out,
        as is usual.
        """
        return sum(self._macs(operation) for operation in self.operations)

    def _macs(self, operation: Operation) -> int:
        if operation.name not in (*_CONVOLUTIONS, *_MATRIX_PRODUCTS):
            return 0
        # The weights of a convolution are (out, height, width, in) or (1, height, width, out).
        first, second = (self.tensors[index].shape for index in operation.inputs[:2])
        output = prod(self.tensors[operation.outputs[0]].shape)
        if operation.name == "TRANSPOSE_CONV":  # inputs: output shape, weights, pixels
            pixels = self.tensors[operation.inputs[2]].shape
            return prod(pixels) * prod(second[:3])
        if operation.name == "BATCH_MATMUL":
            return output * first[-1]
        if operation.name == "DEPTHWISE_CONV_2D":
            return output * prod(second[1:3])
        return output * prod(second[1:])


def read_graph(content: bytes) -> Graph:
    """Parse a TFLite file.

    Raises:
        ConversionError: it is not one, or has more than one subgraph.
    """
    schema = tflite_schema()
    try:
        model = schema.Model.GetRootAs(content, 0)
        if model.SubgraphsLength() != 1:
            raise ConversionError(
                f"the TFLite file has {model.SubgraphsLength()} subgraphs, expected 1: "
                "models with control flow are not supported"
            )
        return _graph(schema, model)
    except (struct.error, IndexError, TypeError, ValueError, KeyError) as error:
        raise ConversionError(f"not a whole TFLite file ({error}); convert again") from error


def check_builtin_only(graph: Graph) -> None:
    """Make sure that a lean runtime can run the graph.

    Raises:
        ConversionError: it holds a custom or Select-TF operation.
    """
    if custom := sorted({op.name for op in graph.operations if op.custom}):
        raise ConversionError(
            f"the TFLite file needs {', '.join(custom)}, which the device's runtime lacks; "
            "use layers that TFLite has built-in operations for"
        )


def check_full_int8(graph: Graph) -> None:
    """Make sure that a graph computes in integers from end to end, as ``--int8`` promises.

    Raises:
        ConversionError: an operation that is not built in, a float tensor, a crop input that is not
            int8 with scale 1 and zero point -128, a mesh input that is not int8 with scale 1/32 and
            zero point 0, an output that is not int8, or a convolution whose weights share one
            scale.
    """
    check_builtin_only(graph)
    for problem in _int8_problems(graph, range(len(graph.tensors))):
        raise ConversionError(f"the TFLite file is not full int8: {problem}")


def check_int8_float_io(graph: Graph) -> None:
    """Make sure that a graph quantises its float inputs and gives floats, with integers between.

    Raises:
        ConversionError: an end that is not a float, or as ``check_full_int8`` for what lies between
            them.
    """
    check_builtin_only(graph)
    ends = (*graph.inputs, *graph.outputs)
    for index in ends:
        if graph.tensors[index].dtype != "FLOAT32":
            tensor = graph.tensors[index]
            raise ConversionError(f"{tensor.name!r} is {tensor.dtype}, expected a FLOAT32 end")
    inside = [index for index in range(len(graph.tensors)) if index not in ends]
    for problem in _int8_problems(_between_the_ends(graph), inside):
        raise ConversionError(f"the TFLite file is not int8 between its ends: {problem}")


def _between_the_ends(graph: Graph) -> Graph:
    """Leave out what quantises the inputs and dequantises the outputs."""
    operations = graph.operations
    quantized = [op for op in operations if op.name == "QUANTIZE" and op.inputs[0] in graph.inputs]
    dequantized = [
        op for op in operations if op.name == "DEQUANTIZE" and op.outputs[0] in graph.outputs
    ]
    outer = [*quantized, *dequantized]
    return Graph(
        tensors=graph.tensors,
        operations=tuple(op for op in operations if op not in outer),
        inputs=tuple(op.outputs[0] for op in quantized),
        outputs=tuple(op.inputs[0] for op in dequantized),
    )


def _int8_problems(graph: Graph, integers: Iterable[int]) -> Iterator[str]:
    """Yield what is not int8 in a graph whose tensors at ``integers`` must be no floats."""
    for tensor in (graph.tensors[index] for index in integers):
        if tensor.dtype in _FLOATS:
            yield f"tensor {tensor.name!r} is {tensor.dtype}"
    for index in (*graph.inputs, *graph.outputs):
        if graph.tensors[index].dtype != "INT8":
            yield f"{graph.tensors[index].name!r} is {graph.tensors[index].dtype}, expected INT8"
    yield from _input_problems(graph)
    for operation in graph.operations:
        if operation.name in _CONVOLUTIONS and not _per_channel(graph, operation):
            yield f"the weights of a {operation.name} have one scale for all channels"


def _input_problems(graph: Graph) -> Iterator[str]:
    for index in graph.inputs:
        tensor = graph.tensors[index]
        which, fixed, reason = _FEATURES if len(tensor.shape) == _MESH_RANK else _PIXELS
        if tensor.scales != (fixed.scale,) or tensor.zero_points != (fixed.zero_point,):
            yield (
                f"the {which} has scale {tensor.scales} and zero point {tensor.zero_points}, "
                f"expected {fixed.scale} and {fixed.zero_point}: {reason}"
            )


def _per_channel(graph: Graph, operation: Operation) -> bool:
    """Tell whether a convolution's weights have a scale for every output channel."""
    weights = graph.tensors[operation.inputs[1]]
    axis = -1 if operation.name == "DEPTHWISE_CONV_2D" else 0
    return len(weights.scales) == weights.shape[axis]


def _graph(schema: Any, model: Any) -> Graph:
    types = _names(schema.TensorType)
    subgraph = model.Subgraphs(0)
    return Graph(
        tensors=tuple(
            _tensor(subgraph.Tensors(i), model, types) for i in range(subgraph.TensorsLength())
        ),
        operations=tuple(_operations(schema, model, subgraph)),
        inputs=_indexes(subgraph.InputsAsNumpy()),
        outputs=_indexes(subgraph.OutputsAsNumpy()),
    )


def _tensor(tensor: Any, model: Any, types: dict[int, str]) -> Tensor:
    quantization = tensor.Quantization()
    count = 0 if quantization is None else quantization.ScaleLength()
    return Tensor(
        name=(tensor.Name() or b"").decode("utf-8", "replace"),
        shape=_indexes(tensor.ShapeAsNumpy()),
        dtype=types[tensor.Type()],
        scales=tuple(float(quantization.Scale(i)) for i in range(count)),
        zero_points=tuple(int(quantization.ZeroPoint(i)) for i in range(count)),
        data_bytes=int(model.Buffers(tensor.Buffer()).DataLength()),
    )


def _operations(schema: Any, model: Any, subgraph: Any) -> Iterator[Operation]:
    names = _names(schema.BuiltinOperator)
    for i in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old files have the number in the deprecated one-byte field only.
        builtin = names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        custom = builtin == "CUSTOM"
        yield Operation(
            name=(code.CustomCode() or b"?").decode("utf-8", "replace") if custom else builtin,
            custom=custom,
            inputs=_indexes(operator.InputsAsNumpy()),
            outputs=_indexes(operator.OutputsAsNumpy()),
        )


def _indexes(values: Any) -> tuple[int, ...]:
    """Flatbuffers gives 0 for an absent vector, a scalar being no array."""
    return () if isinstance(values, int) else tuple(int(value) for value in values)


def _names(enumeration: type) -> dict[int, str]:
    return {v: k for k, v in vars(enumeration).items() if isinstance(v, int)}


def tflite_schema() -> Any:
    """Return the generated classes of the TFLite flatbuffer schema.

    Raises:
        ConversionError: ai-edge-litert is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise ConversionError(
            f"the TFLite schema cannot be imported ({error}); `pip install ai-edge-litert`"
        ) from error
    return schema_py_generated
