"""From a network's output to scores, and from scores to the answer: the one place for both.

Device, conversion, evaluation, parity and golden vectors all come here, so that a figure measured
on the workstation is one of the answers that the device gives.
"""

from math import isfinite
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import Text

Intent = Literal["site", "general"]
"""site: for these people and this camera. general: for any faces, these among them."""
CalibrationForm = Literal["bias", "scale", "matrix"]
"""What was fitted: a bias per label and one temperature; a bias and a scale per label; or the whole
last layer of logits, a matrix and a bias per label (vector and matrix scaling of Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017)."""

_MOST_WEIGHT: Final = 1e4
_LEAST_PROBABILITY: Final = float(np.finfo(np.float32).tiny)

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `edgeemo calibrate` found on labelled pictures: a linear map of log scores.

    ``q = softmax(weights @ log(p) + biases)`` over the labels that were fitted, where ``p`` are the
    packaged decision's scores. A label that the pictures lacked keeps its packaged score to the
    digit: the fitted ones share what is left.

    Attributes:
        intent: whom it is for.
        form: what was fitted.
        fitted: which labels it speaks of, in their order.
        weights: ``(k, k)``.
        biases: ``(k,)``.
        data: the name of the pictures' folder.
        fingerprint: SHA-256 of crops, labels and people, in order.
        samples: pictures.
        people: in them.
        counts: pictures of each label, in their order.
        rehearsal_share: of the weight that general samples had in the fit; 0 for none.
        gain: what accuracy gained on people held out, as a share; None where it was not judged.
        gain_interval: 95 %, by the bootstrap over people.
        general_loss: what accuracy lost on general samples, as a share; None where not known.
        forced: written although no gain was shown.
        created_at: UTC, ISO 8601.
    """

    intent: Intent
    form: CalibrationForm
    fitted: tuple[bool, ...]
    weights: tuple[tuple[float, ...], ...]
    biases: tuple[float, ...]
    data: Text
    fingerprint: Text
    samples: _Count
    people: _Count
    counts: tuple[_Count, ...]
    rehearsal_share: float = 0.0
    gain: float | None = None
    gain_interval: tuple[float, float] | None = None
    general_loss: float | None = None
    forced: bool = False
    created_at: Text = ""

    def __post_init__(self) -> None:
        k = len(self.fitted)
        if len(self.weights) != k or {len(row) for row in self.weights} != {k}:
            raise ValueError(f"a calibration of {k} labels needs {k} x {k} weights")
        if len(self.biases) != k or len(self.counts) != k:
            raise ValueError(f"a calibration of {k} labels needs {k} biases and counts")
        values = [*self.biases, *(weight for row in self.weights for weight in row)]
        if not all(isfinite(value) and abs(value) <= _MOST_WEIGHT for value in values):
            raise ValueError(f"weights and biases must be numbers up to {_MOST_WEIGHT:g}")
        if sum(self.fitted) < 2:
            raise ValueError("a calibration speaks of two or more labels")

    def applied(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the scores ``(..., k)`` that it makes of the packaged ones; rows sum to 1."""
        p = np.asarray(scores, np.float64)
        fitted = np.array(self.fitted)
        logs = np.log(np.maximum(p, _LEAST_PROBABILITY))
        moved = (logs @ np.array(self.weights).T + np.array(self.biases))[..., fitted]
        exp = np.exp(moved - moved.max(axis=-1, keepdims=True))
        share = p[..., fitted].sum(axis=-1, keepdims=True)
        result = p.copy()
        result[..., fitted] = share * exp / exp.sum(axis=-1, keepdims=True)
        return np.asarray(result)

    def summary(self) -> str:
        """Return whom it is for and what it was fitted on, in a few words."""
        people = "1 person" if self.people == 1 else f"{self.people} people"
        return (
            f"for {self.intent}, {self.form} fitted on {self.data}: {self.samples:,} pictures of "
            f"{people} ({self.fingerprint[:12]})"
        )


MOST_TAU: Final = 2.0
"""At 1 all labels count alike; beyond, the rare ones count more."""
LEAST_SHARE: Final = 0.001
"""A smaller share of the prior counts as this one, 0 too: a label that the training samples hardly
show, or do not show at all, is raised by at most 6.9 tau above one that they show alone."""
LEAST_TEMPERATURE: Final = 0.01
MOST_TEMPERATURE: Final = 100.0

