"""Figures of the whole way from a picture to an answer, beside those of the raw pictures."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import leading
from host_training.data.samples import Samples
from host_training.evaluation.seen import Seen
from host_training.metrics.predict import Predictions, answers_of_model
from host_training.metrics.scores import interval_by_group, wilson_interval


class WholeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over all ``n`` samples: one that is not classified counts as wrong.

    Attributes:
        accuracy_interval: 95 %, after Wilson.
        accuracy_interval_by_subject: 95 %, by the bootstrap over subjects, where they are known.
        balanced_accuracy: the mean recall over the emotions that occur.
        recall: by emotion, those that occur.
    """

    n: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    accuracy_interval_by_subject: tuple[float, float] | None
    balanced_accuracy: float
    recall: dict[str, float]


class PipelineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a device's pipeline makes of samples.

    Attributes:
        found: samples with a face.
        classified: those of them that the quality gate lets through.
        not_classified: the others, by reason.
        all: of all samples.
        raw: of the same samples as 48-pixel pictures, without the pipeline; None for a model that
            takes mesh features, which those do not have.
        raw_of_classified: the same of those that are classified: what the pipeline's own crops are
            to be compared with.
    """

    found: int
    classified: int
    not_classified: dict[str, int]
    all: WholeFigures
    raw: WholeFigures | None
    raw_of_classified: WholeFigures | None


def pipeline_figures(
    rows: Samples, answers: Predictions, seen: Seen, raw: Predictions | None
) -> PipelineFigures:
    """Sum up how samples went through the pipeline.

    Args:
        rows: all samples.
        answers: to those that are classified.
        seen: what was seen of them all.
        raw: answers to all of them as 48-pixel pictures, or None.
    """
    return PipelineFigures(
        found=int(seen.is_found.sum()),
        classified=int(seen.is_classified.sum()),
        not_classified=seen.not_classified(),
        all=whole_figures(rows, answers, seen),
        raw=None if raw is None else whole_figures(rows, raw, None),
        raw_of_classified=(
            None
            if raw is None
            else whole_figures(answers.rows, raw.where(seen.is_classified), None)
        ),
    )


def whole_figures(rows: Samples, answers: Predictions, seen: Seen | None) -> WholeFigures:
    """Return figures over all samples; see ``pipeline_figures``; None for all are classified."""
    right = answers_of_model(rows, answers.labels)
    correct = correct_of_all(answers, seen)
    recall = {
        label: float(correct[right == place].mean())
        for place, label in enumerate(answers.labels)
        if (right == place).any()
    }
    return WholeFigures(
        n=len(rows),
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(rows)),
        accuracy_interval_by_subject=(
            None if rows.subjects is None else interval_by_group(correct, rows.subjects)
        ),
        balanced_accuracy=float(np.mean(list(recall.values()))),
        recall=recall,
    )


def correct_of_all(answers: Predictions, seen: Seen | None) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: whether each sample is classified, and rightly."""
    given = leading(answers.probabilities) == answers.right
    if seen is None:
        return np.asarray(given)
    correct = np.zeros(len(seen.quality), bool)
    correct[seen.is_classified] = given
    return correct
