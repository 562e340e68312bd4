"""Keras and TensorFlow, imported when they are needed and without their chatter."""

import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from edge.errors import MissingExtraError
from edge.system.diagnostics import silenced
from host_training.errors import TrainingError

_FPMATH = "ONEDNN_DEFAULT_FPMATH_MODE"


def import_keras() -> Any:
    """Return the ``keras`` module, on its TensorFlow backend.

    TensorFlow's C++ side writes to stderr while it loads, before its own switch is read: the
    import runs silenced, and the switch (unless the user has set it) keeps the rest quiet. At 3
    and not 2, for a machine without a GPU is reported as an error.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
        TrainingError: Keras runs on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import_tensorflow()
    keras = _import("keras")
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras runs on the backend {keras.backend.backend()!r}, edgeemo needs 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow"
        )
    return keras


def import_tensorflow() -> Any:
    """Return the ``tensorflow`` module.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow leaves oneDNN's kernels off where a CPU has no AVX-512 VNNI, though they train
    # faster there, too (compact on AVX2: a quarter faster).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    return _import("tensorflow")


def as_structured(model: Any, inputs: Sequence[Any]) -> Any:
    """Return one value for each of ``model.inputs``, in its order, as the model is called with."""
    keras = import_keras()
    if isinstance(model, keras.Sequential):  # has no structure, nor needs one
        return inputs[0]
    return keras.tree.pack_sequence_as(model.input, list(inputs))


@contextmanager
def quiet() -> Iterator[None]:
    """Run native code of TensorFlow without its messages; what fails still raises."""
    with warnings.catch_warnings(), silenced():
        warnings.simplefilter("ignore")
        yield


def import_torch() -> Any:
    """Return the ``torch`` module.

    Raises:
        MissingExtraError: PyTorch is not installed.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingExtraError(
            f"PyTorch cannot be imported ({error}); `--set engine=torch` needs it: `pip install "
            "'edgeemo[torch]'`, or leave the setting out"
        ) from error


def configure_tensorflow(precision: str, *, deterministic: bool) -> str:
    """Set TensorFlow up for a run, and say in words what it runs on.

    Args:
        precision: see ``TrainConfig``. ``bfloat16`` is oneDNN's: products of float32 numbers are
            taken in bfloat16 where the processor can (AVX-512 BF16, AMX, Armv8.6), sums and weights
            stay float32; elsewhere nothing changes.
        deterministic: also forbid operations whose result depends on the order of threads.

    Raises:
        TrainingError: see ``import_keras``.
    """
    remark = ""
    if precision == "bfloat16":
        # oneDNN reads it once, when TensorFlow first multiplies.
        if "tensorflow" in sys.modules and os.environ.get(_FPMATH) != "BF16":
            remark = " (TensorFlow was loaded before: bfloat16 may not be in use)"
        os.environ[_FPMATH] = "BF16"
    import_keras()
    tensorflow = sys.modules["tensorflow"]
    if deterministic:
        tensorflow.config.experimental.enable_op_determinism()
    gpus = tensorflow.config.list_physical_devices("GPU")
    for gpu in gpus:
        _grow(tensorflow, gpu)
    device = f"{len(gpus)} GPU" if gpus else f"CPU, {os.cpu_count()} cores"
    return f"{device}, {precision}{remark}"


@contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Build layers under Keras' mixed precision where asked for: float16 on a GPU, else bfloat16.

    Micikevicius et al., "Mixed Precision Training", ICLR 2018.
    """
    keras = import_keras()
    before = keras.mixed_precision.dtype_policy()
    if precision == "mixed":
        gpus = sys.modules["tensorflow"].config.list_physical_devices("GPU")
        keras.mixed_precision.set_dtype_policy("mixed_float16" if gpus else "mixed_bfloat16")
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


def _grow(tensorflow: Any, gpu: Any) -> None:
    """Take a GPU's memory as it is needed, not all at once."""
    try:
        tensorflow.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        return  # in use already, by this very process


def _import(name: str) -> Any:
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{name} cannot be imported ({error}); training and conversion run on a workstation: "
            "`pip install 'edgeemo[host]'`"
        ) from error
