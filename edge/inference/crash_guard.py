"""The first load of a model that this machine has not run yet: looked through, then in a child.

Hashes tell that a bundle is as it was made, not who made it. So the file is looked through
(``edge.inference.tflite.verify``) and then loaded and run by a child process with bounded memory
and time, on nothing, drawn faces, and noise: what crashes, hangs or bloats a runtime's native code
ends the child, and is one line here. No tensor's size depends on the picture (``check_tflite`` sees
to that), so a model takes no more memory later than it did there.

A model that has passed is remembered by its hash and the runtime's version, so this costs one start
of Python for each model, not for each run. The packaged model is as trusted as the code beside it.
"""

import contextlib
import hashlib
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge.assets.store import user_cache
from edge.contract.bundle import PACKAGED
from edge.contract.metadata import TensorSpec
from edge.contract.quantize import pixels_to_int8
from edge.errors import EdgeEmoError, InferenceError
from edge.inference.interpreter import TfliteModel, runtime_name
from edge.inference.trial import megabytes

_log = logging.getLogger(__name__)

_REMEDY: Final = "copy the file again or convert the model again"
TIMEOUT_S: Final = 40
_CPU_S: Final = 20
"""A Zero 2 W runs `seed`, the slowest model there is, in a few seconds."""
MEMORY: Final = "EDGEEMO_TFLITE_MB"
"""The variable that sets how much a model may take."""
_MEMORY_MB: Final = 1000
"""Address space: Python, NumPy and LiteRT with `seed` map 0.2 GB."""
_TRIALS: Final = 12
_MESH_RANK: Final = 2
_RULES: Final = 2
"""Counts what a model must pass: one that passed less is looked at again."""
CHILD_PROGRAM: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from edge.inference.crash_guard import load_and_leave
load_and_leave(sys.argv[2])
"""


def check_loads(content: bytes, name: str) -> None:
    """Make sure that a model can be loaded in this process.

    Args:
        content: the bytes of a ``.tflite`` file.
        name: how messages call it.

    Raises:
        InferenceError: it is damaged or crafted, the runtime refuses it, crashes or hangs, or there
            is no runtime.
    """
    mark = _mark(content)
    if mark is not None and os.path.isfile(mark):  # noqa: PTH113 - raises for no reason at all
        return
    # Only here: a device that knows its model needs neither.
    from edge.inference.tflite.flatbuffer import MalformedError
    from edge.inference.tflite.verify import check_tflite

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

    A refusal goes to the standard output, with exit code 1. A want of memory is left to Python: it
    says so in one line, and needs next to none for that.
    """
    _limit_resources()
    content = sys.stdin.buffer.read()
    try:
        model = TfliteModel(content, name=name)
        for trial in range(_TRIALS):
            model.run(*(_trial(spec, trial) for spec in model.inputs))
    except EdgeEmoError as error:
        sys.stdout.write(str(error))
    else:
        os._exit(0)
    sys.stdout.flush()
    os._exit(1)


def _trial(spec: TensorSpec, number: int) -> NDArray[np.generic]:
    """Return what one input is given: nothing, then drawn faces, gradients, noise and extremes."""
    dtype = np.dtype(spec.dtype)
    if number == 0:
        return np.zeros(spec.shape, dtype)
    crops = _drawn()
    values = np.resize(crops[number * len(crops) // _TRIALS], spec.shape)
    if dtype == np.int8:
        return pixels_to_int8(values)
    if dtype == np.float32 and len(spec.shape) == _MESH_RANK:  # standardised features
        return values.astype(np.float32) / 32 - 4
    return values.astype(dtype)


def _drawn() -> NDArray[np.uint8]:
    """Return the packaged model's golden crops, uint8 ``(n, size, size)``."""
    with np.load(PACKAGED / "golden.npz", allow_pickle=False) as arrays:
        crops: NDArray[np.uint8] = arrays["crops"]
    return crops


def _load_in_a_child(content: bytes, name: str) -> None:
    import subprocess

    root = str(Path(__file__).parents[2])
    _memory_mb()  # what is wrong with it is told here, not by the child
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", CHILD_PROGRAM, root, name],
            input=content,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InferenceError(
            f"{name}: the TFLite runtime had not run it once after {TIMEOUT_S} s; {_REMEDY}"
        ) from error
    except OSError as error:
        raise InferenceError(
            f"{name}: no process could be started to try it in ({error.strerror}); free some memory"
        ) from error
    if done.returncode == 0:
        return
    said = (done.stdout or done.stderr).decode("utf-8", "replace").strip().splitlines()
    is_killed = sys.platform != "win32" and done.returncode == -signal.SIGKILL
    if is_killed or said[-1:] == ["MemoryError"]:
        raise InferenceError(_too_much(name))  # the first is the kernel's, for want of memory
    if done.returncode < 0:
        raise InferenceError(
            f"{name}: crashes the TFLite runtime (signal {-done.returncode}); {_REMEDY}"
        )
    raise InferenceError(said[-1] if said else f"{name}: cannot be loaded; {_REMEDY}")


def _too_much(name: str) -> str:
    return (
        f"{name}: takes more memory than the {_memory_mb():,} MB that a model may take, or than "
        f"there is; {_REMEDY}, or raise {MEMORY}"
    )


def _memory_mb() -> int:
    return megabytes(MEMORY, _MEMORY_MB)


def _limit_resources() -> None:
    if sys.platform == "win32":  # has no such limits; the time that it may take is bounded anyhow
        return
    import resource

    # Where memory is short it is this process that the kernel ends, not the one that waits for it.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    for which, limit in (
        (resource.RLIMIT_AS, _memory_mb() * 1_000_000),
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
    return cache / "loaded" / f"{hashlib.sha256(content).hexdigest()}-{runtime}-{_RULES}"


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError as error:
        _log.debug("%s: cannot be written (%s): the model is tried again next time", mark, error)
