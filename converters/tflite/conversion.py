"""Keras to TFLite bytes: a fixed batch of one, built-in operations only."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.model.model_file import InputKind, input_kinds
from edge.contract.metadata import Quantization
from host_training.frameworks import as_structured, import_tensorflow, quiet

INTEGER_QUANTIZATIONS: Final = ("int8", "int8-float-io")
"""Those that TensorFlow needs calibration rows for."""


def to_tflite(
    model: Any, quantization: Quantization, calibration: Sequence[NDArray[np.float32]] | None = None
) -> bytes:
    """Convert a Keras model whose rescaling of pixels is inside.

    Args:
        model: a ``keras.Model`` from ``(n, size, size, 1)`` pixels, ``(n, FEATURE_COUNT)`` mesh
            features or both to ``(n, k)`` probabilities.
        quantization: how weights and activations are stored.
        calibration: for the integer forms: one array of real rows for each of the model's inputs,
            in their order, see ``calibration_inputs``.

    Returns:
        The content of a ``.tflite`` file with the model's inputs for one row, in any order.

    Raises:
        ConversionError: a mixed form, or TensorFlow is not installed or cannot convert the model.
    """
    if quantization == "mixed":
        raise ConversionError("a mixed model is made from a float file, by a recipe")
    if quantization in INTEGER_QUANTIZATIONS and calibration is None:
        raise ConversionError(
            f"{quantization} needs calibration samples, got none; give training samples"
        )
    tf, kinds = import_tensorflow(), input_kinds(model)
    try:
        with quiet():
            converter = make_converter(tf, model)
            rows = None if calibration is None else dict(zip(kinds, calibration, strict=True))
            _set_quantization(tf, converter, quantization, rows)
            return bytes(converter.convert())
    # Whatever the compiler's stages raise: ConverterError, RuntimeError, ValueError, ...
    except Exception as error:
        raise ConversionError(
            f"TensorFlow cannot convert this model to {quantization} TFLite "
            f"({type(error).__name__}: {_excerpt(error)}); "
            "use layers that TFLite has built-in operations for"
        ) from error


def make_converter(tf: Any, model: Any) -> Any:
    """Freeze the model as one function of one row.

    Keras' own LiteRT export would let in Select-TF operations, which a lean runtime lacks, and
    ``from_keras_model`` leaves the batch open. Unfrozen variables would become resource operations
    that the calibrator cannot run.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    def infer(*inputs: Any) -> Any:
        return tf.identity(model(as_structured(model, inputs), training=False), "probabilities")

    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tf.float32, name=kind)
        for kind, tensor in zip(input_kinds(model), model.inputs, strict=True)
    ]
    function = convert_variables_to_constants_v2(
        tf.function(infer, autograph=False).get_concrete_function(*signature)
    )
    return tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())


def _set_quantization(
    tf: Any,
    converter: Any,
    quantization: Quantization,
    calibration: Mapping[InputKind, NDArray[np.float32]] | None,
) -> None:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantization == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization in INTEGER_QUANTIZATIONS:
        # Integer kernels or an error: never a silent fall-back to float.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: _samples(calibration or {})
    if quantization == "int8":
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8


def _samples(
    calibration: Mapping[InputKind, NDArray[np.float32]],
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield row after row by the names of the inputs, whose order the converter changes."""
    for row in zip(*calibration.values(), strict=True):
        yield {name: values[None] for name, values in zip(calibration, row, strict=True)}


def _excerpt(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
