"""Cross-validation: one run a fold, and the answers to the held-out rows pooled."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.metadata import Dataset
from edge.errors import ConfigError
from host_training.atomic import RESUME
from host_training.config import TrainConfig
from host_training.data.folds import By, assign_folds, leak
from host_training.data.samples import TRAINING, Samples
from host_training.errors import DataError, TrainingError
from host_training.evaluation.evaluate import Evaluation, Measured, summed_up, with_remark
from host_training.frameworks import import_keras
from host_training.metrics.calibration import Calibration, cross_fitted
from host_training.metrics.predict import Predictions, keras_probabilities, predict
from host_training.metrics.scores import Metrics, metrics
from host_training.runs.directory import RUN, RunDirectory, check_free, write_json
from host_training.runs.provenance import ModelProvenance
from host_training.training.distillation import model_file
from host_training.training.progress import TrainingProgress
from host_training.training.run import Pretrained, train

PLAN: Final = "folds.json"

Told = tuple[tuple[str, ...] | None, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class FoldForm:
    """What is measured of each fold's run.

    Attributes:
        name: for the report.
        predict: from a run directory, the rows that it learnt from and its held-out rows to the
            labels and float32 ``(n, k)`` class probabilities of the latter.
    """

    name: str
    predict: Callable[[Path, Samples, Samples], Told]


def _as_trained(run: Path, learnt: Samples, held: Samples) -> Told:  # noqa: ARG001
    return keras_probabilities(run, held)


AS_TRAINED: Final = FoldForm("float32", _as_trained)
"""The network as training left it."""


class FoldPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How a data set is divided.

    Attributes:
        folds: how many.
        by: what lies in one fold only, see ``host_training.data.folds``.
        seed: of the division; each run's own seed is that of its settings.
        split: the rows that are divided; None for ``Training`` where there is one, else for all.
    """

    folds: int
    by: By
    seed: int = 0
    split: str | None = None


class FoldsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``folds.json``: what the runs beside it belong to."""

    plan: FoldPlan
    config: TrainConfig
    data: Dataset


class FoldScores(msgspec.Struct, frozen=True, kw_only=True):
    """Three figures over folds: their mean, or their sample standard deviation."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


class FoldReport(Evaluation, frozen=True, kw_only=True):
    """Figures over all held-out rows at once, each answered by the run that did not see it.

    Attributes:
        plan: how the data was divided.
        leaking: whether rows of one subject, or of one picture, are in several folds.
        per_fold: the figures of each fold's held-out rows.
        mean: over the folds.
        spread: sample standard deviation over the folds. Not that of the mean: folds share their
            training rows (Bengio and Grandvalet, JMLR 2004).
    """

    plan: FoldPlan
    leaking: bool
    per_fold: tuple[Metrics, ...]
    mean: FoldScores
    spread: FoldScores


@dataclass(frozen=True, slots=True, eq=False)
class CrossValidation:
    """The report, and the pooled answers behind it."""

    report: FoldReport
    measured: Measured


def cross_validate(
    samples: Samples,
    config: TrainConfig,
    plan: FoldPlan,
    out: Path,
    progress: TrainingProgress,
    pretrained: Pretrained = Pretrained(),  # noqa: B008 - frozen
    form: FoldForm = AS_TRAINED,
) -> CrossValidation:
    """Train one run a fold on the other folds, and measure each on the rows that it has not seen.

    A run chooses its best epoch by validation rows of its own, held out of the other folds as
    ``config`` says: the fold that it is measured on decides nothing. What is finished in ``out`` is
    not done again, and a run that was stopped goes on.

    Args:
        samples: the whole data set.
        config: the settings of every run.
        plan: how the rows are divided.
        out: gets ``folds.json`` and a run directory ``fold-NN`` a fold.
        progress: told of every fold, batch and epoch.
        pretrained: the models that ``config`` names by their hashes.
        form: what is measured of each run.

    Raises:
        ConfigError: the data does not tell subjects, or ``out`` holds something else.
        DataError: too few rows or groups, no such split, or a fold cannot be trained on.
        TrainingError: interrupted, a loss is not a number, or the disk refuses.
    """
    chosen = _usable(samples, plan.split)
    rows = samples.where(chosen)
    fold = assign_folds(rows, plan.folds, plan.by, plan.seed)
    if not np.bincount(fold[rows.measurable], minlength=plan.folds).all():
        raise DataError(f"{rows.name}: a fold has no sample to measure; give fewer --folds")
    _claim(out, FoldsRecord(plan=plan, config=config, data=rows.fingerprint()))
    runs, parts = [], []
    with _without_retracing_warnings():
        for number in range(plan.folds):
            held, others = (
                rows.where((fold == number) & rows.measurable),
                rows.where(fold != number),
            )
            progress.report(f"fold {number + 1}/{plan.folds}: {len(held)} samples are held out")
            where = out / f"fold-{number + 1:02d}"
            training = replace(others, split=np.full(len(others), TRAINING))
            runs.append(_run(training, config, where, progress, pretrained))
            parts.append(predict(held, partial(form.predict, where, training)))
            import_keras().utils.clear_session()  # else each fold's network stays in memory
    leaks = leak(rows, fold)
    name = f"{'+'.join(rows.splits)}, {plan.folds} folds by {plan.by}"
    measurable = rows.measurable
    pooled = _pooled(
        rows.where(measurable), name + (", LEAKING" if leaks else ""), fold[measurable], parts
    )
    report, calibration = _report(pooled, parts, plan, _origin(config, runs, form.name), leaks)
    index = np.flatnonzero(chosen)[measurable]
    return CrossValidation(
        report, Measured(report, pooled, calibration, index, fold[measurable] + 1)
    )


