"""The first load of a model that this machine has not run yet: looked through, then in a child.

Hashes tell that a bundle is as it was made, not who made it. So the file is looked through
(``edge.contract.tflite_file``) and then loaded and run once by a child process with bounded memory
and time: what crashes or hangs a runtime's native code ends the child, and is one line here. A
model that has passed is remembered by its hash and the runtime's version, so this costs one start
of Python for each model, not for each run. The packaged model is as trusted as the code beside it.
"""

import hashlib
import logging
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from edge.assets import user_cache
from edge.errors import EdgeEmoError, InferenceError
from edge.interpreter import TfliteModel, runtime_name

_log = logging.getLogger(__name__)

PACKAGED: Final = Path(__file__).parent / "models" / "default"
"""The bundle that edgeemo brings."""

_REMEDY: Final = "copy the file again or convert the model again"
_TIMEOUT_S: Final = 40
_CPU_S: Final = 20
"""A Zero 2 W runs `seed`, the slowest model there is, in a few seconds."""
_MEMORY_BYTES: Final = 2 << 30
"""Address space: Python, NumPy and LiteRT with `seed` map 0.2 GB."""
_CHILD: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from edge.first_load import load_and_leave
load_and_leave(sys.argv[2])
"""


def ensure_loadable(content: bytes, name: str) -> None:
    """Make sure that a model can be loaded in this process.

    Args:
        content: the bytes of a ``.tflite`` file.
        name: how messages call it.

    Raises:
        InferenceError: it is damaged or crafted, the runtime refuses it, crashes or hangs, or there
            is no runtime.
    """
    mark = _mark(content)
    if mark is not None and mark.is_file():
        return
    # Only here: a device that knows its model needs neither.
    from edge.contract.flatbuffer import MalformedError
    from edge.contract.tflite_file import check_tflite

    try:
        check_tflite(content)
    except MalformedError as error:
        raise InferenceError(
            f"{name}: not a TFLite file that fits together: {error}; {_REMEDY}"
        ) from error
    _load_in_a_child(content, name)
    if mark is not None:
        _remember(mark)


def load_and_leave(name: str) -> NoReturn:
    """Be the child: load and run the model on the standard input, then leave.

    A refusal goes to the standard output, with exit code 1.
    """
    _limit_resources()
    content = sys.stdin.buffer.read()
    try:
        model = TfliteModel(content, name=name)
        model.run(*(np.zeros(spec.shape, spec.dtype) for spec in model.inputs))
    except EdgeEmoError as error:
        sys.stdout.write(str(error))
    except MemoryError:
        sys.stdout.write(f"{name}: takes more than {_MEMORY_BYTES >> 30} GB of memory; {_REMEDY}")
    else:
        os._exit(0)
    sys.stdout.flush()
    os._exit(1)


def _load_in_a_child(content: bytes, name: str) -> None:
    import subprocess

    root = str(Path(__file__).parents[1])
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _CHILD, root, name],
            input=content,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InferenceError(
            f"{name}: the TFLite runtime had not run it once after {_TIMEOUT_S} s; {_REMEDY}"
        ) from error
    except OSError as error:
        raise InferenceError(
            f"{name}: no process could be started to try it in ({error.strerror}); free some memory"
        ) from error
    if done.returncode == 0:
        return
    if done.returncode < 0:
        raise InferenceError(
            f"{name}: crashes the TFLite runtime (signal {-done.returncode}); {_REMEDY}"
        )
    said = (done.stdout or done.stderr).decode("utf-8", "replace").strip().splitlines()
    raise InferenceError(said[-1] if said else f"{name}: can not be loaded; {_REMEDY}")


def _limit_resources() -> None:
    import resource

    for which, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(which)
        least = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        try:
            resource.setrlimit(which, (least, hard))
        except OSError as error:  # systemd's filter of system calls: the unit has limits of its own
            _log.debug("no limit of resource %d: %s", which, error)


def _mark(content: bytes) -> Path | None:
    """Return the empty file that tells that a model has passed here, or None for nowhere."""
    cache = user_cache()
    if cache is None:
        return None
    runtime = runtime_name().replace(" ", "-")
    return cache / "loaded" / f"{hashlib.sha256(content).hexdigest()}-{runtime}"


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        _log.debug("%s: can not be written (%s): the model is tried again next time", mark, error)
