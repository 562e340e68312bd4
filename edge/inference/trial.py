"""Trying a stranger's model in a child process, and remembering the ones that have passed.

A ``.keras`` file or a SavedModel of a few megabytes can ask for any memory when it is opened.
TensorFlow reserves far more address space than it uses, so it is the child's resident memory that
is watched. What passes is remembered by its hash, as is what was trained here: only the first
opening of a model from elsewhere costs a second start of TensorFlow.
"""

import contextlib
import hashlib
import logging
import mmap
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edge.assets.store import user_cache
from edge.errors import ConfigError

_log = logging.getLogger(__name__)

KERAS_MEMORY: Final = "EDGEEMO_KERAS_MB"
"""The variable that sets how much opening a Keras model may take, TensorFlow included."""
_KERAS_MB: Final = 2000
TIMEOUT_S: Final = 300.0
_LOOK_S: Final = 0.02
"""Between two looks at the memory: as much as 100 MB of it can be filled meanwhile."""
_CHUNK: Final = 1 << 20

OPEN_KERAS: Final = """
import os, sys
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras, numpy
model = keras.saving.load_model(sys.argv[1], compile=False, safe_mode=True)
shapes = [[256, *(size or 48 for size in tensor.shape[1:])] for tensor in model.inputs]
inputs = [numpy.zeros(shape, "float32") for shape in shapes]
model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
"""
"""Opens a ``.keras`` file and runs it on as many pictures at once as evaluation does."""

OPEN_SAVED_MODEL: Final = """
import sys
import tensorflow as tf
serve = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
(spec,) = serve.structured_input_signature[1].values()
serve(tf.zeros([256, *(size or 48 for size in spec.shape[1:])], spec.dtype))
"""
"""The same for a folder whose operations have been looked through."""


def megabytes(variable: str, usual: int) -> int:
    """Return what a variable of the environment allows, in MB of 10**6 bytes.

    Raises:
        ConfigError: it holds something else.
    """
    text = os.environ.get(variable, "") or str(usual)
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) > 0):
        raise ConfigError(f"{variable}={text!r}: expected megabytes, from 1 to 999999")
    return int(text)


def problem_of_opening(path: Path, program: str) -> str | None:
    """Open a model in a child, unless it is known here, and return what kept it from ending well.

    An error that Python raises is no problem here: it will be raised again, and told better.

    Args:
        path: a ``.keras`` file, or the folder of a SavedModel.
        program: ``OPEN_KERAS`` or ``OPEN_SAVED_MODEL``.

    Raises:
        ConfigError: ``EDGEEMO_KERAS_MB`` is no number.
    """
    most_mb, mark = megabytes(KERAS_MEMORY, _KERAS_MB), _mark(path)
    if mark is not None and os.path.isfile(mark):  # noqa: PTH113 - never raises
        return None
    outcome = open_watched(path, program, most_mb)
    if outcome == 0:
        _touch(mark)
    return outcome if isinstance(outcome, str) else None


def remember(path: Path) -> None:
    """Note that a model was made here, and need not be tried."""
    _touch(_mark(path))


def open_watched(path: Path, program: str, most_mb: int) -> int | str:
    """Return the child's exit code, or what was wrong with its end."""
    import subprocess
    import sys

    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", program, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except OSError as error:
        return f"no process could be started to open it in ({error.strerror}); free some memory"
    deadline_s = time.monotonic() + TIMEOUT_S
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(_LOOK_S)
                return code if code >= 0 else f"it crashes TensorFlow (signal {-code})"
            if _resident_mb(child.pid) > most_mb:
                return (
                    f"opening and running it takes more than {most_mb:,} MB of memory; expected a "
                    f"model for small pictures, or a larger {KERAS_MEMORY}"
                )
            if time.monotonic() > deadline_s:
                return f"it was not opened and run once after {TIMEOUT_S:.0f} s"
    finally:
        child.kill()
        child.wait()


def _resident_mb(process: int) -> float:
    """Return a process's resident memory; 0 where the system does not tell, as macOS does not."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * mmap.PAGESIZE / 1e6


def _mark(path: Path) -> Path | None:
    """Return the empty file that tells that a model has passed here, or None for nowhere."""
    from importlib import metadata

    cache = user_cache()
    if cache is None:
        return None
    try:
        digest = _digest(path)
    except OSError as error:
        _log.debug("%s: cannot be read (%s)", path, error)
        return None
    return cache / "opened" / f"{digest}-keras-{metadata.version('keras')}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(os.fsencode(file.relative_to(path)) + b"\0")
        with file.open("rb") as content:
            while chunk := content.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _files(path: Path) -> Iterable[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _touch(mark: Path | None) -> None:
    if mark is None:
        return
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        _log.debug("%s: cannot be written (%s): the model is tried again next time", mark, error)
