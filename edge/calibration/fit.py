"""The fit: multinomial logistic regression from log scores to labels, drawn towards no change."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import CalibrationForm, softmax

STRENGTH: Final = 1.0
"""Of the pull towards no change: half of it times the squared change, in nats, against the sum of
the samples' losses. Ten pictures of a label can move it, two hardly can."""

_MOST_STEPS: Final = 40
_SHORTEST_STEP: Final = 1e-6
_SETTLED: Final = 1e-6

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Weighed:
    """Samples with the weight that each has in a fit.

    Attributes:
        logs: float64 ``(n, k)``, logarithms of the packaged decision's scores.
        answers: int ``(n,)``, the right labels.
        weights: float64 ``(n,)``.
    """

    logs: Array
    answers: NDArray[np.integer]
    weights: Array


def fit(samples: Weighed, form: CalibrationForm, fitted: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the weights ``(k, k)`` and biases ``(k,)`` under which the answers are likeliest.

    The loss over the fitted labels is convex in what the form lets change, and Newton's method
    with halved steps finds its minimum. A label that is not fitted keeps the row of the identity.

    Args:
        samples: all of fitted labels.
        form: what may change.
        fitted: bool ``(k,)``, two or more.
    """
    k, labels = len(fitted), np.flatnonzero(fitted)
    features = np.hstack((samples.logs, np.ones((len(samples.logs), 1))))
    outer = (features[:, :, None] * features[:, None, :]).reshape(len(features), -1)
    start = np.eye(k, k + 1)[labels]
    free = _free(form, start)
    places = np.searchsorted(labels, samples.answers)
    right = np.eye(len(labels))[places]

    def layer(change: Array) -> Array:
        return np.asarray(start + (free @ change).reshape(start.shape))

    def loss(change: Array) -> tuple[float, Array]:
        p = softmax(features @ layer(change).T)
        of_right = np.maximum(p[np.arange(len(p)), places], np.finfo(float).tiny)
        penalty = STRENGTH / 2 * float(change @ change)
        return penalty - float(samples.weights @ np.log(of_right)), p

    change = np.zeros(free.shape[1])
    value, p = loss(change)
    for _ in range(_MOST_STEPS):
        slope = free.T @ (((p - right) * samples.weights[:, None]).T @ features).ravel()
        curve = free.T @ _curvature(p, samples.weights, outer) @ free
        curve += STRENGTH * np.eye(len(change))
        step = np.linalg.solve(curve, slope + STRENGTH * change)
        size = 1.0
        while (there := loss(change - size * step))[0] > value and size > _SHORTEST_STEP:
            size /= 2
        gained, change = value - there[0], change - size * step
        value, p = there
        if gained < _SETTLED * max(1.0, abs(value)):
            break
    whole = np.eye(k, k + 1)
    whole[labels] = layer(change)
    return whole[:, :k], whole[:, k]


def _free(form: CalibrationForm, start: Array) -> Array:
    """Return what may change as columns ``(c * (k + 1), parameters)`` of a flattened layer."""
    rows, width = start.shape
    biases = [np.eye(rows * width)[row * width + width - 1] for row in range(rows)]
    if form == "bias":
        return np.stack([*biases, start.ravel()], axis=1)  # the last one is 1 / temperature
    own = np.flatnonzero(start.ravel())
    inner = own if form == "scale" else np.arange(rows * width).reshape(rows, width)[:, :-1].ravel()
    return np.concatenate((np.stack(biases, axis=1), np.eye(rows * width)[:, inner]), axis=1)


def _curvature(p: Array, weights: Array, outer: Array) -> Array:
    """Return the Hessian of the loss in a flattened layer."""
    n, rows = p.shape
    width = round(outer.shape[1] ** 0.5)
    between = -(weights[:, None, None] * p[:, :, None] * p[:, None, :])
    between[:, np.arange(rows), np.arange(rows)] += weights[:, None] * p
    blocks = (between.reshape(n, -1).T @ outer).reshape(rows, rows, width, width)
    return np.asarray(blocks.transpose(0, 2, 1, 3).reshape(rows * width, rows * width))
