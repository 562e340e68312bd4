"""Figures of a classifier's answers, and how far chance alone would move them."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.scores import confusion_of, scores_of

DRAWS: Final = 10_000
"""Of a bootstrap."""

Interval = tuple[float, float]
"""95 %, low and high."""


class PairedScores(msgspec.Struct, frozen=True, kw_only=True):
    """How well one of the two models does.

    Attributes:
        accuracy: share of rows answered right.
        balanced_accuracy: mean recall over the emotions that have rows.
        macro_f1: mean F1 over the emotions that have rows or were answered.
        recall: by emotion, where it has rows.
        ece: expected calibration error of the answers as the device gives them, tempered; None in
            reports of the first schema.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float]
    ece: float | None = None


class Intervals(msgspec.Struct, frozen=True, kw_only=True):
    """95 % intervals of what the conversion changed: converted less float; by the bootstrap.

    Attributes:
        accuracy: of the difference of accuracies.
        balanced_accuracy: of balanced accuracies.
        macro_f1: of macro-F1.
        recall: of recalls, by emotion, where it has rows.
        agreement: of the share of equal answers.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    recall: dict[str, Interval]
    agreement: Interval


def figures(
    predicted: NDArray[np.integer],
    answers: NDArray[np.integer],
    labels: tuple[str, ...],
    ece: float | None = None,
) -> PairedScores:
    """Return accuracy, balanced accuracy, macro-F1 and recalls of ``predicted`` ``(n,)``."""
    k = len(labels)
    scores = scores_of(confusion_of(answers, predicted, k)[None])
    return PairedScores(
        accuracy=float(scores.accuracy[0]),
        balanced_accuracy=float(scores.balanced_accuracy[0]),
        macro_f1=float(scores.macro_f1[0]),
        recall={
            label: float(recall)
            for label, recall in zip(labels, scores.recall[0], strict=True)
            if not np.isnan(recall)
        },
        ece=ece,
    )


def paired_intervals(
    answers: NDArray[np.integer],
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    labels: tuple[str, ...],
    seed: int = 0,
) -> Intervals:
    """Bootstrap what the second model changes against the first, over the same rows.

    Both answer every drawn row, so that what is hard for both cancels out (Efron and Tibshirani,
    "An Introduction to the Bootstrap", 1993). Rows of one answer and the same two predictions count
    alike, so whole groups of them are drawn at once: exactly the row-wise bootstrap.

    Args:
        answers: the right ones, ``(n,)``, in 0..k-1.
        first: those of the float model.
        second: those of the converted one.
        labels: the ``k`` emotions.
        seed: of the draws.
    """
    k, n = len(labels), len(answers)
    groups, sizes = np.unique((answers * k + first) * k + second, return_counts=True)
    answer, by_first, by_second = groups // (k * k), groups // k % k, groups % k
    drawn = np.random.default_rng(seed).multinomial(n, sizes / n, size=DRAWS)
    before = scores_of(_confusions(drawn, answer, by_first, k))
    after = scores_of(_confusions(drawn, answer, by_second, k))
    present = np.unique(answer)
    return Intervals(
        accuracy=_interval(after.accuracy - before.accuracy),
        balanced_accuracy=_interval(after.balanced_accuracy - before.balanced_accuracy),
        macro_f1=_interval(after.macro_f1 - before.macro_f1),
        recall={labels[i]: _interval(after.recall[:, i] - before.recall[:, i]) for i in present},
        agreement=_interval(drawn @ (by_first == by_second) / n),
    )


def _confusions(
    drawn: NDArray[np.int64],
    answer: NDArray[np.integer],
    predicted: NDArray[np.integer],
    k: int,
) -> NDArray[np.int64]:
    """Return the ``(d, k, k)`` confusion matrices of draws ``(d, groups)``."""
    place = np.zeros((len(answer), k * k), np.int64)
    place[np.arange(len(answer)), answer * k + predicted] = 1
    return (drawn @ place).reshape(-1, k, k)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
