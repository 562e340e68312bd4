"""Readers for FER2013 in the forms in which it circulates (Goodfellow et al. 2013).

``fer2013.csv`` has the columns ``emotion,pixels,Usage``; ``icml_face_data.csv`` has blanks in its
header names; the challenge's ``train.csv`` and ``test_with_emotions.csv`` have no ``Usage``, and
its ``test.csv`` has no ``emotion`` either. Blank lines say nothing.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import FER2013_EMOTIONS
from host_training.data.csv_file import open_csv
from host_training.errors import DataError

SIDE: Final = 48
PIXELS: Final = SIDE * SIDE
_EXPECTED: Final = "emotion,pixels,Usage as in fer2013.csv"


@dataclass(frozen=True, slots=True, eq=False)
class Fer2013Rows:
    """The rows of a CSV.

    Attributes:
        images: uint8 ``(n, 48, 48)``, grey.
        emotions: int64 ``(n,)`` in FER2013's numbering; None when the file has no such column.
        usage: the split names; None when the file has no such column.
    """

    images: NDArray[np.uint8]
    emotions: NDArray[np.int64] | None
    usage: tuple[str, ...] | None


def read_fer2013(path: Path) -> Fer2013Rows:
    """Read a FER2013 CSV, in any of the forms that ``open_csv`` knows.

    Raises:
        DataError: missing, damaged, without a needed column, or with a row that is not a picture
            of 48 x 48 values in 0..255 and an emotion in 0..6; the row is named, counted from 1
            below the header.
    """
    images: list[NDArray[np.uint8]] = []
    emotions: list[int] = []
    usage: list[str] = []
    with open_csv(path, _EXPECTED) as (header, rows), warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for "not all numbers"
        pixels_at, emotion_at, usage_at = _columns(path, header)
        for number, row in rows:
            where = f"{path}: row {number}"
            if len(row) != len(header):
                raise DataError(f"{where}: {len(row)} columns, the header has {len(header)}")
            images.append(_picture(row[pixels_at], where))
            if emotion_at is not None:
                emotions.append(_emotion(row[emotion_at], where))
            if usage_at is not None:
                usage.append(row[usage_at].strip())
    if not images:
        raise DataError(f"{path}: no rows below the header")
    return Fer2013Rows(
        np.stack(images),
        None if emotion_at is None else np.array(emotions, np.int64),
        None if usage_at is None else tuple(usage),
    )


def _columns(path: Path, header: list[str]) -> tuple[int, int | None, int | None]:
    """Find pixels, emotion and Usage; a file without labels has no other column than these."""
    unlabelled = set(header) <= {"pixels", "usage"}
    for name in ("pixels",) if unlabelled else ("emotion", "pixels"):
        if name not in header:
            names = ", ".join(column[:20] for column in header)[:200]
            raise DataError(
                f"{path}: no column {name!r}, its header has {names}; "
                f"expected {_EXPECTED}, or pixels alone as in test.csv"
            )
    emotion_at = None if unlabelled else header.index("emotion")
    return header.index("pixels"), emotion_at, header.index("usage") if "usage" in header else None


def _emotion(text: str, where: str) -> int:
    number = text.strip()
    if not number.isdecimal() or int(number) >= len(FER2013_EMOTIONS):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(FER2013_EMOTIONS))
        raise DataError(f"{where}: unknown emotion number {number!r}; expected {known}")
    return int(number)


def _picture(text: str, where: str) -> NDArray[np.uint8]:
    try:
        values = np.fromstring(text, np.int32, sep=" ")
    except (DeprecationWarning, ValueError) as error:
        raise DataError(f"{where}: the pixels are not all whole numbers") from error
    if values.size != PIXELS:
        raise DataError(f"{where}: {values.size} pixels, expected {SIDE} x {SIDE} = {PIXELS}")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise DataError(f"{where}: pixel {low if low < 0 else high}, expected 0..255")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
