"""A model on corrupted pictures: accuracy by kind and severity, and what is lost on the whole.

After Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019 (arXiv 1903.12261).
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import temper
from edge.contract.scores import expected_calibration_error
from host_training.data.corruptions import HELD_OUT, KINDS, SEVERITIES
from host_training.data.samples import Samples
from host_training.evaluation.pipeline_figures import whole_figures
from host_training.evaluation.seen import Seen
from host_training.evaluation.views import Corruption, View, answers_to
from host_training.metrics.predict import Model, Predictions


class KindFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures under one kind of corruption, at severity 1 to 5.

    Attributes:
        accuracy: over all samples; one that is not classified counts as wrong.
        balanced_accuracy: the same.
        classified: the share of the samples that is.
        ece: of the answers to those; None where there are none.
    """

    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    classified: tuple[float, ...]
    ece: tuple[float | None, ...]


class GroupFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Means over all severities of some kinds.

    Attributes:
        drop: clean accuracy less this one.
        balanced_drop: the same of the balanced accuracy.
        ece: the mean of theirs.
    """

    kinds: tuple[str, ...]
    accuracy: float
    balanced_accuracy: float
    drop: float
    balanced_drop: float
    ece: float | None


class CorruptionFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A model on corrupted pictures.

    Attributes:
        n: samples.
        seed: of what is random in the corruptions.
        clean_accuracy: of the same samples as they are.
        clean_balanced_accuracy: the same.
        all: the mean corruption accuracy.
        trainable: of the kinds that training may use.
        held_out: of those that it never does.
        kinds: each by itself.
    """

    n: int
    seed: int
    clean_accuracy: float
    clean_balanced_accuracy: float
    all: GroupFigures
    trainable: GroupFigures
    held_out: GroupFigures
    kinds: dict[str, KindFigures]


def corruption_figures(
    rows: Samples,
    clean: Seen,
    answers: Predictions,
    model: Model,
    view: View,
    *,
    temperature: float | None = None,
    seed: int = 0,
) -> CorruptionFigures:
    """Measure a model under every kind and severity.

    Args:
        rows: measurable ones.
        clean: what the view makes of them as they are.
        answers: to that.
        model: what is measured.
        view: what it gets to see of the corrupted pictures.
        temperature: that its answers are used with.
        seed: of what is random.
    """
    before = whole_figures(rows, answers, clean)
    cells = [Corruption(kind, severity, seed) for kind in KINDS for severity in SEVERITIES]
    figures = [_cell(rows, seen, model, temperature) for seen in view(rows, cells, clean)]
    table = np.array(figures).reshape(len(KINDS), len(SEVERITIES), -1)
    clean_pair = before.accuracy, before.balanced_accuracy
    return CorruptionFigures(
        n=len(rows),
        seed=seed,
        clean_accuracy=before.accuracy,
        clean_balanced_accuracy=before.balanced_accuracy,
        all=_group(table, KINDS, clean_pair),
        trainable=_group(table, [kind for kind in KINDS if kind not in HELD_OUT], clean_pair),
        held_out=_group(table, HELD_OUT, clean_pair),
        kinds={kind: _of_kind(part) for kind, part in zip(KINDS, table, strict=True)},
    )


def _cell(
    rows: Samples, seen: Seen, model: Model, temperature: float | None
) -> tuple[float, float, float, float]:
    """Return accuracy, balanced accuracy, share that is classified and ECE; NaN for none."""
    share = float(seen.is_classified.mean())
    if not share:
        return 0.0, 0.0, 0.0, np.nan
    answers = answers_to(rows, seen, model)
    figures = whole_figures(rows, answers, seen)
    given = answers.probabilities
    given = given if temperature is None else temper(given, temperature)
    ece = expected_calibration_error(given, answers.right)
    return figures.accuracy, figures.balanced_accuracy, share, ece


def _of_kind(part: NDArray[np.float64]) -> KindFigures:
    accuracy, balanced, classified, ece = part.T.tolist()
    return KindFigures(
        accuracy=tuple(accuracy),
        balanced_accuracy=tuple(balanced),
        classified=tuple(classified),
        ece=tuple(map(_or_none, ece)),
    )


def _group(
    table: NDArray[np.float64], kinds: Sequence[str], clean: tuple[float, float]
) -> GroupFigures:
    part = table[[KINDS.index(kind) for kind in kinds]]
    accuracy, balanced = (float(part[..., column].mean()) for column in (0, 1))
    return GroupFigures(
        kinds=tuple(kinds),
        accuracy=accuracy,
        balanced_accuracy=balanced,
        drop=clean[0] - accuracy,
        balanced_drop=clean[1] - balanced,
        ece=_mean(part[..., 3].ravel()),
    )


def _mean(values: Iterable[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
