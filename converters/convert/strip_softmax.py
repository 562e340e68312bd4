"""A TFLite file without the softmax at its end: its logits tell more than rounded probabilities.

An int8 softmax gives steps of 1/256, which hide what the logits in front of it still know. They are
the same integers, with the scale that was calibrated for them.
"""

from typing import Any

from converters.convert.fold_elu import builtin_of, drop_unused_tensors, packed
from converters.tflite.flatbuffer import tflite_schema
from edge.contract.metadata import OutputKind


def strip_softmax(content: bytes) -> tuple[bytes, OutputKind]:
    """Return a TFLite file that gives logits, and what it gives.

    A file that does not end in a softmax, or whose softmax something else reads, comes back as it
    is, to the byte, and gives probabilities. After the softmax there may be a DEQUANTIZE.
    """
    schema = tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    (graph,) = model.subgraphs
    code = schema.BuiltinOperator
    names = [builtin_of(entry) for entry in model.operatorCodes]
    kinds = [names[operator.opcodeIndex] for operator in graph.operators]
    if len(graph.outputs) != 1 or kinds[-1:] not in ([code.SOFTMAX], [code.DEQUANTIZE]):
        return content, "probabilities"
    last = -2 if kinds[-1] == code.DEQUANTIZE else -1
    if kinds[last:][:1] != [code.SOFTMAX] or not _is_the_end(graph, graph.operators[last:]):
        return content, "probabilities"
    softmax = graph.operators.pop(last)
    (logits,) = (int(index) for index in softmax.inputs)
    if last == -1:
        _give(model, graph, logits)
    else:
        graph.operators[-1].inputs = [logits]
    drop_unused_tensors(model, graph)
    return packed(model), "logits"


def _is_the_end(graph: Any, chain: list[Any]) -> bool:
    """Tell whether operations pass one tensor on to the end, and the softmax is a plain one."""
    softmax = chain[0]
    ends = [int(operator.outputs[0]) for operator in chain]
    passed_on = [int(operator.inputs[0]) for operator in chain[1:]]
    readers = [op for op in graph.operators if any(int(i) in ends for i in op.inputs)]
    return (
        [*passed_on, int(graph.outputs[0])] == ends
        and len(readers) == len(chain) - 1
        and int(softmax.inputs[0]) not in graph.inputs
        and softmax.builtinOptions.beta == 1
    )


def _give(model: Any, graph: Any, tensor: int) -> None:
    old, graph.outputs = int(graph.outputs[0]), [tensor]
    for signature in model.signatureDefs or []:
        for end in signature.outputs:
            if int(end.tensorIndex) == old:
                end.tensorIndex = tensor
