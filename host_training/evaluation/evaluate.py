"""A model measured in full: figures, calibration, and all that one must know to believe them."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.contract.decision import leading, temper
from edge.contract.metadata import Dataset
from edge.contract.scores import expected_calibration_error
from host_training.data.folds import alike_in_labels
from host_training.data.samples import TRAINING, Samples
from host_training.evaluation.pipeline_figures import PipelineFigures, pipeline_figures
from host_training.evaluation.robustness import CorruptionFigures, corruption_figures
from host_training.evaluation.views import PipelineView, RawView, View, answers_to
from host_training.metrics.calibration import (
    FEWEST,
    Calibration,
    calibration_mask,
    cross_fitted,
    fitted_elsewhere,
)
from host_training.metrics.coverage import Coverage, risk_coverage
from host_training.metrics.paired import Paired, paired
from host_training.metrics.predict import Model, Predictions, measured_mask, predict
from host_training.metrics.scores import (
    SATURATED,
    Metrics,
    brier_score,
    interval_by_group,
    metrics,
    saturated,
)
from host_training.runs.known_pictures import UNSEEN, WHERES, Seen, seen_counts
from host_training.runs.provenance import ModelProvenance


class Evaluation(Metrics, frozen=True, kw_only=True):
    """Figures over ``n`` rows, fit to be published.

    Attributes:
        ece: of the model's answers as its users get them: a bundle's under its own temperature.
        ece_untempered: of the network's answers as they come.
        ece_tempered: under temperatures fitted on other rows; None where there were too few.
        brier_untempered: Brier's score of the former.
        brier_tempered: of the latter.
        temperature: fitted on all calibration rows; None where there were too few.
        temperatures: those behind ``ece_tempered``.
        calibrated_on: which rows fitted them, in words.
        own_temperature: that the model carries; None where it carries none.
        tau: how much of the training samples' prior was taken away: every figure is under it.
        accuracy_interval_by_subject: 95 %, by the bootstrap over subjects, where they are known.
        data: name, split, number and fingerprint of the rows.
        model: as it was named.
        model_sha256: of its file.
        mean_confidence: of the same answers.
        coverage: accuracy of the surest answers alone, by the confidence behind ``ece``.
        pipeline: how the samples went through the device's pipeline, where they did; all other
            figures are then of the ``n`` that it classified.
        corruptions: the same on corrupted pictures, where it was asked for.
        against: another model on the very same samples, where one was named.
        seen: how many of the samples the model knew; None where its run kept no pictures.
        remarks: what a reader must know.
    """

    ece_untempered: float
    ece_tempered: float | None
    brier_untempered: float
    brier_tempered: float | None
    temperature: float | None
    temperatures: tuple[float, ...]
    calibrated_on: str
    own_temperature: float | None
    accuracy_interval_by_subject: tuple[float, float] | None
    data: Dataset
    model: str
    model_sha256: str
    edgeemo_version: str = __version__
    mean_confidence: float
    coverage: Coverage
    pipeline: PipelineFigures | None = None
    corruptions: CorruptionFigures | None = None
    tau: float = 0.0
    seen: Seen | None = None
    against: Paired | None = None
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """An evaluation and the answers behind it.

    Attributes:
        figures: all of them.
        answers: to the rows.
        calibration: None where there were too few rows.
        index: int64 ``(n,)``: where each row stands in the data set, from 0.
        fold: int64 ``(n,)``: the fold that each row was held out in, from 1; None without folds.
        other: what the model that the figures are held ``against`` answered.
    """

    figures: Evaluation
    answers: Predictions
    calibration: Calibration | None
    index: NDArray[np.int64]
    fold: NDArray[np.int64] | None = None
    other: Predictions | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be measured.

    Attributes:
        split: its rows; None for ``PublicTest`` where there is one, else for all.
        calibrate_on: the split that fits the temperature; None to fit it on each half of the
            measured rows for the other.
        seed: of those halves, of a limit's choice, and of what is random in corruptions.
        limit: measure no more samples than these, alike in their labels; None for all.
        view: what the model gets to see of them.
        beside_raw: where ``view`` is another, measure the 48-pixel pictures as they are, too.
        corruptions: measure corrupted pictures, too.
    """

    split: str | None = None
    calibrate_on: str | None = None
    seed: int = 0
    limit: int | None = None
    view: View = field(default_factory=RawView)
    beside_raw: bool = False
    corruptions: bool = False


