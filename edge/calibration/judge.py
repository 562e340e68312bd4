"""Does a calibration help people whom it has not seen, and are the labels to be believed?"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.calibration.choose import calibrate, folds_by_person
from edge.calibration.samples import Labelled
from edge.contract.decision import Intent

MOST_FOLDS: Final = 10
"""Up to so many people, each is held out alone."""
SURE: Final = 0.9
SURE_LABELS: Final = ("happiness", "surprise")
"""What a model that is so sure of it is hardly ever wrong about."""
MOST_CONTRADICTED: Final = 0.25
_FEWEST_CONTRADICTED: Final = 2
_DRAWS: Final = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """The same samples before and after, after each time by a fit without that person.

    Attributes:
        before: under the packaged decision.
        after: under calibrations of the others.
        gain: of accuracy, as a share.
        interval: of the gain, 95 %, by the bootstrap over people.
    """

    before: Labelled
    after: Labelled
    gain: float
    interval: tuple[float, float]

    @property
    def is_gain(self) -> bool:
        """Whether the whole interval lies above zero."""
        return self.interval[0] > 0


def judge(own: Labelled, intent: Intent, general: Labelled | None = None) -> Judgement | None:
    """Hold people out in turn, fit on the others by the whole procedure, its choices included.

    Returns:
        None where it cannot be judged: the samples are of one person, or without one of them are
        of one label only.
    """
    if len(own.persons) < 2:
        return None
    folds = folds_by_person(own.people, MOST_FOLDS)
    scores = np.empty_like(own.scores)
    for fold in np.unique(folds):
        others = own.where(folds != fold)
        if (others.counts > 0).sum() < 2:
            return None
        found = calibrate(others, intent, general)
        scores[folds == fold] = own.where(folds == fold).calibrated(found.calibration).scores
    after = replace(own, scores=scores)
    difference = after.is_right.astype(float) - own.is_right
    return Judgement(
        own, after, float(difference.mean()), interval_by_person(difference, own.people)
    )


def interval_by_person(
    values: NDArray[np.floating], people: NDArray[np.str_]
) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by the bootstrap over people; seeded."""
    _, place = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(place, values), np.bincount(place)
    drawn = np.random.default_rng(0).integers(0, len(sums), (_DRAWS, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class Contradiction:
    """How often labels contradict answers that are hardly ever wrong.

    Attributes:
        sure: samples that the packaged model is sure are happiness or surprise.
        contradicted: bool ``(n,)``: those of them that are labelled otherwise.
        share: of them, over what it would be if labels had nothing to do with pictures: 0 where
            all agree, about 1 where labels are random.
    """

    sure: int
    contradicted: NDArray[np.bool_]
    share: float

    @property
    def is_refused(self) -> bool:
        """Whether the labels cannot be believed."""
        return (
            int(self.contradicted.sum()) >= _FEWEST_CONTRADICTED and self.share > MOST_CONTRADICTED
        )


def contradiction(own: Labelled, labels: tuple[str, ...]) -> Contradiction:
    """Compare labels with the packaged model's surest answers.

    A gain in accuracy does not notice wrong labels: a fit to them answers as they do. The share is
    corrected for chance as Cohen's kappa is (1960): shuffled labels are often right by accident.
    """
    sure_places = [labels.index(label) for label in SURE_LABELS if label in labels]
    top = own.scores.argmax(axis=1)
    sure = np.isin(top, sure_places) & (own.scores.max(axis=1) > SURE)
    contradicted = sure & (own.answers != top)
    if not sure.any():
        return Contradiction(0, contradicted, 0.0)
    by_chance = float((1 - own.counts[top[sure]] / len(own)).mean())
    share = float(contradicted.sum() / sure.sum()) / by_chance if by_chance > 0 else 0.0
    return Contradiction(int(sure.sum()), contradicted, share)
