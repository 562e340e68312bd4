"""Looking through a TFLite file before any runtime does: is it whole, and does it hang together?

A runtime trusts what a file says about itself, and a crafted or damaged one ends the process. So
everything that indexes, sizes or orders something is compared here with what is there. The rest,
such as shapes that do not suit an operation, is the runtime's to refuse;
``edge.inference.crash_guard`` lets it do so in a process of its own.
"""

from collections.abc import Sequence
from math import isfinite, prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.inference.tflite.flatbuffer import Fields, MalformedError, read
from edge.inference.tflite.operators import (
    OPERATORS,
    POSITIVE_OPTIONS,
    SEVERAL_OUTPUTS,
    SIZING_INPUTS,
    Operator,
)

IDENTIFIER: Final = b"TFL3"
"""Bytes 4 to 8 of every TFLite file."""

MOST_MEMORY: Final = 1 << 29
"""Bytes that all of a model's activations may take together; `seed`'s take 8 MB."""
_MOST_DIMENSIONS: Final = 8
_MOST_STEP: Final = 4096
_VERSION: Final = 3
_OPTIONAL_FROM: Final = 2
_UNUSED_OF_OPERATORS: Final = (
    "intermediates",
    "mutating_variable_inputs",
    "large_custom_options_offset",
    "builtin_options_2_type",
)

SCHEMA: Final = {
    "Model": {
        "version": "<u4",
        "operator_codes": "[OperatorCode]",
        "subgraphs": "[SubGraph]",
        "description": "string",
        "buffers": "[Buffer]",
        "metadata_buffer": "[<i4]",
        "metadata": "[Metadata]",
        "signature_defs": "[SignatureDef]",
    },
    "OperatorCode": {
        "deprecated_builtin_code": "<i1",
        "custom_code": "string",
        "version": "<i4",
        "builtin_code": "<i4",
    },
    "SubGraph": {
        "tensors": "[Tensor]",
        "inputs": "[<i4]",
        "outputs": "[<i4]",
        "operators": "[Operator]",
        "name": "string",
    },
    "Tensor": {
        "shape": "[<i4]",
        "type": "<i1",
        "buffer": "<u4",
        "name": "string",
        "quantization": "QuantizationParameters",
        "is_variable": "<u1",
        "sparsity": "fields",
        "shape_signature": "[<i4]",
        "has_rank": "<u1",
        "variant_tensors": "[VariantSubType]",
        "external_buffer": "<u4",
    },
    "VariantSubType": {},
    "QuantizationParameters": {
        "min": "[<f4]",
        "max": "[<f4]",
        "scale": "[<f4]",
        "zero_point": "[<i8]",
        "details_type": "<u1",
        "details": "union details_type",
        "quantized_dimension": "<i4",
    },
    "Buffer": {"data": "[<u1]", "offset": "<u8", "size": "<u8"},
    "Operator": {
        "opcode_index": "<u4",
        "inputs": "[<i4]",
        "outputs": "[<i4]",
        "builtin_options_type": "<u1",
        "builtin_options": "union builtin_options_type",
        "custom_options": "[<u1]",
        "custom_options_format": "<i1",
        "mutating_variable_inputs": "[<u1]",
        "intermediates": "[<i4]",
        "large_custom_options_offset": "<u8",
        "large_custom_options_size": "<u8",
        "builtin_options_2_type": "<u1",
    },
    "builtin_options_type 17": {"new_shape": "[<i4]"},
    "builtin_options_type 30": {"squeeze_dims": "[<i4]"},
    "Metadata": {"name": "string", "buffer": "<u4"},
    "SignatureDef": {
        "inputs": "[TensorMap]",
        "outputs": "[TensorMap]",
        "signature_key": "string",
        "deprecated_tag": "string",
        "subgraph_index": "<u4",
    },
    "TensorMap": {"name": "string", "tensor_index": "<u4"},
}
"""The part of TFLite's schema (version 3) that a model here may use, its fields in order."""

_BITS: Final = {
    0: 32,
    1: 16,
    2: 32,
    3: 8,
    4: 64,
    6: 8,
    7: 16,
    9: 8,
    10: 64,
    15: 32,
    16: 16,
    17: 4,
    18: 16,
}
"""Size of an element by the number of its type; strings, resources and complex numbers left out."""
_ZERO_POINTS: Final = {3: (0, 255), 7: (-(1 << 15), (1 << 15) - 1), 9: (-128, 127), 17: (-8, 7)}
_INT32: Final = (-(1 << 31), (1 << 31) - 1)
_NO_INDEXES: Final = np.empty(0, np.int32)


