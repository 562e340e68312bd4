"""Which form and how much rehearsal: chosen inside the samples that are fitted, never outside."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.calibration.fit import Weighed, fit
from edge.calibration.samples import Labelled
from edge.contract.decision import Calibration, CalibrationForm, Intent

MOST_LOST: Final = 0.023
"""What accuracy on general samples may fall by in a fit for general faces, by samples held out of
the rehearsal set. A network has learnt that set, which flatters: on others, the loss is to stay
under 0.03."""
RARER: Final = 0.25
"""General samples count by how many their label has, to the power of minus this: the commonest
labels would otherwise speak for all."""
RICH: Final = 20
"""Samples a label from which more than biases are tried without rehearsal."""
FEWEST_PEOPLE: Final = 3
"""For the same."""
TRUSTED_PEOPLE: Final = 10
"""With fewer, people held out choose between forms by chance: rehearsal holds the matrix then."""
_SHARES: Final = tuple(round(0.05 * step, 2) for step in range(4, 20))
_FORMS: Final[tuple[CalibrationForm, ...]] = ("bias", "scale", "matrix")
_FOLDS: Final = 5
_HALVES: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a fit found.

    Attributes:
        calibration: with nothing yet said of what it was fitted on.
        general: the rehearsal set, each sample under a fit that has not seen it; None without one.
    """

    calibration: Calibration
    general: Labelled | None = None


def calibrate(
    own: Labelled,
    intent: Intent,
    general: Labelled | None = None,
    forms: tuple[CalibrationForm, ...] = _FORMS,
) -> Found:
    """Fit a calibration to one's own samples.

    For ``site``, one's own samples alone decide. For ``general``, the rehearsal set is in the fit,
    with the smallest share of the weight at which samples held out of it lose at most
    ``MOST_LOST``. More than biases are fitted where there is enough for it: ``RICH`` samples a
    label, or rehearsal, of ``FEWEST_PEOPLE``. Of several forms the one with the best log-likelihood
    of people held out is taken.

    Args:
        own: of two labels or more.
        intent: whom it is for.
        general: needed for ``general``.
        forms: to choose from.

    Raises:
        ValueError: ``general`` without a rehearsal set.
    """
    if intent == "site":
        found = {form: _found(own, None, form, 0.0) for form in _worthwhile(own, forms)}
    elif general is None:
        raise ValueError("a calibration for general faces needs a rehearsal set")
    else:
        few = forms[-1:] if len(own.persons) >= FEWEST_PEOPLE else forms[:1]
        worthwhile = forms if len(own.persons) >= TRUSTED_PEOPLE else few
        found = {form: _rehearsed(own, general, form) for form in worthwhile}
    if len(found) == 1:
        return next(iter(found.values()))
    return max(found.values(), key=lambda one: _held_out_likelihood(own, general, one))


def folds_by_person(people: NDArray[np.str_], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each sample ``(n,)``: each person is in one only; one a person if few."""
    persons, place = np.unique(people, return_inverse=True)
    count = min(most, len(persons))
    order = np.random.default_rng(seed).permutation(len(persons))
    return np.asarray((order % count)[place], np.int64)


def _worthwhile(own: Labelled, forms: tuple[CalibrationForm, ...]) -> tuple[CalibrationForm, ...]:
    counts = own.counts[own.counts > 0]
    is_rich = len(own.persons) >= FEWEST_PEOPLE and counts.mean() >= RICH
    return forms if is_rich else forms[:1]


def _rehearsed(own: Labelled, general: Labelled, form: CalibrationForm) -> Found:
    """Fit with the smallest share of rehearsal that keeps the loss in bounds, by bisection."""
    low, high = 0, len(_SHARES) - 1
    held_out = None
    while low < high:
        middle = (low + high) // 2
        tried = _held_out_of_rehearsal(own, general, form, _SHARES[middle])
        if general.accuracy - tried.accuracy <= MOST_LOST:
            high, held_out = middle, tried
        else:
            low = middle + 1
    if held_out is None:  # not even the greatest but one
        held_out = _held_out_of_rehearsal(own, general, form, _SHARES[low])
    return Found(_found(own, general, form, _SHARES[low]).calibration, held_out)


def _held_out_of_rehearsal(
    own: Labelled, general: Labelled, form: CalibrationForm, share: float
) -> Labelled:
    """Return general samples, each half under a fit with the other."""
    half = np.random.default_rng(0).permutation(len(general)) % _HALVES
    scores = np.empty_like(general.scores)
    for one in range(_HALVES):
        found = _found(own, general.where(half != one), form, share)
        scores[half == one] = general.where(half == one).calibrated(found.calibration).scores
    return replace(general, scores=scores)


def _held_out_likelihood(own: Labelled, general: Labelled | None, found: Found) -> float:
    """Return the mean log-likelihood of people held out, under the same form and share."""
    form, share = found.calibration.form, found.calibration.rehearsal_share
    folds = folds_by_person(own.people, _FOLDS)
    total = 0.0
    for fold in np.unique(folds):
        train, test = own.where(folds != fold), own.where(folds == fold)
        if (train.counts > 0).sum() < 2:
            continue
        fitted = _found(train, general if share else None, form, share).calibration
        scores = test.calibrated(fitted).scores[np.arange(len(test)), test.answers]
        total += float(np.log(np.maximum(scores, np.finfo(float).tiny)).sum())
    return total / len(own)


def _found(own: Labelled, general: Labelled | None, form: CalibrationForm, share: float) -> Found:
    n = len(own)
    logs, answers, weights = own.logs, own.answers, np.ones(n)
    if general is not None:
        rare = general.counts[general.answers].astype(float) ** -RARER
        logs = np.concatenate((logs, general.logs))
        answers = np.concatenate((answers, general.answers))
        weights = np.concatenate((weights, share / (1 - share) * n * rare / rare.sum()))
    fitted = np.bincount(answers, minlength=logs.shape[1]) > 0
    matrix, biases = fit(Weighed(logs, answers, weights), form, fitted)
    return Found(
        Calibration(
            intent="general" if share else "site",
            form=form,
            fitted=tuple(map(bool, fitted)),
            weights=tuple(tuple(map(float, row)) for row in np.round(matrix, 5)),
            biases=tuple(map(float, np.round(biases, 5))),
            data="",
            fingerprint="",
            samples=n,
            people=len(own.persons),
            counts=tuple(map(int, own.counts)),
            rehearsal_share=share,
        )
    )
