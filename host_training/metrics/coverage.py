"""Accuracy of a model that keeps silent where it is least sure: the risk-coverage curve.

El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", JMLR 2010.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

COVERAGES: Final = (1.0, 0.9, 0.8, 0.7)
"""Shares of the samples that are answered."""


class CoveragePoint(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is worth that answers only its surest.

    Attributes:
        coverage: the share of the samples that is answered.
        accuracy: of those answers.
        confidence: the least among them: the threshold that gives this coverage.
    """

    coverage: float
    accuracy: float
    confidence: float


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Accuracy by coverage.

    Attributes:
        points: at ``COVERAGES``. Of samples that share the threshold's confidence only some are
            answered; they count with their mean accuracy, which any order among them would give
            in the long run.
        area: the mean error over all coverages, ``AURC`` (Geifman et al., ICLR 2019); lower is
            better.
    """

    points: tuple[CoveragePoint, ...]
    area: float


def risk_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> Coverage:
    """Return accuracy by coverage.

    Args:
        confidence: ``(n,)`` of each answer, n >= 1.
        correct: bool ``(n,)``.
    """
    accuracy, threshold = coverage_curve(confidence, correct)
    places = [max(1, round(coverage * len(correct))) - 1 for coverage in COVERAGES]
    return Coverage(
        points=tuple(
            CoveragePoint(
                coverage=coverage,
                accuracy=float(accuracy[place]),
                confidence=float(threshold[place]),
            )
            for coverage, place in zip(COVERAGES, places, strict=True)
        ),
        area=float(1 - accuracy.mean()),
    )


def coverage_curve(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return accuracy and least confidence ``(n,)`` of the surest 1, 2, ... n answers.

    Among equals, whose order says nothing, every answer counts with the mean of them all.
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order].astype(np.float64)
    _, group, sizes = np.unique(-sorted_confidence, return_inverse=True, return_counts=True)
    mean = np.bincount(group, correct[order]) / sizes
    return np.cumsum(mean[group]) / np.arange(1, len(order) + 1), sorted_confidence
