"""Which rows a run learns from and which it is judged on."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import HELD_OUT, TRAINING, VALIDATION, Samples, picture_keys
from host_training.errors import DataError


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows to learn from, rows to choose the best epoch by, and remarks for the user."""

    training: Samples
    validation: Samples
    remarks: tuple[str, ...]


def partition(
    samples: Samples,
    *,
    share: float = 0.2,
    seed: int = 0,
    keep_duplicates: bool = False,
    groups: Literal["auto", "none"] = "auto",
) -> Partition:
    """Divide a data set for training.

    FER2013's ``Training`` and ``PublicTest`` where both are there, or ``Training`` and the
    ``Validation`` of a ``val`` folder; else a stratified part of the training rows is held out,
    disjoint by subject where subjects are known and by picture in any case.

    Args:
        samples: the whole data set; splits other than those two are not touched.
        share: of the rows to hold out where there is no validation split.
        seed: of that choice.
        keep_duplicates: keep training rows whose very picture is among the validation rows.
        groups: ``none`` holds rows out at random, stratified by label only; the remark says that
            this leaks.

    Raises:
        DataError: no labels, fewer than two on either side, or too few rows to divide.
    """
    samples.check_labelled()
    rows = samples.split_rows(TRAINING) if TRAINING in samples.splits else samples
    rows = rows.where(rows.trainable)
    _check_labels(rows, "training", rows.targets.sum(axis=0))
    given = [name for name in (VALIDATION, HELD_OUT) if name in samples.splits]
    if given and TRAINING in samples.splits:
        training, validation = rows, samples.split_rows(given[0])
        remarks = [f"validation: {given[0]}"]
    else:
        training, validation = _hold_out(rows, share, seed, groups)
        how = "disjoint by " + ("subject" if samples.subjects is not None else "picture")
        if groups == "none":
            how = "at random: LEAKING wherever rows resemble each other"
        remarks = [f"validation: {share:.0%} held out of {TRAINING}, {how}"]
    validation = validation.where(validation.measurable)
    if not len(validation):
        raise DataError(f"{samples.name}: no validation row is left under {samples.protocol}")
    answers = np.bincount(validation.hard, minlength=len(validation.labels))
    _check_labels(validation, "validation", answers)
    if not keep_duplicates:
        twins = np.isin(picture_keys(training.images), picture_keys(validation.images))
        if twins.any():
            remarks.append(
                f"{twins.sum()} training rows left out: the same picture is validated on"
            )
            training = training.where(~twins)
    return Partition(training, validation, tuple(remarks))


def _check_labels(rows: Samples, what: str, mass: NDArray[np.number]) -> None:
    present = [label for label, amount in zip(rows.labels, mass, strict=True) if amount]
    if len(present) < 2:
        raise DataError(
            f"{rows.name}: its {what} rows show {len(present)} labels "
            f"({', '.join(present) or 'none'}); a classifier needs two or more"
        )


def _hold_out(rows: Samples, share: float, seed: int, how: str) -> tuple[Samples, Samples]:
    from sklearn.model_selection import StratifiedGroupKFold

    answers = rows.targets.argmax(axis=1)
    counts = np.bincount(answers)
    rarest = int(counts[counts > 0].min())
    if rarest < 2:
        label = rows.labels[int(np.flatnonzero(counts == rarest)[0])]
        raise DataError(
            f"{rows.name}: {label} has 1 training row; two or more are needed to hold one out"
        )
    groups = np.arange(len(rows)) if how == "none" else _groups(rows)
    folds = max(2, min(round(1 / share), rarest, len(np.unique(groups))))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, chosen = next(splitter.split(answers, answers, groups))
    held = np.zeros(len(rows), bool)
    held[chosen] = True
    validation = rows.where(held)
    return rows.where(~held), replace(validation, split=np.full(len(validation), HELD_OUT))


def _groups(rows: Samples) -> NDArray[np.generic]:
    """Return what must not be on both sides: who is in a picture, or the picture itself."""
    if rows.subjects is not None:
        return rows.subjects
    _, groups = np.unique(picture_keys(rows.images), return_inverse=True)
    return np.asarray(groups, np.int64)
