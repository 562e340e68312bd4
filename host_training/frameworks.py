"""Keras and what it runs on, imported when they are needed and without their chatter."""

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from edge.errors import ConfigError, MissingExtraError
from edge.system.diagnostics import silenced

BACKENDS: Final = ("tensorflow", "jax")
"""What Keras may run on here; the first unless ``KERAS_BACKEND`` says otherwise."""

_FPMATH: Final = "ONEDNN_DEFAULT_FPMATH_MODE"


def keras_backend() -> str:
    """Return what Keras runs on: ``tensorflow``, or ``jax`` where ``KERAS_BACKEND`` asks for it.

    Raises:
        ConfigError: it asks for something else.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", BACKENDS[0])
    if backend not in BACKENDS:
        raise ConfigError(
            f"KERAS_BACKEND={backend}: edgeemo trains on {' or '.join(BACKENDS)}; set it to one "
            "of them, or unset it"
        )
    return backend


def import_keras() -> Any:
    """Return the ``keras`` module, on the backend that was asked for.

    Raises:
        ConfigError: see ``keras_backend``.
        MissingExtraError: Keras or its backend is not installed.
    """
    if keras_backend() == "tensorflow":
        import_tensorflow()
    else:
        # Memory of a GPU as it is needed, as from TensorFlow: models are tried in a child process.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        # It warns of every kind of accelerator that a machine lacks.
        logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
        _import("jax")
    return _import("keras")


def import_tensorflow() -> Any:
    """Return the ``tensorflow`` module.

    TensorFlow's C++ side writes to stderr while it loads, before its own switch is read: the
    import runs silenced, and the switch (unless the user has set it) keeps the rest quiet. At 3
    and not 2, for a machine without a GPU is reported as an error.

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
    """Run code of TensorFlow without its messages; what fails still raises."""
    log = logging.getLogger("tensorflow")  # in a notebook it does not write to what is silenced
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), silenced():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


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


def configure_backend(precision: str, *, deterministic: bool) -> str:
    """Set Keras' backend up for a run, and say in words what it runs on.

    Args:
        precision: see ``TrainConfig``. ``bfloat16`` on TensorFlow is oneDNN's: products of float32
            numbers are taken in bfloat16 where the processor can (AVX-512 BF16, AMX, Armv8.6), sums
            and weights stay float32; elsewhere nothing changes. On JAX it is the precision of
            products, which its CPU code does not lower.
        deterministic: also forbid operations whose result depends on the order of threads.

    Raises:
        ConfigError: see ``keras_backend``.
    """
    if keras_backend() == "jax":
        return _prepare_jax(precision, deterministic=deterministic)
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
    for gpu in tensorflow.config.list_physical_devices("GPU"):
        _grow(tensorflow, gpu)
    return f"{_device(_gpus())}, {precision}{remark}"


def _prepare_jax(precision: str, *, deterministic: bool) -> str:
    if deterministic:
        # XLA's code for CPUs always is; it reads the variable when its first device is opened.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    import_keras()
    if precision == "bfloat16":
        sys.modules["jax"].config.update("jax_default_matmul_precision", "bfloat16")
    return f"{_device(_gpus())} (JAX), {precision}"


def _gpus() -> int:
    """Return how many GPUs the backend finds."""
    if keras_backend() == "jax":
        jax = _import("jax")
        return sum(device.platform == "gpu" for device in jax.local_devices())
    return len(import_tensorflow().config.list_physical_devices("GPU"))


def _device(gpus: int) -> str:
    return f"{gpus} GPU" if gpus else f"CPU, {os.cpu_count()} cores"


@contextmanager
def precision_policy(precision: str) -> Iterator[None]:
    """Build layers under Keras' mixed precision where asked for: float16 on a GPU, else bfloat16.

    Micikevicius et al., "Mixed Precision Training", ICLR 2018.
    """
    keras = import_keras()
    before = keras.mixed_precision.dtype_policy()
    if precision == "mixed":
        keras.mixed_precision.set_dtype_policy("mixed_float16" if _gpus() else "mixed_bfloat16")
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
        extra = "host" if keras_backend() == "tensorflow" else "host-jax"
        raise MissingExtraError(
            f"{name} cannot be imported ({error}); training and conversion run on a workstation: "
            f"`pip install 'edgeemo[{extra}]'`"
        ) from error
