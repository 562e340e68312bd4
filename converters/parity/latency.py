"""How long one inference takes against another model's, on this machine, in one run."""

from collections.abc import Callable
from itertools import cycle, islice
from time import perf_counter_ns
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.labelled_images import LabelledImages
from converters.parity.paired_tests import Interval
from edge.inference.emotion_model import EmotionModel

PAIRS: Final = 300
_WARM_UP: Final = 20
_DRAWS: Final = 2_000


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Times of two models that took turns; they hold for this machine, the ratio for its like.

    Attributes:
        pairs: inferences of each.
        threads: of each inference.
        median_ms: of the converted file, from uint8 crop to output.
        float_median_ms: of the float32 file.
        ratio: the first by the second.
        ratio_interval: 95 %, by the bootstrap over pairs.
    """

    pairs: int
    threads: int
    median_ms: float
    float_median_ms: float
    ratio: float
    ratio_interval: Interval


def compare_latency(
    converted: EmotionModel, reference: EmotionModel, rows: LabelledImages, pairs: int = PAIRS
) -> Latency:
    """Time two models in turn on the same rows.

    In turn, so that a busy machine or a processor that gets hot slows both; who goes first changes
    with every pair. Medians, for an interrupted inference tells nothing about the model.

    Args:
        converted: loaded for one thread.
        reference: the float32 file, loaded for one thread.
        rows: what they are given, over and over; not empty.
        pairs: inferences of each.
    """
    runs = [_runs(model, rows) for model in (converted, reference)]
    for run in runs:
        for _ in range(_WARM_UP):
            run()
    times = np.empty((pairs, 2))
    for pair in range(pairs):
        for which in (0, 1) if pair % 2 else (1, 0):
            begin = perf_counter_ns()
            runs[which]()
            times[pair, which] = (perf_counter_ns() - begin) / 1e6
    converted_ms, reference_ms = np.median(times, axis=0)
    return Latency(
        pairs=pairs,
        threads=1,
        median_ms=float(converted_ms),
        float_median_ms=float(reference_ms),
        ratio=float(converted_ms / reference_ms),
        ratio_interval=_ratio_interval(times),
    )


def _runs(model: EmotionModel, rows: LabelledImages) -> Callable[[], object]:
    """Return what runs one row after the other, from the start again after the last."""
    mesh = [None] * len(rows) if rows.mesh is None else rows.mesh
    given = cycle(islice(zip(rows.images, mesh, strict=True), PAIRS))
    return lambda: model.raw(*next(given))


def _ratio_interval(times: NDArray[np.float64]) -> Interval:
    chosen = np.random.default_rng(0).integers(len(times), size=(_DRAWS, len(times)))
    medians = np.median(times[chosen], axis=1)
    low, high = np.percentile(medians[:, 0] / medians[:, 1], (2.5, 97.5))
    return float(low), float(high)
