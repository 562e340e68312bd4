"""FER+ votes: ten people's answers for each row of FER2013.

Source: Barsoum, Zhang, Canton Ferrer, Zhang, "Training Deep Networks for Facial Expression
Recognition with Crowd-Sourced Label Distribution", ICMI 2016, and its ``fer2013new.csv``. As there,
an answer that one person alone gave counts as an outlier and is dropped.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS, FERPLUS_COLUMNS
from host_training.data.csv_file import open_csv
from host_training.data.samples import EXCLUDED
from host_training.errors import DataError

_EXPECTED: Final = "FER+ votes as in fer2013new.csv"

MAJORITY: Final = "majority"
"""The top answer is an emotion and has more than half of the votes that are left."""
PLURALITY: Final = "plurality"
"""The top answer is an emotion and has more votes than any other."""


def read_votes(path: Path) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Read ``fer2013new.csv``.

    Returns:
        The ``Usage`` of each row, and int64 ``(n, 10)``: its votes in the order of
        ``FERPLUS_COLUMNS``.

    Raises:
        DataError: missing, without a needed column, or with a row that does not hold vote counts.
    """
    usage: list[str] = []
    votes: list[list[int]] = []
    with open_csv(path, _EXPECTED) as (header, rows):
        columns = _columns(path, header)
        for number, row in rows:
            try:
                usage.append(row[columns[0]].strip())
                votes.append([int(row[column]) for column in columns[1:]])
            except (IndexError, ValueError) as error:
                raise DataError(
                    f"{path}: row {number}: not ten numbers of votes ({error})"
                ) from error
            if min(votes[-1]) < 0:
                raise DataError(f"{path}: row {number}: negative number of votes")
    return tuple(usage), np.array(votes, np.int64).reshape(-1, len(FERPLUS_COLUMNS))


def without_outliers(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the votes ``(n, 10)`` with answers of one person alone set to zero."""
    return np.where(votes > 1, votes, 0)


def training_targets(votes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return what to train towards: the distribution of the votes over the eight emotions.

    Args:
        votes: ``(n, 10)`` as read.

    Returns:
        float32 ``(n, 8)``; rows sum to 1, or to 0 where the top answer is no emotion (or ties
        with "unknown" or "not a face").
    """
    kept = without_outliers(votes)
    emotions = kept[:, : len(EMOTIONS)].astype(np.float64)
    fit = emotions.max(axis=1, initial=0) > kept[:, len(EMOTIONS) :].max(axis=1, initial=0)
    total = emotions.sum(axis=1, keepdims=True)
    shares = np.divide(emotions, total, out=np.zeros_like(emotions), where=total > 0)
    return np.where(fit[:, None], shares, 0).astype(np.float32)


def hard_labels(votes: NDArray[np.int64], protocol: str) -> NDArray[np.int64]:
    """Return the one right answer of each row under a protocol.

    Args:
        votes: ``(n, 10)`` as read.
        protocol: ``majority`` or ``plurality``.

    Returns:
        int64 ``(n,)``: an index into ``EMOTIONS``, or ``EXCLUDED``.
    """
    kept = without_outliers(votes)
    top = kept.argmax(axis=1)
    most = kept.max(axis=1)
    fit = (top < len(EMOTIONS)) & (most > 0)
    if protocol == MAJORITY:
        fit &= 2 * most > kept.sum(axis=1)
    elif protocol == PLURALITY:
        fit &= (kept == most[:, None]).sum(axis=1) == 1
    else:
        raise ValueError(f"protocol must be {MAJORITY} or {PLURALITY}, got {protocol!r}")
    return np.where(fit, top, EXCLUDED)


def _columns(path: Path, header: list[str]) -> list[int]:
    """Find ``Usage`` and the vote columns; the published file also names the pictures."""
    wanted = ["usage", *(name.lower() for name in FERPLUS_COLUMNS)]
    if missing := [name for name in wanted if name not in header]:
        raise DataError(f"{path}: no column {', '.join(missing)}; expected {_EXPECTED}")
    return [header.index(name) for name in wanted]
