"""Reading a SavedModel, which is a program: only one that does nothing but compute is loaded."""

from pathlib import Path
from typing import Any, Final

from converters.errors import ConversionError
from converters.frameworks import import_keras, import_tensorflow, quiet

_GRAPH_FILE: Final = "saved_model.pb"
_ENDPOINT: Final = "serving_default"
_EXPORT: Final = "export it again with model.export(FOLDER), or give the .keras file"

_WEIGHTS: Final = frozenset(
    {
        "VarHandleOp", "ReadVariableOp", "AssignVariableOp", "VarIsInitializedOp",
        "DisableCopyOnRead", "RestoreV2", "SaveV2", "MergeV2Checkpoints", "PartitionedCall",
        "StatefulPartitionedCall",
    }
)  # fmt: skip
"""Operations with a state that every SavedModel has: its weights, how they are read and saved."""

_HARMFUL: Final = frozenset({"ReadFile", "MatchingFiles", "PyFuncStateless"})
"""Those that TensorFlow calls stateless although they reach outside."""


def is_saved_model(path: Path) -> bool:
    """Tell whether a folder holds a SavedModel."""
    return (path / _GRAPH_FILE).is_file()


def load_saved_model(path: Path) -> Any:
    """Load a SavedModel as a ``keras.Model`` for inference.

    Its ``serving_default`` must take one picture tensor and give one of probabilities.

    Raises:
        ConversionError: damaged, with operations that reach outside (files, Python, output), with
            other ends, or TensorFlow is not installed.
    """
    _refuse_programs(path)
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
            f"{path}: TensorFlow can not load it ({type(error).__name__}: {reason}); {_EXPORT}"
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
        model = SavedModel.FromString((path / _GRAPH_FILE).read_bytes())
    except (OSError, DecodeError) as error:
        raise ConversionError(f"{path}: not a whole SavedModel ({error}); {_EXPORT}") from error
    if refused := sorted({name for name in _operations(model) if not _only_computes(name)}):
        raise ConversionError(
            f"{path}: refused, it holds {', '.join(refused)}, which does more than compute from "
            f"the input; {_EXPORT}"
        )


def _operations(model: Any) -> set[str]:
    graphs = [meta.graph_def for meta in model.meta_graphs]
    functions = [function for graph in graphs for function in graph.library.function]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for function in functions for node in function.node_def]
    return {str(node.op) for node in nodes} - {function.signature.name for function in functions}


def _only_computes(name: str) -> bool:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(name)
    if definition is None or name in _HARMFUL:
        return False
    return name in _WEIGHTS or not definition.is_stateful
