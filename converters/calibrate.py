"""Choosing the real pictures that the int8 ranges are measured on."""

import hashlib
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.rows import LabelledImages
from edge.contract.metadata import Dataset

DEFAULT_ROWS: Final = 400


def choose_calibration(
    rows: LabelledImages, count: int = DEFAULT_ROWS, seed: int = 0
) -> LabelledImages:
    """Choose class-balanced pictures, the same ones for the same rows and seed.

    A converter measures the range of every activation on these pictures. An unbalanced choice
    starves the rare emotions, noise stretches the ranges to values that no face produces.

    The first picture's first two pixels are set to 0 and 255: so the range of the input is exactly
    that of a pixel, its int8 scale 1 and its zero point -128 (``edge.contract.quantize.PIXELS``).

    Args:
        rows: real training rows.
        count: how many pictures; all of them when there are fewer.
        seed: of the choice within each class.

    Returns:
        The chosen rows, copied, with a fingerprint of their own.

    Raises:
        ConversionError: there are no rows, or ``count`` is not positive.
    """
    if count < 1 or not len(rows):
        raise ConversionError(
            f"calibration needs real training rows, got {len(rows)} and was asked for {count}"
        )
    chosen = balanced_choice(rows.labels, count, seed)
    images, labels = rows.images[chosen], rows.labels[chosen]
    images[0, 0, :2] = (0, 255)
    dataset = Dataset(
        name=rows.dataset.name,
        split=rows.dataset.split,
        rows=len(chosen),
        fingerprint=_fingerprint(images, labels, rows.label_names),
    )
    return replace(rows, images=images, labels=labels, dataset=dataset)


def balanced_choice(labels: NDArray[np.integer], count: int, seed: int) -> NDArray[np.int64]:
    """Return ``min(count, n)`` different indexes, each class equally often as far as it reaches.

    The indexes alternate between the classes, so that any prefix is balanced as well.
    """
    rng = np.random.default_rng(seed)
    rank = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = rng.permutation(len(members))
    return np.lexsort((labels, rank))[:count]


def _fingerprint(
    images: NDArray[np.uint8], labels: NDArray[np.integer], label_names: tuple[str, ...]
) -> str:
    digest = hashlib.sha256(",".join(label_names).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, "<i8").data)
    return digest.hexdigest()
