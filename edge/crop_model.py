"""A classifier's network between its two real ends: grey crop in, probabilities out.

Device, conversion and evaluation all run a model through ``CropModel``, so that what is measured
on the workstation is what the device computes.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import MODEL, Bundle
from edge.contract.metadata import TensorSpec
from edge.contract.quantize import PIXELS, dequantize, pixels_to_int8
from edge.errors import BundleError, InferenceError
from edge.interpreter import TfliteModel

FLOAT_STEP: Final = 1 / 256
"""What counts as one step of a float output: the step of an int8 softmax."""


class CropModel:
    """Runs grey crops through a TFLite model; for one thread at a time.

    The model takes ``(1, size, size, 1)``, int8 under ``PIXELS`` or float32 pixels 0 to 255, and
    gives ``(1, k)`` class probabilities, int8 or float32.
    """

    def __init__(self, model: TfliteModel) -> None:
        """Check that the model's tensors are a crop and probabilities.

        Raises:
            InferenceError: they are not.
        """
        for problem in _tensor_problems(model):
            raise InferenceError(f"not an emotion model: {problem}; convert it again")
        self._model = model
        self.input = model.inputs[0]
        self.output = model.outputs[0]

    @property
    def size(self) -> int:
        """Width and height of the crops in pixels."""
        return self.input.shape[1]

    @property
    def step(self) -> float:
        """The smallest difference between two probabilities; nominal for a float output."""
        return self.output.scale if self.output.dtype == "int8" else FLOAT_STEP

    def raw(self, crop: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the model's output as it is: int8 or float32 ``(k,)``.

        Args:
            crop: grey uint8 ``(size, size)``.

        Raises:
            InferenceError: a crop of another shape or dtype, or the runtime failed.
        """
        if crop.dtype != np.uint8 or crop.shape != (self.size, self.size):
            raise InferenceError(
                f"the crop must be uint8 {[self.size, self.size]}, "
                f"got {crop.dtype} {list(crop.shape)}"
            )
        pixels = crop[None, :, :, None]
        quantized = self.input.dtype == "int8"
        values = pixels_to_int8(pixels) if quantized else pixels.astype(np.float32)
        (output,) = self._model.run(values)
        return np.asarray(output[0])

    def probabilities(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the class probabilities of a crop, float32 ``(k,)``, not tempered.

        Those of an int8 model sum to 1 only to within ``k`` half steps.

        Raises:
            InferenceError: see ``raw``; or the model gave something that is not a number.
        """
        output = self.raw(crop)
        if output.dtype == np.int8:
            return dequantize(output, self.output.quantization)
        if not np.isfinite(output).all():
            raise InferenceError(
                "the model gave probabilities that are not finite; convert it again, "
                "with --int8 or without --fp16"
            )
        return np.asarray(output, np.float32)


def open_crop_model(bundle: Bundle, *, num_threads: int = 1) -> CropModel:
    """Load a bundle's model and compare its real tensors with the metadata.

    Raises:
        BundleError: the metadata says something else than the model.
        InferenceError: no runtime, or the runtime can not run the model.
    """
    where = str(bundle.path / MODEL)
    model = TfliteModel(bundle.model, num_threads=num_threads, name=where)
    metadata = bundle.metadata
    problems = [
        *_tensor_problems(model),
        *_differences("input", metadata.input, model.inputs[0]),
        *_differences("output", metadata.output, model.outputs[0]),
    ]
    if len(metadata.labels) != model.outputs[0].shape[-1]:
        problems.append(
            f"metadata has {len(metadata.labels)} labels, "
            f"the model {model.outputs[0].shape[-1]} outputs"
        )
    for problem in problems:
        raise BundleError(f"{where}: {problem}; convert the model again")
    return CropModel(model)


def open_crop_file(path: Path, *, num_threads: int = 1) -> CropModel:
    """Load a ``.tflite`` file that has no metadata.

    Raises:
        InferenceError: not a TFLite file, not an emotion model, or no runtime.
    """
    return CropModel(TfliteModel(path, num_threads=num_threads))


def _tensor_problems(model: TfliteModel) -> list[str]:
    """Say what keeps the model from being a crop classifier; empty when nothing does."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        return [
            f"expected one input and one output, the model has {len(model.inputs)} "
            f"and {len(model.outputs)}"
        ]
    source, target = model.inputs[0], model.outputs[0]
    problems = []
    if len(source.shape) != 4 or source.shape != (1, source.shape[1], source.shape[1], 1):
        problems.append(f"input has shape {list(source.shape)}, expected [1, size, size, 1]")
    if source.dtype == "uint8" or (source.dtype == "int8" and source.quantization != PIXELS):
        problems.append(
            f"input is {source.dtype} with scale {source.scale} and zero point "
            f"{source.zero_point}, expected int8 with {PIXELS.scale} and {PIXELS.zero_point}, "
            "or float32"
        )
    if len(target.shape) != 2 or target.shape[0] != 1 or target.dtype == "uint8":
        problems.append(
            f"output is {target.dtype} {list(target.shape)}, expected int8 or float32 [1, labels]"
        )
    return problems


def _differences(which: str, said: TensorSpec, real: TensorSpec) -> list[str]:
    """Compare what the metadata says about a tensor with what the interpreter reports."""
    return [
        f"metadata says {which} {field} {_plain(expected)}, the model has {_plain(actual)}"
        for field, expected, actual in (
            ("shape", said.shape, real.shape),
            ("dtype", said.dtype, real.dtype),
            ("scale", said.scale, real.scale),
            ("zero point", said.zero_point, real.zero_point),
        )
        if expected != actual
    ]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
