"""Temperature scaling: one number that makes a network's confidence honest.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import log_probabilities

LOWEST: Final = 0.1
HIGHEST: Final = 10.0
"""No temperature outside is given: it would only say that the rows cannot tell."""

_HALVINGS: Final = 40


def fit_temperature(probabilities: NDArray[np.floating], answers: NDArray[np.integer]) -> float:
    """Return the temperature under which the right answers are likeliest.

    It minimises the negative log-likelihood of ``temper(probabilities, T)``. That is convex in
    1 / T, and the sign of its slope is bisected.

    Args:
        probabilities: ``(n, k)``, a network's answers, adjusted by tau where the decision has one,
            not tempered. Samples of several kinds, such as clean and corrupted ones, are
            concatenated; each counts once.
        answers: int ``(n,)``, the right ones in 0..k-1.

    Returns:
        ``LOWEST`` to ``HIGHEST``: above 1 for an overconfident network, under 1 for one
        that is not sure enough, ``LOWEST`` where all answers are right.

    Raises:
        ValueError: no rows, or shapes that do not fit.
    """
    n = len(probabilities)
    if n == 0 or probabilities.ndim != 2 or answers.shape != (n,):
        raise ValueError(f"{probabilities.shape} probabilities for {answers.shape} answers")
    # Logits but for a constant a row, which the softmax takes away again.
    logits = log_probabilities(probabilities)
    of_answers = logits[np.arange(n), answers].mean()
    low, high = np.log(LOWEST), np.log(HIGHEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _expected_logit(logits, float(np.exp(-middle))) > of_answers:
            low = middle  # it expects more of its answers than they hold: too sure
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _expected_logit(logits: NDArray[np.float64], inverse: float) -> float:
    """Return the mean over rows of the logit that ``softmax(logits * inverse)`` expects."""
    weights = np.exp((logits - logits.max(axis=1, keepdims=True)) * inverse)
    return float(((weights * logits).sum(axis=1) / weights.sum(axis=1)).mean())
