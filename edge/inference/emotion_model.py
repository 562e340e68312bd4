"""A classifier's network between its real ends: grey crop, mesh features in; logits out.

Device, conversion and evaluation all run a model through ``EmotionModel``, so that what is measured
on the workstation is what the device computes.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import MODEL, PACKAGED, Bundle
from edge.contract.decision import log_probabilities, softmax
from edge.contract.mesh_features import FEATURE_COUNT, FEATURES, FeatureNorm, standardized
from edge.contract.metadata import OutputKind, TensorSpec
from edge.contract.quantize import PIXELS, QuantizationParams, dequantize, pixels_to_int8, quantize
from edge.errors import BundleError, ImplausibleError, InferenceError
from edge.inference.interpreter import TfliteModel

FLOAT_STEPS: Final[dict[OutputKind, float]] = {"probabilities": 1 / 256, "logits": 1 / 16}
"""What counts as one step of a float output: about that of an int8 one."""

SOFTMAX: Final = QuantizationParams(scale=1 / 256, zero_point=-128)
"""The output of every int8 softmax (TensorFlow Lite 8-bit quantisation specification)."""
_MOST_BEYOND: Final = 0.1
"""The calibrated range of probabilities may end a little beyond 0 and 1."""
_CROP_RANK: Final = 4
_MESH_RANK: Final = 2
"""Inputs are told apart by their number of dimensions: TFLite keeps neither order nor names."""
_INPUT_RANKS: Final = ([_CROP_RANK], [_MESH_RANK], [_MESH_RANK, _CROP_RANK])
"""Sorted."""


class EmotionModel:
    """Runs grey crops, mesh features or both through a TFLite model; for one thread at a time.

    The model takes a crop ``(1, size, size, 1)``, int8 under ``PIXELS`` or float32 pixels 0 to 255,
    standardised mesh features ``(1, FEATURE_COUNT)``, int8 under ``FEATURES`` or float32, or both,
    in any order. It gives ``(1, k)`` logits or class probabilities, int8 or float32.

    Attributes:
        input: the tensor of the crop, or None.
        mesh_input: the tensor of the mesh features, or None.
        norm: what standardises mesh features; None for a model that takes none.
        output: the tensor of what it gives.
        output_kind: what that is.
    """

    def __init__(
        self,
        model: TfliteModel,
        norm: FeatureNorm | None = None,
        output_kind: OutputKind = "probabilities",
    ) -> None:
        """Check that the model's tensors are a crop or mesh features, and a value for each label.

        Args:
            model: the network.
            norm: needed by a model that takes mesh features, left alone by any other.
            output_kind: what the network gives.

        Raises:
            InferenceError: they are not, or the norm is missing.
        """
        for problem in _tensor_problems(model):
            raise InferenceError(f"not an emotion model: {problem}; convert it again")
        self._model = model
        self.input = _crop_input(model)
        self.mesh_input = _mesh_input(model)
        self.output = model.outputs[0]
        self.output_kind = output_kind
        self.norm = None if self.mesh_input is None else norm
        if self.mesh_input is not None and norm is None:
            raise InferenceError(
                "the model takes mesh features, whose standardisation stands in a bundle's "
                "metadata; give the bundle directory instead of its .tflite file"
            )

    @property
    def step(self) -> float:
        """The smallest difference between two outputs; nominal for a float output."""
        if self.output.dtype == "int8":
            return self.output.scale
        return FLOAT_STEPS[self.output_kind]

    def raw(
        self, crop: NDArray[np.uint8] | None, features: NDArray[np.float32] | None = None
    ) -> NDArray[Any]:
        """Return the model's output as it is: int8 or float32 ``(k,)``.

        What the model does not take is left alone.

        Args:
            crop: grey uint8 ``(size, size)``.
            features: float32 ``(FEATURE_COUNT,)`` as ``mesh_features`` gives them, not
                standardised; NaN where no face was found.

        Raises:
            InferenceError: what the model takes is missing or of another shape or dtype, or the
                runtime failed.
        """
        values = [
            _crop_values(spec, crop)
            if len(spec.shape) == _CROP_RANK
            else self._mesh_values(spec, features)
            for spec in self._model.inputs
        ]
        (output,) = self._model.run(*values)
        return np.asarray(output[0])

    def logits(
        self, crop: NDArray[np.uint8] | None, features: NDArray[np.float32] | None = None
    ) -> NDArray[np.floating]:
        """Return the logits of a face ``(k,)``: what a ``Decision`` makes scores of.

        See ``raw`` and ``logits_of``.
        """
        return self.logits_of(self.raw(crop, features))

    def logits_of(self, raw: NDArray[Any]) -> NDArray[np.floating]:
        """Return the logits of outputs as ``raw`` gives them, ``(..., k)``.

        For a model that gives probabilities, their logarithms. Probabilities under half a step are
        raised to it, for a rounded zero only says "less than that".

        Raises:
            ImplausibleError: the outputs are no numbers.
        """
        if raw.dtype == np.int8:
            values = dequantize(raw, self.output.quantization)
        elif np.isfinite(raw).all():
            values = np.asarray(raw, np.float32)
        else:
            raise ImplausibleError(
                f"the model gave {self.output_kind} that are not finite; convert it again, "
                "with --int8 or without --fp16"
            )
        if self.output_kind == "logits":
            return values
        return log_probabilities(np.maximum(values, self.step / 2))

    def probabilities(
        self, crop: NDArray[np.uint8] | None, features: NDArray[np.float32] | None = None
    ) -> NDArray[np.float64]:
        """Return the class probabilities of a face, float64 ``(k,)``: not adjusted, not tempered.

        See ``logits``.
        """
        return softmax(self.logits(crop, features))

    def _mesh_values(self, spec: TensorSpec, features: NDArray[np.float32] | None) -> NDArray[Any]:
        if self.norm is None or features is None:
            raise InferenceError("the model takes mesh features, got none")
        if features.dtype != np.float32 or features.shape != (FEATURE_COUNT,):
            raise InferenceError(
                f"the mesh features must be float32 {[FEATURE_COUNT]}, "
                f"got {features.dtype} {list(features.shape)}"
            )
        values = standardized(features, self.norm)[None]
        return quantize(values, FEATURES) if spec.dtype == "int8" else values


def open_emotion_model(bundle: Bundle, *, num_threads: int = 1) -> EmotionModel:
    """Load a bundle's model and compare its real tensors with the metadata.

    Raises:
        BundleError: the metadata says something else than the model.
        InferenceError: no runtime, or the runtime cannot run the model, see
            ``edge.inference.crash_guard``.
    """
    where = str(bundle.path / MODEL)
    if bundle.path.resolve() != PACKAGED.resolve():
        from edge.inference.crash_guard import check_loads

        check_loads(bundle.model, where)
    model = TfliteModel(bundle.model, num_threads=num_threads, name=where)
    metadata, mesh = bundle.metadata, bundle.metadata.mesh_input
    problems = _tensor_problems(model) or [
        *_differences("input", metadata.input, _crop_input(model)),
        *_differences("mesh input", mesh.tensor if mesh else None, _mesh_input(model)),
        *_differences("output", metadata.output, model.outputs[0]),
    ]
    if not problems and len(metadata.labels) != model.outputs[0].shape[-1]:
        problems.append(
            f"metadata has {len(metadata.labels)} labels, "
            f"the model {model.outputs[0].shape[-1]} outputs"
        )
    problems = problems or _kind_problems(metadata.output_kind, model.outputs[0])
    for problem in problems:
        raise BundleError(f"{where}: {problem}; convert the model again")
    return EmotionModel(model, mesh.norm if mesh else None, metadata.output_kind)


def _crop_values(spec: TensorSpec, crop: NDArray[np.uint8] | None) -> NDArray[Any]:
    if crop is None:
        raise InferenceError("the model takes a crop, got none")
    if crop.dtype != np.uint8 or crop.shape != spec.shape[1:3]:
        raise InferenceError(
            f"the crop must be uint8 {list(spec.shape[1:3])}, got {crop.dtype} {list(crop.shape)}"
        )
    pixels = crop[None, :, :, None]
    return pixels_to_int8(pixels) if spec.dtype == "int8" else pixels.astype(np.float32)


def _crop_input(model: TfliteModel) -> TensorSpec | None:
    return next((spec for spec in model.inputs if len(spec.shape) == _CROP_RANK), None)


def _mesh_input(model: TfliteModel) -> TensorSpec | None:
    return next((spec for spec in model.inputs if len(spec.shape) == _MESH_RANK), None)


def _tensor_problems(model: TfliteModel) -> list[str]:
    """Say what keeps the model from being an emotion classifier; empty when nothing does."""
    if len(model.outputs) != 1:
        return [f"expected one output, the model has {len(model.outputs)}"]
    if sorted(len(spec.shape) for spec in model.inputs) not in _INPUT_RANKS:
        return [
            f"inputs have shapes {[list(spec.shape) for spec in model.inputs]}, expected "
            f"[1, size, size, 1], [1, {FEATURE_COUNT}] or both"
        ]
    problems = []
    if crop := _crop_input(model):
        size = crop.shape[1]
        problems += _input_problems("input", crop, (1, size, size, 1), PIXELS)
    if mesh := _mesh_input(model):
        problems += _input_problems("mesh input", mesh, (1, FEATURE_COUNT), FEATURES)
    target = model.outputs[0]
    if len(target.shape) != 2 or target.shape[0] != 1 or target.dtype == "uint8":
        problems.append(
            f"output is {target.dtype} {list(target.shape)}, expected int8 or float32 [1, labels]"
        )
    return problems


def _kind_problems(said: OutputKind, output: TensorSpec) -> list[str]:
    """Say whether an int8 output cannot be what the metadata says that it is."""
    if output.dtype != "int8":
        return []
    low, high = dequantize(np.array([-128, 127], np.int8), output.quantization)
    is_softmax = output.quantization == SOFTMAX
    is_beyond = low < -_MOST_BEYOND or high > 1 + _MOST_BEYOND
    if is_softmax if said == "logits" else is_beyond:
        return [f"metadata says that it gives {said}, its output reaches from {low:g} to {high:g}"]
    return []


def _input_problems(
    which: str, spec: TensorSpec, shape: tuple[int, ...], quantization: QuantizationParams
) -> list[str]:
    problems = []
    if spec.shape != shape:
        problems.append(f"{which} has shape {list(spec.shape)}, expected {list(shape)}")
    if spec.dtype == "uint8" or (spec.dtype == "int8" and spec.quantization != quantization):
        problems.append(
            f"{which} is {spec.dtype} with scale {spec.scale} and zero point {spec.zero_point}, "
            f"expected int8 with {quantization.scale} and {quantization.zero_point}, or float32"
        )
    return problems


def _differences(which: str, said: TensorSpec | None, real: TensorSpec | None) -> list[str]:
    """Compare what the metadata says about a tensor with what the interpreter reports."""
    if said is None or real is None:
        if said is not None:
            return [f"metadata names {which} {said.name!r}, the model has no such input"]
        return [] if real is None else [f"metadata names no {which}, the model has {real.name!r}"]
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