def check_tflite(content: bytes) -> None:
    """Make sure that a TFLite file is whole and that its parts fit together.

    Raises:
        MalformedError: it is not, or it holds what no model of edgeemo does: several graphs, custom
            or stateful operations, sparse or variable tensors, sizes computed from the picture.
    """
    if content[4:8] != IDENTIFIER:
        raise MalformedError(f"not a TFLite file: starts with {content[:8]!r}")
    model = read(content, "Model", SCHEMA)
    if model.get("version") != _VERSION:
        raise MalformedError(f"schema version {model.get('version')}, expected {_VERSION}")
    graphs = model.get("subgraphs", [])
    if len(graphs) != 1:
        raise MalformedError(f"{len(graphs)} graphs, expected 1: control flow is not supported")
    _Checker(model, graphs[0]).check()


class _Checker:
    def __init__(self, model: dict[str, Any], graph: dict[str, Any]) -> None:
        self._model = model
        self._graph = graph
        self._tensors: list[dict[str, Any]] = graph.get("tensors", [])
        self._buffers: list[dict[str, Any]] = model.get("buffers", [])

    def check(self) -> None:
        """Make sure that all parts fit together."""
        for buffer in self._buffers:
            if buffer.get("offset", 0) > 1 or buffer.get("size", 0) > 1:
                raise MalformedError("a buffer lies outside the flatbuffer")
        self._check_tensors()
        for number, operator in enumerate(self._graph.get("operators", [])):
            self._check_operator(number, operator)
        self._check_order()
        self._check_sizes()
        self._check_mentions()

    def _check_tensors(self) -> None:
        memory = 0
        for number, tensor in enumerate(self._tensors):
            what = f"tensor {number}"
            size = _tensor_bytes(tensor, what)
            constant = self._constant_bytes(tensor, what)
            if constant and constant != size:
                raise MalformedError(f"{what} has {constant:,} bytes of data for {size:,}")
            memory += 0 if constant else size
            _check_quantization(tensor, what)
            _check_name(tensor.get("name", b""), what)
        if memory > MOST_MEMORY:
            raise MalformedError(f"its tensors take {memory:,} bytes, more than {MOST_MEMORY:,}")

    def _constant_bytes(self, tensor: dict[str, Any], what: str) -> int:
        buffer = tensor.get("buffer", 0)
        if buffer >= len(self._buffers):
            raise MalformedError(f"{what} has buffer {buffer} of {len(self._buffers)}")
        return len(self._buffers[buffer].get("data", b""))

    def _check_operator(self, number: int, operator: dict[str, Any]) -> None:
        known = self._known(number, operator)
        what = f"operation {number}, {known.name}"
        inputs, outputs = _indexes(operator, "inputs"), _indexes(operator, "outputs")
        if not known.least_inputs <= len(inputs) <= known.most_inputs:
            raise MalformedError(f"{what}: {len(inputs)} inputs")
        most = len(self._tensors) if known.name in SEVERAL_OUTPUTS else 1
        if not 1 <= len(outputs) <= most:
            raise MalformedError(f"{what}: {len(outputs)} outputs")
        # A bias may be missing.
        given = [i for place, i in enumerate(inputs) if i != -1 or place < _OPTIONAL_FROM]
        for index in (*given, *outputs):
            self._check_index(int(index), what)
        for field in _UNUSED_OF_OPERATORS:
            if np.any(operator.get(field, 0)):
                raise MalformedError(f"{what}: {field} is not supported")
        _check_options(known, operator, what)

    def _known(self, number: int, operator: dict[str, Any]) -> Operator:
        codes = self._model.get("operator_codes", [])
        index = operator.get("opcode_index", 0)
        if index >= len(codes):
            raise MalformedError(f"operation {number} has code {index} of {len(codes)}")
        # Old files have the number in the one-byte field only.
        code = max(
            codes[index].get("builtin_code", 0), codes[index].get("deprecated_builtin_code", 0)
        )
        if code not in OPERATORS:
            custom = codes[index].get("custom_code", b"")
            name = f"{code} {custom.decode('ascii', 'replace')!r}" if custom else str(code)
            raise MalformedError(f"operation {number} has code {name}, which is not supported")
        return OPERATORS[code]

    def _check_order(self) -> None:
        """Make sure that each tensor is made once, before it is read: there are no circles."""
        inputs = _indexes(self._graph, "inputs")
        made = {
            number
            for number, tensor in enumerate(self._tensors)
            if self._constant_bytes(tensor, "") or 0 in _shape(tensor)
        }
        for index in inputs:
            self._check_index(index, "an input of the model")
            _make(int(index), made, "an input of the model")
        for number, operator in enumerate(self._graph.get("operators", [])):
            for index in _indexes(operator, "inputs"):
                if index != -1 and index not in made:
                    raise MalformedError(
                        f"operation {number} reads tensor {index}, which nothing has made before"
                    )
            for index in _indexes(operator, "outputs"):
                _make(int(index), made, f"an output of operation {number}")
        for index in _indexes(self._graph, "outputs"):
            self._check_index(index, "an output of the model")
            if index not in made:
                raise MalformedError(f"output {index} of the model is made by nothing")

    def _check_sizes(self) -> None:
        """Make sure that no tensor's size depends on what is in the picture."""
        pictured = {int(index) for index in _indexes(self._graph, "inputs")}
        for number, operator in enumerate(self._graph.get("operators", [])):
            name, inputs = self._known(number, operator).name, _indexes(operator, "inputs").tolist()
            places = SIZING_INPUTS.get(name, ())
            if any(inputs[place] in pictured for place in places if place < len(inputs)):
                raise MalformedError(f"operation {number}, {name}: its size depends on the picture")
            if name != "SHAPE" and not pictured.isdisjoint(inputs):
                pictured.update(_indexes(operator, "outputs").tolist())

    def _check_mentions(self) -> None:
        for metadata in self._model.get("metadata", []):
            if metadata.get("buffer", 0) >= len(self._buffers):
                raise MalformedError(f"metadata has buffer {metadata['buffer']}")
        for signature in self._model.get("signature_defs", []):
            _check_name(signature.get("signature_key", b""), "a signature")
            if signature.get("subgraph_index", 0):
                raise MalformedError("a signature of another graph")
            for tensor in (*signature.get("inputs", []), *signature.get("outputs", [])):
                _check_name(tensor.get("name", b""), "a signature")
                self._check_index(tensor.get("tensor_index", 0), "a signature")

    def _check_index(self, index: int, what: str) -> None:
        if not 0 <= index < len(self._tensors):
            raise MalformedError(f"{what}: tensor {index} of {len(self._tensors)}")


