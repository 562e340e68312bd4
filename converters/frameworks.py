"""TensorFlow and Keras, imported when needed and without their chatter."""

import importlib
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from converters.errors import ConversionError
from edge.errors import MissingExtraError
from edge.system.native_stderr import silenced


def import_keras() -> Any:
    """Return the ``keras`` module, on its TensorFlow backend.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
        ConversionError: Keras runs on another backend.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import_tensorflow()
    keras = _import("keras")
    if keras.backend.backend() != "tensorflow":
        raise ConversionError(
            f"Keras runs on the backend {keras.backend.backend()!r}, conversion needs "
            "'tensorflow'; set KERAS_BACKEND=tensorflow"
        )
    return keras


def import_tensorflow() -> Any:
    """Return the ``tensorflow`` module.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


def _import(name: str) -> Any:
    try:
        with quiet():
            return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"{name} cannot be imported ({error}); conversion runs on a workstation: "
            "`pip install 'edgeemo[host]'`"
        ) from error
