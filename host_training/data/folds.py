"""Folds of a data set: parts that share no subject and no picture."""

import warnings
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from host_training.data.samples import EXCLUDED, Samples, picture_keys
from host_training.errors import DataError

By = Literal["subject", "picture", "random"]
BY: Final[tuple[By, ...]] = ("subject", "picture", "random")


def best_by(rows: Samples) -> By:
    """Return the strictest way that the data allows."""
    return "picture" if rows.subjects is None else "subject"


def assign_folds(rows: Samples, folds: int, by: By, seed: int = 0) -> NDArray[np.int64]:
    """Divide rows into folds that are alike in their labels.

    Args:
        rows: each with an answer to learn or to measure by.
        folds: how many, 2 or more.
        by: what lies in one fold only: ``subject``, with every picture that it shares with others;
            ``picture``, each with its exact copies; ``random``, nothing, which leaks.
        seed: of the choice.

    Returns:
        int64 ``(n,)``: the fold of each row, 0 to ``folds - 1``; none is empty.

    Raises:
        ConfigError: fewer than two folds, or ``subject`` where subjects are not known.
        DataError: fewer groups than folds, or no label with as many rows as there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    if folds < 2:
        raise ConfigError(f"--folds must be 2 or more, got {folds}")
    labels, groups = _strata(rows), _groups(rows, by)
    number = len(np.unique(groups))
    commonest = int(np.bincount(labels).max(initial=0))
    if min(number, commonest) < folds:
        kind = "sample" if by == "random" else by
        raise DataError(
            f"{rows.name}: {number} {kind} groups, {commonest} samples of the commonest emotion; "
            f"too few for {folds} folds"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    fold = np.empty(len(rows), np.int64)
    with warnings.catch_warnings():
        # Of an emotion with fewer rows than folds: some folds have none of it, which is no harm.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for number, (_, held) in enumerate(splitter.split(labels, labels, groups)):
            fold[held] = number
    _check_none_empty(rows, fold, folds)
    return fold


def leak(rows: Samples, fold: NDArray[np.int64]) -> str | None:
    """Say what lies in more than one fold; None where nothing does."""
    found = []
    if rows.subjects is not None and (shared := _shared(rows.subjects, fold)):
        found.append(f"{shared} of {len(np.unique(rows.subjects))} subjects")
    keys = picture_keys(rows.images)
    if shared := _shared(keys, fold):
        found.append(f"{shared} of {len(np.unique(keys))} pictures")
    return f"{' and '.join(found)} are in more than one fold" if found else None


def _shared(names: NDArray[np.generic], fold: NDArray[np.int64]) -> int:
    """Count the names that occur in more than one fold."""
    _, number = np.unique(names, return_inverse=True)
    pairs = np.unique(np.stack((number, fold)), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum())


def _strata(rows: Samples) -> NDArray[np.int64]:
    """Return the answer of each row, or what it leans to where the protocol gives none."""
    leaning = rows.targets.argmax(axis=1)
    return np.asarray(np.where(rows.class_ids == EXCLUDED, leaning, rows.class_ids), np.int64)


def _groups(rows: Samples, by: By) -> NDArray[np.int64]:
    """Number what must stay together."""
    if by == "random":
        return np.arange(len(rows))
    _, pictures = np.unique(picture_keys(rows.images), return_inverse=True)
    if by == "picture":
        return np.asarray(pictures, np.int64)
    if rows.subjects is None:
        raise ConfigError(
            f"--by subject: {rows.name} does not tell who is in its pictures; use --by picture"
        )
    _, subjects = np.unique(rows.subjects, return_inverse=True)
    return _joined(np.asarray(subjects, np.int64), np.asarray(pictures, np.int64))


def _joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the groups of rows that are linked by equal numbers of either kind."""
    groups = first
    while True:  # each pass takes the lowest number of every picture, then of every subject
        lowest = _lowest(_lowest(groups, second), first)
        if (lowest == groups).all():
            return groups
        groups = lowest


def _lowest(values: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the lowest value within its group."""
    lowest = np.full(int(groups.max(initial=-1)) + 1, len(values), np.int64)
    np.minimum.at(lowest, groups, values)
    return lowest[groups]


def _check_none_empty(rows: Samples, fold: NDArray[np.int64], folds: int) -> None:
    if empty := folds - len(np.unique(fold)):
        raise DataError(
            f"{rows.name}: {empty} of {folds} folds would be empty: some groups are too large; "
            "give fewer --folds"
        )


def alike_in_labels(labels: NDArray[np.int64], number: int, seed: int = 0) -> NDArray[np.int64]:
    """Choose rows that are alike in their labels to all of them.

    Args:
        labels: ``(n,)``.
        number: how many to choose, at most n; of every label at least one, where that many are.
        seed: of the choice. A larger number chooses the same rows and more, but for a few.

    Returns:
        int64 ``(number,)``, rising.
    """
    generator = np.random.default_rng(seed)
    # Each row's place within its label, as a share: by it, any number takes of each its share.
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = generator.permutation(len(rows))
        place[rows] = np.where(order == 0, -1.0, (order + generator.random()) / len(rows))
    return np.sort(np.argsort(place, kind="stable")[:number])
