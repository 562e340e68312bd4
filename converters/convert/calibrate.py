"""Choosing the real pictures that the int8 ranges are measured on."""

import hashlib
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.model.model_file import TrainedModel
from edge.contract.mesh_features import FEATURE_MAX, FEATURE_MIN
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
            f"calibration needs real training samples, got {len(rows)} and was asked for {count}"
        )
    chosen = rows[balanced_choice(rows.labels, count, seed)]
    chosen.images[0, 0, :2] = (0, 255)
    dataset = Dataset(
        name=rows.dataset.name,
        split=rows.dataset.split,
        rows=len(chosen),
        fingerprint=_fingerprint(chosen),
    )
    return replace(chosen, dataset=dataset)


def calibration_inputs(
    trained: TrainedModel, rows: LabelledImages
) -> tuple[NDArray[np.float32], ...]:
    """Return what the model is calibrated with, see ``TrainedModel.inputs``.

    The first row's first two mesh features are set to the least and the greatest that there is, so
    that their int8 scale is exactly 1/32 and their zero point 0
    (``edge.contract.mesh_features.FEATURES``).
    """
    inputs = trained.inputs(rows)
    for kind, values in zip(trained.kinds, inputs, strict=True):
        if kind == "mesh":
            values[0, :2] = (FEATURE_MIN, FEATURE_MAX)
    return inputs


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


def _fingerprint(rows: LabelledImages) -> str:
    digest = hashlib.sha256(",".join(rows.label_names).encode())
    digest.update(np.ascontiguousarray(rows.images).data)
    digest.update(np.ascontiguousarray(rows.labels, "<i8").data)
    if rows.mesh is not None:
        digest.update(np.ascontiguousarray(rows.mesh, "<f4").data)
    return digest.hexdigest()
