"""What `edgeemo calibrate` found on labelled pictures: part of a bundle's decision."""

from math import isfinite
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.texts import Text

Intent = Literal["site", "general"]
"""site: for these people and this camera. general: for any faces, these among them."""
CalibrationForm = Literal["bias", "scale", "matrix"]
"""What was fitted: a bias per label and one temperature; a bias and a scale per label; or the whole
last layer of logits, a matrix and a bias per label (vector and matrix scaling of Guo et al., "On
Calibration of Modern Neural Networks", ICML 2017)."""

_MOST: Final = 1e4
_LEAST_PROBABILITY: Final = float(np.finfo(np.float32).tiny)

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A linear map of log scores, and what it was fitted on.

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
        if not all(isfinite(value) and abs(value) <= _MOST for value in values):
            raise ValueError(f"weights and biases must be numbers up to {_MOST:g}")
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