_SUM_TOLERANCE: Final = 0.01


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the logits of a network become scores.

    ``softmax((logits - tau * log(prior)) / temperature)``: the post-hoc logit adjustment of Menon
    et al., "Long-tail learning via logit adjustment" (arXiv 2007.07314), then temperature scaling
    (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), then what `edgeemo
    calibrate` fitted, if anything.

    Attributes:
        tau: how much of the prior is taken away, 0 to ``MOST_TAU``.
        prior: share of each label in the training samples, in the order of the labels; empty where
            it is not known, and tau is then 0. See ``LEAST_SHARE``.
        prior_from: which samples these are, in words.
        temperature: above 1 lowers confidence, below 1 raises it; the answer stays the same.
        temperature_from: which samples it was fitted on, in words.
        calibration: fitted on labelled pictures of one's own; None for the packaged decision.
    """

    tau: float = 0.0
    prior: tuple[float, ...] = ()
    prior_from: Text = ""
    temperature: float = 1.0
    temperature_from: Text = ""
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= MOST_TAU:
            raise ValueError(f"tau must lie in 0 to {MOST_TAU:g}, got {self.tau}")
        if not LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE:
            raise ValueError(
                f"temperature must lie in {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}, "
                f"got {self.temperature}"
            )
        if any(not (isfinite(share) and 0 <= share <= 1) for share in self.prior) or (
            self.prior and abs(sum(self.prior) - 1) > _SUM_TOLERANCE
        ):
            raise ValueError(f"prior must be shares that sum to 1, got {list(self.prior)}")
        if self.tau and not self.prior:
            raise ValueError(f"tau {self.tau:g} needs a prior, there is none")

    def scores(self, logits: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the scores of logits, or of the logarithms of probabilities.

        Args:
            logits: ``(..., k)``; a constant added to a row changes nothing.

        Returns:
            float32 ``(..., k)``; each row sums to 1.
        """
        scores = softmax(self._moved(logits) / self.temperature)
        if self.calibration is not None:
            scores = self.calibration.applied(scores)
        return np.asarray(scores, np.float32)

    def adjusted(self, probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return probabilities ``(..., k)`` under tau and calibration, not tempered.

        ``temper`` at the decision's temperature makes its scores of them.
        """
        logs = log_probabilities(probabilities)
        if self.calibration is not None:
            return softmax(log_probabilities(self.scores(logs)) * self.temperature)
        return softmax(self._moved(logs)) if self.tau else probabilities

    def _moved(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        moved = np.asarray(logits, np.float64)
        if not self.tau:
            return moved
        return np.asarray(moved - self.tau * np.log(np.maximum(self.prior, LEAST_SHARE)))

    @property
    def packaged(self) -> "Decision":
        """The decision without a calibration."""
        return msgspec.structs.replace(self, calibration=None)

    def with_tau(self, tau: float | None) -> "Decision":
        """Return the same with another tau; None for its own.

        Raises:
            ValueError: out of bounds, or there is no prior.
        """
        return self if tau is None else msgspec.structs.replace(self, tau=tau)


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the probabilities of logits ``(..., k)``."""
    exp = np.exp(np.asarray(logits, np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))


def temper(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float32]:
    """Apply temperature scaling to probabilities ``(..., k)``: ``softmax(log(p) / T)``.

    It equals ``softmax(logits / T)``.

    Raises:
        ValueError: the temperature is out of bounds.
    """
    return Decision(temperature=temperature).scores(log_probabilities(probabilities))


def log_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities ``(..., k)``; of 0, that of the least float32."""
    return np.log(np.maximum(np.asarray(probabilities, np.float64), _LEAST_PROBABILITY))


def leading(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the index of each row's greatest score: of equal ones the last, the rarer emotion.

    The two greatest int8 logits are equal in one face of 175. NumPy takes the first of them, mostly
    neutral, and that was most of what int8 cost (docs/quantisation.md): labels stand in canonical
    order, the common emotions first.

    Args:
        scores: ``(..., k)``, in canonical order of their labels.
    """
    return np.asarray(scores.shape[-1] - 1 - np.argmax(scores[..., ::-1], axis=-1), np.intp)
