"""Labelled samples as a calibration takes them, and what it makes of general ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import Calibration, Decision, leading, log_probabilities
from edge.contract.rehearsal import Rehearsal

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """What the packaged decision says of ``n`` samples, and what is right.

    Attributes:
        scores: float64 ``(n, k)``, rows sum to 1.
        answers: int64 ``(n,)``, indices of the right labels.
        people: str ``(n,)``: who is in each; general samples are each of somebody else.
    """

    scores: Array
    answers: NDArray[np.int64]
    people: NDArray[np.str_]

    @classmethod
    def general(cls, rehearsal: Rehearsal, decision: Decision) -> "Labelled":
        """Return a bundle's rehearsal set under its packaged decision."""
        scores = np.asarray(decision.packaged.scores(rehearsal.logits), np.float64)
        people = np.array([f"general {i}" for i in range(len(scores))])
        return cls(scores, rehearsal.answers, people)

    @property
    def logs(self) -> Array:
        """Logarithms of the scores, ``(n, k)``."""
        return log_probabilities(self.scores)

    @property
    def persons(self) -> NDArray[np.str_]:
        """Everybody, once."""
        return np.unique(self.people)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each label, ``(k,)``."""
        return np.bincount(self.answers, minlength=self.scores.shape[1])

    def __len__(self) -> int:
        return len(self.answers)

    def where(self, mask: NDArray[np.bool_]) -> "Labelled":
        """Return the samples where ``mask`` is true."""
        return Labelled(self.scores[mask], self.answers[mask], self.people[mask])

    def calibrated(self, calibration: Calibration) -> "Labelled":
        """Return them with the scores that a calibration makes."""
        return Labelled(calibration.applied(self.scores), self.answers, self.people)

    @property
    def is_right(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: the greatest score is the right label's."""
        return np.asarray(leading(self.scores) == self.answers)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.is_right.mean())

    @property
    def recall(self) -> dict[int, float]:
        """By label, those that occur."""
        right = self.is_right
        present = np.unique(self.answers)
        return {int(label): float(right[self.answers == label].mean()) for label in present}

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the labels that occur."""
        return float(np.mean(list(self.recall.values())))

    def among_present(self) -> "Labelled":
        """Return them with answers among the labels that occur only."""
        absent = self.counts == 0
        scores = np.where(absent, 0.0, self.scores)
        total = np.maximum(scores.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        return Labelled(scores / total, self.answers, self.people)
