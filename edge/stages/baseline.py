"""A track's own resting face, taken off its scores: ``smoothing.baseline = "track"``.

Some faces look sad or angry at rest. What a network says of a track while it most likely shows no
emotion is averaged, and how that differs from what it says of neutral faces in general is taken
off every score of the track. It is never carried to another track: nobody is recognised.
"""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import log_probabilities, softmax
from edge.records import EmotionEstimate

_HALF_KNOWN_S: Final = 5.0
"""After so many seconds of a resting face half of the difference is taken off."""
_LONGEST_STEP_S: Final = 1.0
"""A gap between two frames counts as this much at most."""

Array = NDArray[np.float64]


class _Rest(msgspec.Struct, eq=False):
    """What is known of a track: the weighted sum of log scores ``(k,)``, and seconds at rest."""

    logs: Array
    rest_s: float
    t_s: float


class TrackBaseline:
    """Learns the resting face of each track, and corrects the track's scores by it.

    Args:
        general: float ``(n, k)``, scores of samples of many people.
        neutral: which of the labels is the resting face.
    """

    def __init__(self, general: NDArray[np.floating], neutral: int) -> None:
        weights = np.asarray(general[:, neutral], np.float64)
        self._expected: Array = weights @ log_probabilities(general) / weights.sum()
        self._neutral = neutral
        self._tracks: dict[int, _Rest] = {}

    def corrected(self, track_id: int, estimate: EmotionEstimate, t_s: float) -> EmotionEstimate:
        """Take a track's next estimate and return it without the track's own lean.

        Each frame weighs as much as it lasts and as it looks neutral.
        """
        logs = log_probabilities(estimate.scores)
        rest = self._tracks.setdefault(track_id, _Rest(np.zeros_like(logs), 0.0, t_s))
        seconds = min(t_s - rest.t_s, _LONGEST_STEP_S) * float(estimate.scores[self._neutral])
        rest.logs += seconds * logs
        rest.rest_s += seconds
        rest.t_s = t_s
        if rest.rest_s == 0:
            return estimate
        known = rest.rest_s / (rest.rest_s + _HALF_KNOWN_S)
        lean = rest.logs / rest.rest_s - self._expected
        scores = softmax(logs - known * lean)
        return EmotionEstimate(estimate.labels, np.asarray(scores, np.float32))

    def forget(self, track_id: int) -> None:
        """Drop a track that has ended."""
        self._tracks.pop(track_id, None)
