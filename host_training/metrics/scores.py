"""Figures of a classifier on rows with one right answer each."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import leading
from edge.contract.scores import confusion_of, expected_calibration_error, scores_of

Z_95: Final = 1.959963984540054
_CERTAIN: Final = 0.995
SATURATED: Final = (
    "the scores are saturated: it is as good as certain even where it is wrong. A model takes "
    "pixels from 0 to 255; one that was trained on 0 to 1 needs keras.layers.Rescaling(1 / 255) as "
    "its first layer"
)
"""What to say of a ``saturated`` model that edgeemo did not make."""


class ClassMetrics(msgspec.Struct, frozen=True):
    """Figures of one label; ``n`` samples truly have it.

    What there is nothing to tell from is None: all of them where ``n`` is 0, the precision of a
    label that was never answered. Intervals are 95 %, after Wilson (JASA 1927); files of older
    versions have none.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    n: int
    precision_interval: tuple[float, float] | None = None
    recall_interval: tuple[float, float] | None = None


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over ``n`` rows.

    Attributes:
        accuracy_interval: 95 %, after Wilson (JASA 1927).
        balanced_accuracy: the mean recall over the labels that occur.
        macro_f1: the mean F1 over the labels that occur or were answered, as scikit-learn's.
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
    class_ids: NDArray[np.int64],
    labels: Sequence[str],
    *,
    protocol: str,
    split: str,
) -> Metrics:
    """Measure predictions.

    Args:
        probabilities: ``(n, k)``, rows sum to 1.
        class_ids: int ``(n,)``, the right answers in 0..k-1.
        labels: the ``k`` names.
        protocol: how the answers were made; goes into the result.
        split: the rows that these are; goes into the result.

    Raises:
        ValueError: no row, or shapes that do not fit.
    """
    n, k = probabilities.shape
    if n == 0 or class_ids.shape != (n,) or len(labels) != k:
        raise ValueError(
            f"{probabilities.shape} probabilities, {class_ids.shape} answers, {len(labels)} labels"
        )
    confusion = confusion_of(class_ids, leading(probabilities), k)
    scores = scores_of(confusion[None])
    per_class = {
        label: _of_class(int(hits), int(answered), int(true))
        for label, hits, answered, true in zip(
            labels, confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1), strict=True
        )
    }
    correct = int(confusion.trace())
    return Metrics(
        accuracy=correct / n,
        accuracy_interval=wilson_interval(correct, n),
        balanced_accuracy=float(scores.balanced_accuracy[0]),
        macro_f1=float(scores.macro_f1[0]),
        n=n,
        per_class=per_class,
        ece=expected_calibration_error(probabilities, class_ids),
        confusion=confusion.tolist(),
        protocol=protocol,
        split=split,
    )


def _of_class(hits: int, answered: int, true: int) -> ClassMetrics:
    if not true:
        return ClassMetrics(None, None, None, 0)
    return ClassMetrics(
        precision=hits / answered if answered else None,
        recall=hits / true,
        f1=2 * hits / (answered + true),
        n=true,
        precision_interval=wilson_interval(hits, answered) if answered else None,
        recall_interval=wilson_interval(hits, true),
    )


def wilson_interval(correct: int, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval of a share; unlike the normal one it stays within [0, 1]."""
    share = correct / n
    spread = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / spread
    half = z / spread * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def brier_score(probabilities: NDArray[np.float32], class_ids: NDArray[np.int64]) -> float:
    """Return the mean squared distance of the probabilities from the truth, 0 to 2.

    Brier, "Verification of Forecasts Expressed in Terms of Probability", 1950. Unlike the
    calibration error it cannot be made small by answering the base rates.
    """
    gaps = probabilities.astype(np.float64)
    gaps[np.arange(len(class_ids)), class_ids] -= 1
    return float((gaps**2).sum(axis=1).mean())


def saturated(probabilities: NDArray[np.float32], class_ids: NDArray[np.int64]) -> bool:
    """Tell whether a classifier is as good as certain even where it is wrong.

    Then its scores say nothing, most often because it is fed pixels from 0 to 255 and was trained
    on 0 to 1, which makes its logits 255 times too large. An honest network is less sure of half of
    its mistakes. int8 outputs end at 255/256.
    """
    wrong = leading(probabilities) != class_ids
    return bool(wrong.any() and np.median(probabilities[wrong].max(axis=1)) >= _CERTAIN)


def interval_by_group(
    correct: NDArray[np.bool_ | np.integer],
    groups: NDArray[np.generic],
    draws: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return a 95 % interval of a mean whose rows come in groups, by the bootstrap over groups.

    Several pictures of one person are right or wrong together; an interval that takes them for
    independent rows is too narrow (Field and Welsh, JRSS B 2007).

    Args:
        correct: ``(n,)``: bool, for a share, or numbers.
        groups: ``(n,)``, who is in the picture.
        draws: of as many groups as there are, with replacement.
        seed: of the draws.
    """
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    hits = np.bincount(number, correct)
    chances = np.full(len(sizes), 1 / len(sizes))
    drawn = np.random.default_rng(seed).multinomial(len(sizes), chances, size=draws)
    low, high = np.percentile((drawn @ hits) / (drawn @ sizes), (2.5, 97.5))
    return float(low), float(high)
