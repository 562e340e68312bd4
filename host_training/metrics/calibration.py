"""Calibration measured soundly: no row is judged under a temperature that it helped to fit."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import temper
from edge.contract.temperature import fit_temperature
from edge.errors import ConfigError
from host_training.data.folds import assign_folds, best_by
from host_training.data.samples import Samples, picture_keys
from host_training.errors import DataError
from host_training.metrics.predict import Predictions

FEWEST: Final = 10
"""Fewer rows are not asked for a temperature."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Temperatures, and the measured rows under them.

    Attributes:
        temperature: fitted on all calibration rows: the one to use.
        temperatures: those that the measured rows were judged under.
        tempered: float32 ``(n, k)``: each measured row under one that it did not fit.
        fitted_on: which rows fitted it, in words.
    """

    temperature: float
    temperatures: tuple[float, ...]
    tempered: NDArray[np.float32]
    fitted_on: str


def cross_fitted(answers: Predictions, seed: int = 0) -> Calibration | None:
    """Fit a temperature on each half of the rows and judge the other half under it.

    Args:
        answers: to the measured rows.
        seed: of the halves, which are alike in their labels and disjoint by subject where subjects
            are known, by picture otherwise.

    Returns:
        None where a half would have fewer than ``FEWEST`` rows.
    """
    by = best_by(answers.rows)
    try:
        half = assign_folds(answers.rows, 2, by, seed)
    except DataError:  # one subject only, or one row of each emotion
        return None
    if np.bincount(half).min() < FEWEST:
        return None
    tempered = np.empty_like(answers.probabilities)
    temperatures = []
    for fitting in (0, 1):
        own, other = half == fitting, half != fitting
        temperatures.append(fit_temperature(answers.probabilities[own], answers.right[own]))
        tempered[other] = temper(answers.probabilities[other], temperatures[-1])
    sizes = np.bincount(half)
    return Calibration(
        fit_temperature(answers.probabilities, answers.right),
        tuple(temperatures),
        tempered,
        f"each half of these samples ({sizes[0]} and {sizes[1]}, disjoint by {by}, seed {seed}), "
        "measured on the other",
    )


def fitted_elsewhere(answers: Predictions, other: Predictions) -> Calibration:
    """Fit one temperature on other rows and judge all measured ones under it.

    Args:
        answers: to the measured rows.
        other: to the calibration rows, from ``calibration_mask``.
    """
    temperature = fit_temperature(other.probabilities, other.right)
    return Calibration(
        temperature,
        (temperature,),
        temper(answers.probabilities, temperature),
        f"{len(other.rows)} samples of {'+'.join(other.rows.splits)}",
    )


def calibration_mask(
    samples: Samples, split: str, measured: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: the rows of a split that may fit a temperature for the measured ones.

    Rows that show the very picture of a measured row are left out.

    Raises:
        ConfigError: rows of that split are measured.
        DataError: there is no such split, or fewer than ``FEWEST`` rows are left of it.
    """
    samples.check_split(split)
    chosen = samples.split == split
    if (chosen & measured).any():
        raise ConfigError(
            f"--calibrate-on {split}: these samples are measured; a temperature must be fitted on "
            "others: name another split, or leave the option out"
        )
    keys = picture_keys(samples.images)
    mask = np.asarray(chosen & samples.measurable & ~np.isin(keys, keys[measured]))
    if mask.sum() < FEWEST:
        raise DataError(
            f"--calibrate-on {split}: {mask.sum()} samples are left; a temperature takes {FEWEST} "
            "or more"
        )
    return mask
