"""How meshes are computed here: asked of the runtime itself."""

import statistics
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.inference.interpreter import TfliteModel
from edge.stages.mesh.litert.mesher import is_in_half_precision
from edge.stages.mesh.litert.taskfile import read_task

_RUNS: Final = 7


def meshing(config: MesherConfig) -> str:
    """Return precision, time and threads of a mesh in words.

    Half precision is believed when it gives other numbers than full.

    Raises:
        InferenceError: the models cannot be run.
    """
    count = 1 if config.threads == "auto" else config.threads
    models = read_task(asset_path(FACE_LANDMARKER), blendshapes=False)
    used = full = TfliteModel(models.landmarks, num_threads=count)
    picture = np.random.default_rng(0).random(full.inputs[0].shape, np.float32)
    precision = "full precision"
    if is_in_half_precision(config):
        used = TfliteModel(models.in_half_precision().landmarks, num_threads=count)
        is_used = not np.array_equal(used.run(picture)[0], full.run(picture)[0])
        precision = "half precision" if is_used else "full precision (the runtime has no half)"
    threads = "one thread" if count == 1 else f"{count} threads"
    more = ", two where that is too slow" if config.threads == "auto" else ""
    return f"{precision}, {_typical_ms(used, picture):.0f} ms a mesh with {threads}{more}"


def _typical_ms(model: TfliteModel, picture: NDArray[np.float32]) -> float:
    times = []
    for _ in range(_RUNS):
        started_s = time.perf_counter()
        model.run(picture)
        times.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(times)
