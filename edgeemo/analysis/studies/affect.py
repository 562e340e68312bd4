"""Valence and arousal, derived from the scores of an emotion model: not rated, not measured.

Each emotion has a place on both dimensions, and a face has the mean of these places, weighted by
its scores. The places are people's mean ratings of the words happy, surprised, sad, angry, disgust
and fearful in J. A. Russell and A. Mehrabian, "Evidence for a three-factor theory of emotions",
Journal of Research in Personality 11 (1977), pp. 273-294. Neutral is the origin by convention.
Contempt has no place: its share of the scores is left out.
"""

from collections.abc import Mapping
from typing import Final

VALENCE_AROUSAL: Final = {
    "neutral": (0.0, 0.0),
    "happiness": (0.81, 0.51),
    "surprise": (0.40, 0.67),
    "sadness": (-0.63, -0.27),
    "anger": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
}
"""By emotion: valence and arousal, both in [-1, 1]."""


def valence_arousal(scores: Mapping[str, float]) -> tuple[float, float, float] | None:
    """Return valence, arousal and how sure they are, or None where no score has a place.

    Args:
        scores: by label, not negative.

    Returns:
        valence and arousal in [-1, 1], and the greatest of the scores that they were made of, in
        [0, 1]: of scores that are spread over emotions that are far apart the mean says little.
    """
    placed = {label: score for label, score in scores.items() if label in VALENCE_AROUSAL}
    total = sum(placed.values())
    if total <= 0:
        return None
    valence, arousal = (
        sum(VALENCE_AROUSAL[label][axis] * (score / total) for label, score in placed.items())
        for axis in (0, 1)
    )
    return valence, arousal, max(placed.values())