def evaluate_in_full(
    samples: Samples, question: Question, model: Model, origin: ModelProvenance
) -> Measured:
    """Measure a model on a data set's rows, with its calibration.

    Raises:
        ConfigError: the temperature would be fitted on rows that are measured.
        DataError: no such split, no row to measure, too few to calibrate on, or rows of an emotion
            that the model does not know.
        TrainingError: the model's outputs are no probabilities.
    """
    mask, other = _mask(samples, question), None
    if question.calibrate_on is not None:
        other = samples.where(calibration_mask(samples, question.calibrate_on, mask))
    rows, view = samples.where(mask), question.view
    [seen] = view(rows)
    answers = answers_to(rows, seen, model)
    if other is None:
        calibration = cross_fitted(answers, question.seed)
    else:
        [there] = view(other)
        calibration = fitted_elsewhere(answers, answers_to(other, there, model))
    figures = summed_up(answers, calibration, origin)
    if isinstance(view, PipelineView):
        raw = predict(rows, model) if question.beside_raw else None
        through = pipeline_figures(rows, answers, seen, raw)
        figures = msgspec.structs.replace(figures, pipeline=through)
    if question.corruptions:
        worse = corruption_figures(
            rows, seen, answers, model, view, temperature=origin.temperature, seed=question.seed
        )
        figures = msgspec.structs.replace(figures, corruptions=worse)
    if question.calibrate_on == TRAINING:
        figures = with_remark(figures, _CALIBRATED_ON_TRAINING)
    return Measured(figures, answers, calibration, np.flatnonzero(mask)[seen.is_classified])


def _mask(samples: Samples, question: Question) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: the samples to measure."""
    mask = measured_mask(samples, question.split)
    if question.limit is None or question.limit >= mask.sum():
        return mask
    rows = np.flatnonzero(mask)
    chosen = np.zeros_like(mask)
    chosen[rows[alike_in_labels(samples.class_ids[rows], question.limit, question.seed)]] = True
    return chosen


def held_against(measured: Measured, model: Model, origin: ModelProvenance) -> Measured:
    """Ask another model about the same samples, and tell how the two differ.

    Args:
        measured: of the first model.
        model: the other one.
        origin: what the other's files tell.

    Raises:
        DataError: the other does not know an emotion of the samples.
        TrainingError: its outputs are no probabilities.
    """
    first, other = measured.answers, predict(measured.answers.rows, model)
    outcome = paired(first.are_right, other.are_right, origin.model, first.rows.subjects)
    if origin.known is not None:
        seen = seen_counts(origin.known.places(first.rows.images))
        outcome = msgspec.structs.replace(outcome, other_seen=seen)
    figures = msgspec.structs.replace(measured.figures, against=outcome)
    return replace(measured, figures=figures, other=other)


def summed_up(
    answers: Predictions, calibration: Calibration | None, origin: ModelProvenance
) -> Evaluation:
    """Return all figures of a model's answers, and the remarks that follow from them."""
    rows, raw, right = answers.rows, answers.probabilities, answers.right
    given = raw if origin.temperature is None else temper(raw, origin.temperature)
    tempered = None if calibration is None else calibration.tempered
    split = "+".join(rows.splits)
    places = None if origin.known is None else origin.known.places(rows.images)
    plain = metrics(given, right, answers.labels, protocol=rows.protocol, split=split)
    return Evaluation(
        **msgspec.structs.asdict(plain),
        ece_untempered=expected_calibration_error(raw, right),
        ece_tempered=None if tempered is None else expected_calibration_error(tempered, right),
        brier_untempered=brier_score(raw, right),
        brier_tempered=None if tempered is None else brier_score(tempered, right),
        temperature=None if calibration is None else calibration.temperature,
        temperatures=() if calibration is None else calibration.temperatures,
        calibrated_on=_TOO_FEW if calibration is None else calibration.fitted_on,
        own_temperature=origin.temperature,
        tau=0.0 if origin.decision is None else origin.decision.tau,
        accuracy_interval_by_subject=(
            None
            if rows.subjects is None
            else interval_by_group(leading(raw) == right, rows.subjects)
        ),
        mean_confidence=float(given.max(axis=1).mean()),
        coverage=risk_coverage(given.max(axis=1), leading(given) == right),
        data=rows.fingerprint(),
        seen=None if places is None else _seen(places, given, answers),
        model=origin.model,
        model_sha256=origin.sha256,
        remarks=tuple(_remarks(answers, origin, places)),
    )


