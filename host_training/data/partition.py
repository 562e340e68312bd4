"""Which rows a run learns from and which it is judged on."""

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from host_training.data.near_duplicates import groups_of, near_pairs, near_to
from host_training.data.samples import (
    HELD_OUT,
    TRAINING,
    VALIDATION,
    Samples,
    first_rows,
    picture_keys,
)
from host_training.data.shards import in_memory
from host_training.errors import DataError

_MOST_LEFT_OUT: Final = 0.5
"""Near duplicates of validation rows stay if a label lost a larger share of its rows: then it is
rows that are hardly different which the data is made of."""

_BLOCK: Final = 65536
"""Training rows that are compared with the validation rows at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows to learn from, rows to choose the best epoch by, and remarks for the user.

    Attributes:
        training: the rows to learn from.
        validation: those to choose the best epoch by.
        remarks: what was done.
        held_out: int64: where the latter stand in the whole data set.
    """

    training: Samples
    validation: Samples
    remarks: tuple[str, ...]
    held_out: NDArray[np.int64]


def partition(
    samples: Samples,
    *,
    share: float = 0.2,
    seed: int = 0,
    keep_duplicates: bool = False,
    keep_near_duplicates: bool = False,
    groups: Literal["auto", "none"] = "auto",
) -> Partition:
    """Divide a data set for training.

    FER2013's ``Training`` and ``PublicTest`` where both are there, or ``Training`` and the
    ``Validation`` of a ``val`` folder; else a stratified part of the training rows is held out,
    disjoint by subject where subjects are known, else by near duplicates where each label can be
    divided so, and by picture in any case.

    Args:
        samples: the whole data set; splits other than those two are not touched.
        share: of the rows to hold out where there is no validation split.
        seed: of that choice.
        keep_duplicates: keep training rows whose very picture is among the validation rows, and
            near duplicates with them.
        keep_near_duplicates: keep training rows that are near duplicates of validation rows, see
            ``host_training.data.near_duplicates``. They are kept, too, where a label would lose
            more than half of its rows; the remarks say so.
        groups: ``none`` holds rows out at random, stratified by label only; the remark says that
            this leaks.

    Raises:
        DataError: no labels, fewer than two on either side, or too few rows to divide.
    """
    samples.check_labelled()
    learnable = samples.trainable
    if TRAINING in samples.splits:
        learnable &= samples.split == TRAINING
    rows = samples.where(learnable)
    _check_labels(rows, "training", rows.targets.sum(axis=0))
    given = [name for name in (VALIDATION, HELD_OUT) if name in samples.splits]
    near = not (keep_duplicates or keep_near_duplicates)
    if given and TRAINING in samples.splits:
        training, validation = rows, samples.split_rows(given[0])
        index = np.flatnonzero(samples.split == given[0])
        remarks = [f"validation: {given[0]}"]
    else:
        held, how = _held_out(rows, share, seed, groups, near)
        training, validation = rows.where(~held), rows.where(held)
        index = np.flatnonzero(learnable)[held]
        validation = replace(validation, split=np.full(len(validation), HELD_OUT))
        remarks = [f"validation: {share:.0%} held out of {TRAINING}, {how}"]
    index = index[validation.measurable]
    validation = in_memory(validation.where(validation.measurable))
    if not len(validation):
        raise DataError(f"{samples.name}: no validation sample is left under {samples.protocol}")
    answers = np.bincount(validation.class_ids, minlength=len(validation.labels))
    _check_labels(validation, "validation", answers)
    if not keep_duplicates:
        training, remark = _without_copies(training, validation)
        remarks += remark
    if near:
        training, remark = _without_near(training, validation)
        remarks += remark
    return Partition(training, validation, tuple(remarks), index)


def _without_copies(training: Samples, validation: Samples) -> tuple[Samples, list[str]]:
    copies = np.isin(picture_keys(training.images), picture_keys(validation.images))
    if not copies.any():
        return training, []
    remark = f"{copies.sum()} training samples left out: the same picture is validated on"
    return training.where(~copies), [remark]


