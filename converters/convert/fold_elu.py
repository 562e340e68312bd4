"""ELU in integers, which TensorFlow's converter leaves in float although TFLite has it.

The converter wraps every ELU of an int8 model as DEQUANTIZE, ELU, QUANTIZE. TFLite's own ELU takes
int8 as well, by a table of its 256 values, which gives the same result without the way through
floats (``tensorflow/lite/kernels/elu.cc``). The scales stay those that were calibrated.
"""

from typing import Any, Final

from converters.tflite.flatbuffer import tflite_schema

_IDENTIFIER: Final = b"TFL3"


def fold_elu(content: bytes) -> bytes:
    """Return a TFLite file whose ELUs between quantised tensors take and give these directly.

    A file without such an ELU comes back as it is, to the byte.
    """
    schema = tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    names = [builtin_of(code) for code in model.operatorCodes]
    code = schema.BuiltinOperator
    dropped = [
        island
        for operator in graph.operators
        if names[operator.opcodeIndex] == code.ELU
        for island in _fold(graph, operator, names, code)
    ]
    if not dropped:
        return content
    graph.operators = [op for op in graph.operators if not any(op is gone for gone in dropped)]
    drop_unused_tensors(model, graph)
    return packed(model)


def packed(model: Any) -> bytes:
    """Return the file of a model, a ``ModelT``."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _fold(graph: Any, elu: Any, names: list[int], code: Any) -> list[Any]:
    """Connect an ELU with the quantised tensors around it; return what is no longer needed."""
    before = [
        op
        for op in graph.operators
        if names[op.opcodeIndex] == code.DEQUANTIZE and op.outputs[0] == elu.inputs[0]
    ]
    after = [op for op in graph.operators if elu.outputs[0] in op.inputs]
    readers = [op for op in graph.operators if elu.inputs[0] in op.inputs]
    if len(before) != 1 or len(after) != 1 or len(readers) != 1:
        return []
    if names[after[0].opcodeIndex] != code.QUANTIZE or elu.outputs[0] in graph.outputs:
        return []
    elu.inputs, elu.outputs = before[0].inputs, after[0].outputs
    return [*before, *after]


def drop_unused_tensors(model: Any, graph: Any) -> None:
    """Drop the tensors of a model's graph, a ``SubGraphT``, that nothing reads or makes."""
    used = {int(i) for ends in (graph.inputs, graph.outputs) for i in ends}
    used |= {int(i) for op in graph.operators for ends in (op.inputs, op.outputs) for i in ends}
    kept = [index for index in range(len(graph.tensors)) if index in used]
    place = {old: new for new, old in enumerate(kept)} | {-1: -1}  # -1 is an absent tensor
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs = [place[int(i)] for i in graph.inputs]
    graph.outputs = [place[int(i)] for i in graph.outputs]
    for operator in graph.operators:
        operator.inputs = [place[int(i)] for i in operator.inputs]
        operator.outputs = [place[int(i)] for i in operator.outputs]
    for signature in model.signatureDefs or []:
        for end in (*signature.inputs, *signature.outputs):
            end.tensorIndex = place[int(end.tensorIndex)]


def builtin_of(code: Any) -> int:
    """Return the number of the built-in operation of an ``OperatorCodeT``."""
    # Old files have the number in the deprecated one-byte field only.
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