def _usable(samples: Samples, split: str | None) -> NDArray[np.bool_]:
    """Return the rows of the split that can be learnt from or measured."""
    if split is None and TRAINING in samples.splits:
        split = TRAINING
    mask = samples.trainable | samples.measurable
    if split is not None:
        samples.check_split(split)
        mask &= samples.split == split
    return np.asarray(mask)


def _claim(out: Path, record: FoldsRecord) -> None:
    """Take ``out`` for these folds, or find that they are in it already."""
    path = out / PLAN
    if path.is_file():
        try:
            before = msgspec.json.decode(path.read_bytes(), type=FoldsRecord)
        except msgspec.MsgspecError as error:
            raise TrainingError(f"{path}: damaged ({error}); choose another --out") from error
        for name in FoldsRecord.__struct_fields__:
            if getattr(before, name) != getattr(record, name):
                raise ConfigError(
                    f"{out}: holds folds with another {name}; give what they were begun with, or "
                    "another --out"
                )
        return
    check_free(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out}: cannot be written ({error.strerror})") from error
    write_json(path, record)


def _run(
    rows: Samples,
    config: TrainConfig,
    out: Path,
    progress: TrainingProgress,
    pretrained: Pretrained,
) -> RunDirectory:
    """Train a fold's run as far as it is not done yet."""
    begun = (out / RUN).is_file()
    if begun and RunDirectory(out).record().state == "complete":
        progress.report(f"{out} is complete")
        return RunDirectory(out)
    try:
        return train(rows, config, out, progress, resume=begun, pretrained=pretrained)
    except TrainingError as error:
        # Its remedies are those of `edgeemo train`.
        if isinstance(error.__cause__, KeyboardInterrupt):
            reason = "interrupted; what is done is safe"
        else:
            reason = str(error).replace(RESUME, "make room")
        raise TrainingError(f"{out}: {reason}; the same command continues") from error


@contextmanager
def _without_retracing_warnings() -> Iterator[None]:
    """Each fold has a network of its own to trace, of which TensorFlow warns as of a mistake."""

    def passes(record: logging.LogRecord) -> bool:
        return "tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(passes)
    try:
        yield
    finally:
        logger.removeFilter(passes)


def _pooled(
    samples: Samples, split: str, fold: NDArray[np.int64], parts: Sequence[Predictions]
) -> Predictions:
    """Put the folds' answers back into the order of the rows."""
    rows = replace(samples, split=np.full(len(samples), split))
    probabilities = np.empty((len(rows), len(rows.labels)), np.float32)
    for number, part in enumerate(parts):
        probabilities[fold == number] = part.probabilities
    return Predictions(rows, rows.labels, probabilities, rows.class_ids)


def _report(
    pooled: Predictions,
    parts: Sequence[Predictions],
    plan: FoldPlan,
    origin: ModelProvenance,
    leaks: str | None,
) -> tuple[FoldReport, Calibration | None]:
    calibration = cross_fitted(pooled, plan.seed)
    figures = summed_up(pooled, calibration, origin)
    if leaks:
        figures = with_remark(figures, f"LEAKING: {leaks}: the figures are flattered")
    per_fold = tuple(
        metrics(p.probabilities, p.right, p.labels, protocol=p.rows.protocol, split=f"fold {i}")
        for i, p in enumerate(parts, 1)
    )
    table = np.array([[getattr(fold, name) for name in _NAMES] for fold in per_fold])
    report = FoldReport(
        **msgspec.structs.asdict(figures),
        plan=plan,
        leaking=leaks is not None,
        per_fold=per_fold,
        mean=FoldScores(**dict(zip(_NAMES, table.mean(axis=0).tolist(), strict=True))),
        spread=FoldScores(**dict(zip(_NAMES, table.std(axis=0, ddof=1).tolist(), strict=True))),
    )
    return report, calibration


_NAMES: Final = FoldScores.__struct_fields__


def _origin(config: TrainConfig, runs: Sequence[RunDirectory], form: str) -> ModelProvenance:
    digests = [model_file(run.path).sha256 for run in runs]
    return ModelProvenance(
        f"{config.architecture}, one run a fold, {form}",
        hashlib.sha256("".join(digests).encode()).hexdigest(),
    )


def ancestors_of(run: RunDirectory) -> Pretrained:
    """Find the models that a run learnt from, where its record says that they are.

    Raises:
        ConfigError: one is gone.
    """
    record = run.record()
    return Pretrained(
        tuple(model_file(Path(path)) for path in record.teachers),
        model_file(Path(record.initial)) if record.initial else None,
        model_file(Path(record.anchor)) if record.anchor else None,
    )