def _make(index: int, made: set[int], what: str) -> None:
    if index in made:
        raise MalformedError(f"{what}: tensor {index} is made twice, or is a constant")
    made.add(index)


def _tensor_bytes(tensor: dict[str, Any], what: str) -> int:
    """Return the bytes of a tensor's elements; its type and shape are checked."""
    bits = _BITS.get(tensor.get("type", 0))
    if bits is None:
        raise MalformedError(f"{what} has type {tensor['type']}, which is not supported")
    shape = _shape(tensor)
    least = 0 if len(shape) == 1 else 1  # an empty list, as of a scalar's shape
    if len(shape) > _MOST_DIMENSIONS or any(size < least for size in shape):
        raise MalformedError(f"{what} has {len(shape)} dimensions, the least {min(shape)}")
    for field in ("is_variable", "sparsity", "variant_tensors", "external_buffer"):
        if tensor.get(field):
            raise MalformedError(f"{what}: {field} is not supported")
    return (prod(shape) * bits + 7) // 8


def _shape(tensor: dict[str, Any]) -> Sequence[int]:
    return [int(size) for size in _indexes(tensor, "shape")[: _MOST_DIMENSIONS + 1]]


def _check_quantization(tensor: dict[str, Any], what: str) -> None:
    parameters = tensor.get("quantization", {})
    if parameters.get("details_type", 0):
        raise MalformedError(f"{what} has quantisation of type {parameters['details_type']}")
    scales = parameters.get("scale", ())
    if not len(scales):
        return
    zero_points, shape = parameters.get("zero_point", ()), _shape(tensor)
    if len(scales) != len(zero_points):
        raise MalformedError(f"{what} has {len(scales)} scales, {len(zero_points)} zero points")
    dimension = parameters.get("quantized_dimension", 0)
    if len(scales) > 1 and (not 0 <= dimension < len(shape) or len(scales) != shape[dimension]):
        raise MalformedError(f"{what} has {len(scales)} scales along dimension {dimension}")
    if not all(isfinite(scale) and scale > 0 for scale in scales):
        raise MalformedError(f"{what} has a scale that is no positive number")
    least, most = _ZERO_POINTS.get(tensor.get("type", 0), _INT32)
    if zero_points.min() < least or zero_points.max() > most:
        raise MalformedError(f"{what} has zero points outside its type")


def _check_name(name: bytes, what: str) -> None:
    try:
        printable = name.decode().isprintable()
    except UnicodeDecodeError:
        printable = False
    if not printable:
        raise MalformedError(f"{what} has a name that is no text")


def _check_options(known: Operator, operator: dict[str, Any], what: str) -> None:
    kind, options = operator.get("builtin_options_type", 0), operator.get("builtin_options")
    needed = known.name in POSITIVE_OPTIONS
    if kind not in ((known.options,) if needed else (0, known.options)):
        raise MalformedError(f"{what}: options of type {kind}, expected {known.options}")
    if kind and options is None:
        raise MalformedError(f"{what}: no options")
    if not isinstance(options, Fields):
        return
    if known.name == "FULLY_CONNECTED" and options.has(_FULLY_CONNECTED_SLOTS):
        raise MalformedError(f"{what}: options of another quantisation")
    for slot, default in POSITIVE_OPTIONS.get(known.name, ()):
        if not 1 <= (step := options.number(slot, default)) <= _MOST_STEP:
            raise MalformedError(f"{what}: a step of {step}")


_FULLY_CONNECTED_SLOTS: Final = 5
"""Numbers that its options have; what follows is a table."""


def _indexes(table: dict[str, Any], field: str) -> NDArray[Any]:
    return np.asarray(table.get(field, _NO_INDEXES))