def with_remark(figures: Evaluation, remark: str) -> Evaluation:
    """Return the figures with one more thing that a reader must know."""
    return msgspec.structs.replace(figures, remarks=(*figures.remarks, remark))


_TOO_FEW: Final = f"nothing: a half of these samples would be fewer than {FEWEST}"
_CALIBRATED_ON_TRAINING: Final = (
    f"the temperature was fitted on samples of {TRAINING}: a model is surer of samples that it has "
    "learnt, so it comes out too low"
)


def _seen(places: NDArray[np.int64], given: NDArray[np.float32], answers: Predictions) -> Seen:
    """Say how many samples the model knew, and how well it does on the others."""
    unseen = places == UNSEEN
    figures = None
    if unseen.any():
        rows = answers.rows
        figures = metrics(
            given[unseen],
            answers.right[unseen],
            answers.labels,
            protocol=rows.protocol,
            split="+".join(rows.splits),
        )
    return msgspec.structs.replace(
        seen_counts(places), samples=tuple(WHERES[i] for i in places), unseen_figures=figures
    )


def _remarks(
    answers: Predictions, origin: ModelProvenance, places: NDArray[np.int64] | None
) -> Iterator[str]:
    """Say what flatters a figure, and what it does not tell."""
    rows = answers.rows
    yield from _known(rows, origin, None if places is None else seen_counts(places))
    if origin.is_own and saturated(answers.probabilities, answers.right):
        yield SATURATED
    foreign = [name for name in answers.labels if name not in rows.labels]
    if foreign:
        given = np.isin(
            leading(answers.probabilities), [answers.labels.index(name) for name in foreign]
        )
        yield (
            f"the model also knows {', '.join(foreign)}, which the protocol {rows.protocol} does "
            f"not: its {given.sum()} answers of that count as wrong"
        )


def _known(rows: Samples, origin: ModelProvenance, seen: Seen | None) -> Iterator[str]:
    """Say what the model knew of the rows before."""
    fingerprint, some = rows.fingerprint().fingerprint, f"of these {len(rows):,} samples"
    if fingerprint == origin.training:
        yield "the model has learnt from these very samples: the figures are flattered"
    elif seen is not None and seen.training:
        yield f"the model has learnt from {seen.training:,} {some}: the figures are flattered"
    elif seen is None and TRAINING in rows.splits:
        yield (
            "whether the model has learnt from any of these samples is not known here: it has no "
            "list of the pictures that it learnt from"
        )
    fitted = "" if origin.temperature in (None, 1.0) else " and fitted its own temperature"
    if fingerprint == origin.validation:
        yield f"these very samples chose the model's best epoch{fitted}: a validation, not a test"
    elif seen is not None and seen.validation:
        yield f"{seen.validation:,} {some} chose the model's best epoch{fitted}: no test of it"
    elif seen is None and fingerprint == origin.measured:
        yield (
            "the bundle's own figures are of these very samples; whether they chose its best epoch "
            "is not known here, its run directory knows"
        )
