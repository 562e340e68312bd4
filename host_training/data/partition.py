"""Which rows a run learns from and which it is judged on."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import TRAINING, VALIDATION, Samples, picture_keys
from host_training.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows to learn from, rows to choose the best epoch by, and remarks for the user."""

    training: Samples
    validation: Samples
    remarks: tuple[str, ...]


def partition(
    samples: Samples, *, share: float = 0.2, seed: int = 0, keep_duplicates: bool = False
) -> Partition:
    """Divide a data set for training.

    FER2013's ``Training`` and ``PublicTest`` where both are there; else a stratified part of the
    training rows is held out, disjoint by subject where subjects are known and by picture in any
    case.

    Args:
        samples: the whole data set; splits other than those two are not touched.
        share: of the rows to hold out where there is no validation split.
        seed: of that choice.
        keep_duplicates: keep training rows whose very picture is among the validation rows.

    Raises:
        DataError: no training rows, fewer than two labels, or too few rows to divide.
    """
    rows = samples.split_rows(TRAINING) if TRAINING in samples.splits else samples
    rows = rows.where(rows.trainable)
    _check_labels(rows)
    if VALIDATION in samples.splits and rows is not samples:
        training, validation = rows, samples.split_rows(VALIDATION)
        remarks = [f"validation: {VALIDATION}"]
    else:
        training, validation = _hold_out(rows, share, seed)
        how = "subject" if samples.subjects is not None else "picture"
        remarks = [f"validation: {share:.0%} held out of {TRAINING}, disjoint by {how}"]
    validation = validation.where(validation.measurable)
    if not len(validation):
        raise DataError(f"{samples.name}: no validation row is left under {samples.protocol}")
    if not keep_duplicates:
        twins = np.isin(picture_keys(training.images), picture_keys(validation.images))
        if twins.any():
            remarks.append(
                f"{twins.sum()} training rows left out: the same picture is validated on"
            )
            training = training.where(~twins)
    return Partition(training, validation, tuple(remarks))


def _check_labels(rows: Samples) -> None:
    present = [label for label, mass in zip(rows.labels, rows.targets.sum(0), strict=True) if mass]
    if len(present) < 2:
        raise DataError(
            f"{rows.name}: its training rows show {len(present)} labels "
            f"({', '.join(present) or 'none'}); a classifier needs two or more"
        )


def _hold_out(rows: Samples, share: float, seed: int) -> tuple[Samples, Samples]:
    from sklearn.model_selection import StratifiedGroupKFold

    answers = rows.targets.argmax(axis=1)
    counts = np.bincount(answers)
    rarest = int(counts[counts > 0].min())
    if rarest < 2:
        label = rows.labels[int(np.flatnonzero(counts == rarest)[0])]
        raise DataError(
            f"{rows.name}: {label} has 1 training row; two or more are needed to hold one out"
        )
    groups = rows.subjects if rows.subjects is not None else _picture_groups(rows)
    folds = max(2, min(round(1 / share), rarest, len(np.unique(groups))))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, chosen = next(splitter.split(answers, answers, groups))
    held = np.zeros(len(rows), bool)
    held[chosen] = True
    validation = rows.where(held)
    return rows.where(~held), replace(validation, split=np.full(len(validation), "Validation"))


def _picture_groups(rows: Samples) -> NDArray[np.int64]:
    _, groups = np.unique(picture_keys(rows.images), return_inverse=True)
    return np.asarray(groups, np.int64)
