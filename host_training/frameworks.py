"""Keras and TensorFlow, imported when they are needed and without their chatter."""

import importlib
import os
from typing import Any

from edge.native_stderr import silenced
from host_training.errors import TrainingError


def import_keras() -> Any:
    """Return the ``keras`` module, on its TensorFlow backend.

    TensorFlow's C++ side writes to stderr while it loads, before its own switch is read: the
    import runs silenced, and the switch (unless the user has set it) keeps the rest quiet. At 3
    and not 2, for a machine without a GPU is reported as an error.

    Raises:
        TrainingError: Keras or TensorFlow is not installed, or Keras runs on another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with silenced():
            importlib.import_module("tensorflow")
            keras = importlib.import_module("keras")
    except ImportError as error:
        raise TrainingError(
            f"{error.name or 'keras'} can not be imported ({error}); training runs on a "
            "workstation: `pip install 'edgeemo[host]'`"
        ) from error
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            f"Keras runs on the backend {keras.backend.backend()!r}, edgeemo needs 'tensorflow'; "
            "set KERAS_BACKEND=tensorflow"
        )
    return keras
