"""Reading a SavedModel, which is a program: only one that does nothing but compute is loaded."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from converters.errors import ConversionError
from converters.model.graph_operations import COMPUTING, SAVING
from edge.files import read_bounded
from edge.inference.trial import OPEN_SAVED_MODEL, problem_of_opening
from host_training.frameworks import import_keras, import_tensorflow, quiet

_GRAPH_FILE: Final = "saved_model.pb"
_ENDPOINT: Final = "serving_default"
_EXPORT: Final = "export it again with model.export(FOLDER), or give the .keras file"

_MOST_BYTES: Final = 512 << 20
"""Of a graph; its weights lie in other files."""

_PLAIN_KINDS: Final = frozenset(
    {"user_object", "function", "variable", "bare_concrete_function", "constant", "captured_tensor"}
)
"""Of objects. Left out are files beside the graph, and resources, which run code to be made."""


def is_saved_model(path: Path) -> bool:
    """Tell whether a folder holds a SavedModel."""
    return (path / _GRAPH_FILE).is_file()


def load_saved_model(path: Path) -> Any:
    """Load a SavedModel as a ``keras.Model`` for inference.

    Its ``serving_default`` must take one picture tensor and give one of probabilities.

    Raises:
        ConversionError: damaged, with an operation that is not on the list of those that only
            compute, with other ends, or TensorFlow is not installed.
    """
    _refuse_programs(path)
    if problem := problem_of_opening(path, OPEN_SAVED_MODEL):
        raise ConversionError(f"{path}: refused, {problem}")
    tf, keras = import_tensorflow(), import_keras()
    try:
        with quiet():
            signature = tf.saved_model.load(path).signatures.get(_ENDPOINT)
            ends = None if signature is None else _ends(signature)
            if ends is not None:
                name, shape, result = ends
                crop = keras.Input(shape[1:], batch_size=shape[0], name=name)
                output = keras.layers.TFSMLayer(path, call_endpoint=_ENDPOINT)(crop)[result]
                return keras.Model(crop, output, name=path.resolve().name)
    # TensorFlow gives anything from OSError to KeyError for damaged variables.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConversionError(
            f"{path}: TensorFlow cannot load it ({type(error).__name__}: {reason}); {_EXPORT}"
        ) from error
    raise ConversionError(
        f"{path}: {_ENDPOINT} must be a function of one float32 tensor with one result; {_EXPORT}"
    )


def _ends(signature: Any) -> tuple[str, tuple[int | None, ...], str] | None:
    """Return name and shape of the one input and the name of the one output, or None."""
    _, inputs = signature.structured_input_signature
    outputs = signature.structured_outputs
    if len(inputs) != 1 or not isinstance(outputs, dict) or len(outputs) != 1:
        return None
    ((name, spec),), (result,) = inputs.items(), outputs
    if spec.dtype.name != "float32" or spec.shape.rank is None:
        return None
    return name, tuple(spec.shape), result


def _refuse_programs(path: Path) -> None:
    """Look at every operation of the file before TensorFlow builds or runs anything."""
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        model = SavedModel.FromString(read_bounded(path / _GRAPH_FILE, _MOST_BYTES))
    except (OSError, DecodeError) as error:
        raise ConversionError(f"{path}: not a whole SavedModel ({error}); {_EXPORT}") from error
    # TensorFlow loads all others in the way of version 1, which runs parts of the graph for that.
    if len(model.meta_graphs) != 1 or not model.meta_graphs[0].HasField("object_graph_def"):
        raise ConversionError(f"{path}: a SavedModel of TensorFlow 1; {_EXPORT}")
    if halves := sorted(_half_precisions(model.meta_graphs[0].graph_def)):
        raise ConversionError(
            f"{path}: computes in {', '.join(halves)} (a policy like mixed_{halves[0]}), for which "
            "TensorFlow Lite has no kernels; expected float32: give the same weights to a network "
            "built under keras.config.set_dtype_policy('float32') and export that"
        )
    if refused := _refused(model.meta_graphs[0]):
        raise ConversionError(
            f"{path}: refused, it holds {', '.join(refused)}, which does more than compute from "
            f"the input; {_EXPORT}"
        )


def _refused(meta: Any) -> list[str]:
    """Return the operations and objects of a graph that are not on the list, sorted."""
    functions = {f.signature.name: f.node_def for f in meta.graph_def.library.function}
    called = _called(functions, meta.object_graph_def.concrete_functions)
    refused = {kind.WhichOneof("kind") for kind in meta.object_graph_def.nodes} - _PLAIN_KINDS
    for name, nodes in {**functions, "": meta.graph_def.node}.items():
        allowed = COMPUTING if name in called else COMPUTING | SAVING
        refused |= {node.op for node in nodes} - allowed - functions.keys()
    return sorted(map(str, refused))


def _half_precisions(graph: Any) -> set[str]:
    """Return the types of half the precision that something is computed in."""
    from tensorflow.core.framework.types_pb2 import DT_BFLOAT16, DT_HALF

    names = {DT_HALF: "float16", DT_BFLOAT16: "bfloat16"}
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    types = {value.type for node in nodes for value in node.attr.values()}
    return {name for number, name in names.items() if number in types}


def _called(functions: dict[str, Any], first: Iterable[str]) -> set[str]:
    """Return the functions that loading or running a model may call: the first, and theirs."""
    called, waiting = set(), set(first)
    while waiting:
        name = waiting.pop()
        called.add(name)
        for node in functions.get(name, ()):
            waiting |= {node.op, *_named(node)} & functions.keys() - called
    return called


def _named(node: Any) -> Iterator[str]:
    """Yield the functions that a node's attributes name."""
    for value in node.attr.values():
        yield value.func.name
        yield from (function.name for function in value.list.func)
