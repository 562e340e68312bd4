"""The one place that imports a TFLite runtime: LiteRT, or tflite-runtime on older images.

Both give the same ``Interpreter``; everything else in edgeemo sees ``TfliteModel``.
"""

import functools
import importlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import MOST_BYTES
from edge.contract.metadata import TensorSpec
from edge.errors import InferenceError
from edge.files import read_bounded
from edge.system.diagnostics import silenced

logger = logging.getLogger(__name__)

_RUNTIMES: Final = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))
"""Import package and distribution, the preferred one first."""

_IDENTIFIER: Final = b"TFL3"
"""Bytes 4 to 8 of every TFLite flatbuffer."""

Kernels = Literal["default", "builtin"]
"""default: XNNPACK's where it has them. builtin: TFLite's own, which round otherwise."""

_Dtype = Literal["int8", "uint8", "float32"]


class TfliteModel:
    """A TFLite model, loaded and ready to run; for one thread at a time.

    LiteRT verifies a file's offsets before it uses it; tflite-runtime does not, and a torn file
    ends the process. So models come from assets, whose hashes are pinned, or through
    ``edge.inference.crash_guard``.

    Attributes:
        inputs: its inputs, in the order that ``run`` takes them.
        outputs: its outputs, in the order that ``run`` returns them.
    """

    def __init__(
        self,
        model: bytes | Path,
        *,
        num_threads: int = 1,
        name: str = "model",
        kernels: Kernels = "default",
    ) -> None:
        """Load a model.

        Args:
            model: the bytes of a ``.tflite`` file, or its path.
            num_threads: CPU threads that one inference may use.
            name: how messages call a model given as bytes.
            kernels: what computes.

        Raises:
            InferenceError: no runtime is installed, the file cannot be read, is not a whole
                TFLite file, or uses an operation or a tensor type that is not available.
        """
        self._name = str(model) if isinstance(model, Path) else name
        content = read_model_file(model) if isinstance(model, Path) else model
        _check_identifier(content, self._name)
        runtime, _ = find_runtime()
        options: dict[str, Any] = {}
        if kernels == "builtin":
            resolver = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
            options["experimental_op_resolver_type"] = resolver
        try:
            # "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." has no switch; errors also
            # come as exceptions.
            with silenced():
                self._interpreter = runtime.Interpreter(
                    model_content=content, num_threads=num_threads, **options
                )
                self._interpreter.allocate_tensors()
        # OverflowError, TypeError: more threads than a C integer holds.
        except (ValueError, RuntimeError, OverflowError, TypeError, MemoryError) as error:
            raise InferenceError(
                f"{self._name}: not a model that {runtime_name()} can run "
                f"({_one_line(error)}); copy the file again or convert the model again"
            ) from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        self._input_indexes = tuple(int(details["index"]) for details in inputs)
        self._output_indexes = tuple(int(details["index"]) for details in outputs)
        self.inputs = tuple(_spec(details, self._name) for details in inputs)
        self.outputs = tuple(_spec(details, self._name) for details in outputs)

    def run(self, *inputs: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Run one inference.

        Args:
            *inputs: one array per entry of ``inputs``, of exactly its shape and dtype: nothing is
                converted or quantised in silence.

        Returns:
            One array per entry of ``outputs``; copies, which later runs leave alone.

        Raises:
            InferenceError: wrong inputs, or the runtime failed.
        """
        self._check_inputs(inputs)
        try:
            for index, values in zip(self._input_indexes, inputs, strict=True):
                self._interpreter.set_tensor(index, values)
            return self._invoke()
        except (ValueError, RuntimeError) as error:
            raise InferenceError(f"{self._name}: inference failed ({_one_line(error)})") from error

    def run_filled(self, fill: Callable[[NDArray[Any]], None]) -> tuple[NDArray[Any], ...]:
        """Run one inference of a model with one input, written where the runtime reads it.

        Args:
            fill: writes the input into the array it is given, of the shape and dtype of
                ``inputs[0]``; it must not keep the array, and what it raises passes through.

        Returns:
            See ``run``.

        Raises:
            InferenceError: the model has several inputs, or the runtime failed.
        """
        if len(self._input_indexes) != 1:
            raise InferenceError(f"{self._name}: takes {len(self.inputs)} inputs, not one")
        # Asked for anew each time: the runtime does not run while its memory is referred to.
        fill(self._interpreter.tensor(self._input_indexes[0])())
        try:
            return self._invoke()
        except (ValueError, RuntimeError) as error:
            raise InferenceError(f"{self._name}: inference failed ({_one_line(error)})") from error

    def _invoke(self) -> tuple[NDArray[Any], ...]:
        self._interpreter.invoke()
        return tuple(self._interpreter.get_tensor(index) for index in self._output_indexes)

    def _check_inputs(self, inputs: tuple[NDArray[Any], ...]) -> None:
        if len(inputs) != len(self.inputs):
            raise InferenceError(
                f"{self._name}: takes {len(self.inputs)} inputs, got {len(inputs)}"
            )
        for spec, values in zip(self.inputs, inputs, strict=True):
            if values.dtype.name != spec.dtype or values.shape != spec.shape:
                raise InferenceError(
                    f"{self._name}: input {spec.name!r} must be {spec.dtype} "
                    f"{list(spec.shape)}, got {values.dtype} {list(values.shape)}"
                )


def runtime_name() -> str:
    """Return the runtime's distribution and version, such as ``ai-edge-litert 2.3.0``.

    Raises:
        InferenceError: no runtime is installed.
    """
    return find_runtime()[1]


def integer_kernels() -> Kernels:
    """Return what computes int8 models on this machine's runtime.

    tflite-runtime delegates float operations alone to XNNPACK.
    """
    return "builtin" if runtime_name().startswith("tflite-runtime ") else "default"


@functools.cache
def find_runtime() -> tuple[Any, str]:
    """Import the first runtime that works; return its interpreter module and its name."""
    reasons = []
    for package, distribution in _RUNTIMES:
        try:
            module = importlib.import_module(f"{package}.interpreter")
            # Not importlib.metadata, which loads an e-mail parser: 7 MB of a small board's memory.
            name = f"{distribution} {importlib.import_module(package).__version__}"
        # AttributeError: a wheel built for NumPy 1 under NumPy 2.
        except (ImportError, AttributeError) as error:
            reasons.append(f"{distribution}: {_one_line(error)}")
        else:
            logger.debug("TFLite runtime: %s", name)
            return module, name
    raise InferenceError(
        f"no TFLite runtime can be imported ({'; '.join(reasons)}); "
        "install one: `pip install ai-edge-litert`"
    )


def read_model_file(path: Path) -> bytes:
    """Return the content of a ``.tflite`` file.

    Raises:
        InferenceError: it cannot be read.
    """
    try:
        return read_bounded(path, MOST_BYTES)
    except OSError as error:
        raise InferenceError(
            f"{path}: {error.strerror}; expected a .tflite file as written by `edgeemo convert`"
        ) from error


def _check_identifier(content: bytes, name: str) -> None:
    if content[4:8] != _IDENTIFIER:
        start = f"starts with {content[:8]!r}" if content else "is empty"
        raise InferenceError(
            f"{name}: not a TFLite file ({len(content)} bytes, {start}, expected 'TFL3' at "
            "byte 4); convert the model with `edgeemo convert`"
        )


def _spec(details: Mapping[str, Any], name: str) -> TensorSpec:
    dtype = np.dtype(details["dtype"]).name
    if dtype not in get_args(_Dtype):
        raise InferenceError(
            f"{name}: tensor {details['name']!r} has dtype {dtype}; "
            f"expected one of {', '.join(get_args(_Dtype))}"
        )
    scale, zero_point = details["quantization"]
    quantized = scale > 0  # TFLite gives a float tensor the scale 0
    return TensorSpec(
        name=details["name"],
        shape=tuple(int(size) for size in details["shape"]),
        dtype=dtype,
        scale=float(scale) if quantized else 1.0,
        zero_point=int(zero_point) if quantized else 0,
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


Shapes = tuple[tuple[int, ...], ...]


def expect_shapes(model: TfliteModel, name: str, inputs: Shapes, outputs: Shapes) -> None:
    """Compare a model's float32 tensors with the expected shapes.

    Args:
        model: the model as loaded.
        name: how the message calls it.
        inputs: the shape of each input, in order.
        outputs: the same for the first outputs; further ones do not matter.

    Raises:
        InferenceError: they differ.
    """
    found_in = tuple(spec.shape for spec in model.inputs)
    found_out = tuple(spec.shape for spec in model.outputs[: len(outputs)])
    dtypes = {spec.dtype for spec in (*model.inputs, *model.outputs)}
    if found_in != inputs or found_out != outputs or dtypes != {"float32"}:
        raise InferenceError(
            f"{name}: takes {found_in} and gives {found_out} as {', '.join(sorted(dtypes))}; "
            f"expected {inputs} and {outputs} as float32, as in MediaPipe's face_landmarker.task"
        )
