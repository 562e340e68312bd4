"""Figures of a classifier on rows with one right answer each."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

ECE_BINS: Final = 15
Z_95: Final = 1.959963984540054


class ClassMetrics(msgspec.Struct, frozen=True):
    """Figures of one label; ``n`` rows truly have it."""

    precision: float
    recall: float
    f1: float
    n: int


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over ``n`` rows.

    Attributes:
        accuracy_interval: 95 %, after Wilson (JASA 1927).
        balanced_accuracy: the mean recall over the labels that occur.
        macro_f1: the mean F1 over the labels that occur.
        ece: expected calibration error in 15 bins (Guo et al., ICML 2017).
        confusion: rows true, columns predicted, in the order of ``per_class``.
    """

    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    n: int
    per_class: dict[str, ClassMetrics]
    ece: float
    confusion: list[list[int]]
    protocol: str
    split: str


def metrics(
    probabilities: NDArray[np.float32],
    hard: NDArray[np.int64],
    labels: Sequence[str],
    *,
    protocol: str,
    split: str,
) -> Metrics:
    """Measure predictions.

    Args:
        probabilities: ``(n, k)``, rows sum to 1.
        hard: int ``(n,)``, the right answers in 0..k-1.
        labels: the ``k`` names.
        protocol: how the answers were made; goes into the result.
        split: the rows that these are; goes into the result.

    Raises:
        ValueError: no row, or shapes that do not fit.
    """
    n, k = probabilities.shape
    if n == 0 or hard.shape != (n,) or len(labels) != k:
        raise ValueError(
            f"{probabilities.shape} probabilities, {hard.shape} answers, {len(labels)} labels"
        )
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted = probabilities.argmax(axis=1)
    numbers = range(k)
    columns = precision_recall_fscore_support(hard, predicted, labels=numbers, zero_division=0)
    per_class = {
        label: ClassMetrics(float(p), float(r), float(f), int(count))
        for label, p, r, f, count in zip(labels, *columns, strict=True)
    }
    present = [figures for figures in per_class.values() if figures.n]
    correct = int((predicted == hard).sum())
    return Metrics(
        accuracy=correct / n,
        accuracy_interval=wilson_interval(correct, n),
        balanced_accuracy=float(np.mean([figures.recall for figures in present])),
        macro_f1=float(np.mean([figures.f1 for figures in present])),
        n=n,
        per_class=per_class,
        ece=expected_calibration_error(probabilities, hard),
        confusion=confusion_matrix(hard, predicted, labels=numbers).tolist(),
        protocol=protocol,
        split=split,
    )


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share; unlike the normal one it stays within [0, 1]."""
    share = correct / n
    spread = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / spread
    half = z / spread * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def expected_calibration_error(
    probabilities: NDArray[np.float32], hard: NDArray[np.int64], bins: int = ECE_BINS
) -> float:
    """Return the mean distance of confidence and accuracy over equal-width bins, by rows.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == hard).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(index, right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(hard))
