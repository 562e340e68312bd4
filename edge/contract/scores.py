"""Figures of answers that the device, training and conversion share: numpy only."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import leading

ECE_BINS: Final = 15


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Confidence and accuracy in equal-width bins of confidence, each ``(bins,)``.

    Attributes:
        count: int64, the samples in each bin.
        confidence: float64, their mean confidence, NaN where there are none.
        accuracy: float64, the share of them that is right, NaN where there are none.
    """

    count: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """The expected calibration error."""
        gaps = np.abs(self.accuracy - self.confidence) * self.count
        return float(np.nansum(gaps) / self.count.sum())


def reliability(
    probabilities: NDArray[np.floating], class_ids: NDArray[np.integer], bins: int = ECE_BINS
) -> Reliability:
    """Sort samples into bins by the confidence of the answer; bin ``i`` is ``(i, i + 1] / bins``.

    Args:
        probabilities: ``(n, k)``.
        class_ids: int ``(n,)``, the right answers in 0..k-1.
        bins: how many.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (leading(probabilities) == class_ids).astype(np.float64)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    samples = np.where(count, count, np.nan)
    return Reliability(
        count=count,
        confidence=np.bincount(index, confidence, minlength=bins) / samples,
        accuracy=np.bincount(index, right, minlength=bins) / samples,
    )


def expected_calibration_error(
    probabilities: NDArray[np.floating], class_ids: NDArray[np.integer], bins: int = ECE_BINS
) -> float:
    """Return the mean distance of confidence and accuracy over equal-width bins, by samples.

    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return reliability(probabilities, class_ids, bins).error


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Figures of ``d`` confusion matrices: float64 ``(d,)``, and ``(d, k)`` for single labels.

    Attributes:
        accuracy: the share that is right.
        balanced_accuracy: the mean recall over the labels that occur.
        macro_f1: the mean F1 over the labels that occur or were answered, as scikit-learn's.
        recall: of each label, NaN where it does not occur.
    """

    accuracy: NDArray[np.float64]
    balanced_accuracy: NDArray[np.float64]
    macro_f1: NDArray[np.float64]
    recall: NDArray[np.float64]


def scores_of(confusion: NDArray[np.integer]) -> Scores:
    """Score ``(d, k, k)`` confusion matrices, rows true and columns predicted."""
    hits = confusion.diagonal(axis1=1, axis2=2)
    true, answered = confusion.sum(axis=2), confusion.sum(axis=1)
    recall = hits / np.where(true, true, np.nan)
    f1 = 2 * hits / np.where(true + answered, true + answered, np.nan)
    return Scores(
        accuracy=hits.sum(axis=1) / true.sum(axis=1),
        balanced_accuracy=np.nanmean(recall, axis=1),
        macro_f1=np.nanmean(f1, axis=1),
        recall=recall,
    )


def confusion_of(
    class_ids: NDArray[np.integer], predicted: NDArray[np.integer], k: int
) -> NDArray[np.int64]:
    """Return the ``(k, k)`` confusion matrix of answers, rows true and columns predicted."""
    return np.bincount(class_ids * k + predicted, minlength=k * k).reshape(k, k)