def _without_near(training: Samples, validation: Samples) -> tuple[Samples, list[str]]:
    near = np.concatenate(
        [
            near_to(training.images[start : start + _BLOCK], validation.images)
            for start in range(0, len(training), _BLOCK)
        ]
    )
    if not near.any():
        return training, []
    answers, k = training.targets.argmax(axis=1), len(training.labels)
    rows, lost = np.bincount(answers, minlength=k), np.bincount(answers[near], minlength=k)
    worst = int((lost / np.maximum(rows, 1)).argmax())
    if lost[worst] > _MOST_LEFT_OUT * rows[worst]:
        return training, [
            f"{near.sum()} training samples are near duplicates of validation samples and stay, "
            f"for {training.labels[worst]} would lose {lost[worst]} of {rows[worst]}: validation "
            "figures flatter"
        ]
    remark = f"{near.sum()} training samples left out: a near duplicate is validated on"
    return training.where(~near), [remark]


def _check_labels(rows: Samples, what: str, mass: NDArray[np.number]) -> None:
    present = [label for label, amount in zip(rows.labels, mass, strict=True) if amount]
    if len(present) < 2:
        raise DataError(
            f"{rows.name}: its {what} samples show {len(present)} labels "
            f"({', '.join(present) or 'none'}); a classifier needs two or more"
        )


def _held_out(
    rows: Samples, share: float, seed: int, groups: Literal["auto", "none"], near: bool
) -> tuple[NDArray[np.bool_], str]:
    """Choose the rows to validate on; return bool ``(n,)``, and in words how."""
    answers = rows.targets.argmax(axis=1)
    counts = np.bincount(answers)
    rarest = int(counts[counts > 0].min())
    if rarest < 2:
        label = rows.labels[int(np.flatnonzero(counts == rarest)[0])]
        raise DataError(
            f"{rows.name}: {label} has 1 training sample; two or more are needed to hold one out"
        )
    most = min(round(1 / share), rarest)
    if groups == "none":
        held = _fold(answers, np.arange(len(rows)), most, seed)
        return held, "at random: LEAKING wherever samples resemble each other"
    if rows.subjects is not None:
        return _fold(answers, rows.subjects, most, seed), "disjoint by subject"
    # Of data on the disk there is too much to compare each picture with each.
    in_reach = isinstance(rows.images, np.ndarray)
    if near and in_reach and len(np.unique(shots := _shots(rows))) > 1:
        held = _fold(answers, shots, most, seed)
        if _is_fair(answers, held, most):
            return held, "disjoint by near duplicates"
    _, pictures = np.unique(picture_keys(rows.images), return_inverse=True)
    return _fold(answers, pictures, most, seed), "disjoint by picture"


def _fold(
    answers: NDArray[np.int64], groups: NDArray[np.generic], most: int, seed: int
) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: one stratified part of ``most``, of whole groups."""
    from sklearn.model_selection import StratifiedGroupKFold

    number = len(np.unique(groups))
    if number < 2:
        raise DataError(
            "all training samples show one subject or one picture; two or more are needed to hold "
            "some out"
        )
    folds = max(2, min(most, number))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    _, chosen = next(splitter.split(answers, answers, groups))
    held = np.zeros(len(answers), bool)
    held[chosen] = True
    return held


def _shots(rows: Samples) -> NDArray[np.int64]:
    """Return a group number a row: near duplicates, and near duplicates of those, share one."""
    first = first_rows(rows.images)
    return groups_of(near_pairs(rows.images).pairs, len(rows))[first]


def _is_fair(answers: NDArray[np.int64], held: NDArray[np.bool_], folds: int) -> bool:
    """Tell whether each label is on both sides, with half to twice the rows meant to be held."""
    rows = np.bincount(answers)
    out = np.bincount(answers[held], minlength=len(rows))[rows > 0]
    meant = rows[rows > 0] / folds
    return bool(((out >= meant / 2) & (out <= meant * 2) & (out < rows[rows > 0])).all())
