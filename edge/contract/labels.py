"""The canonical emotion labels and the names that data sets use for them."""

from collections.abc import Iterable
from typing import Final

from edge.errors import LabelError

EMOTIONS: Final = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""The eight basic emotions, in the order that every model output follows (FER+ order)."""

UNCERTAIN: Final = "uncertain"
"""The state of a face for which no emotion is confident enough. Never a model output."""

FER2013_EMOTIONS: Final = (
    "anger",
    "disgust",
    "fear",
    "happiness",
    "sadness",
    "surprise",
    "neutral",
)
"""FER2013's numbers 0..6 (Goodfellow et al. 2013), as canonical names."""

FERPLUS_COLUMNS: Final = (*EMOTIONS, "unknown", "NF")
"""The vote columns of ``fer2013new.csv`` (Barsoum et al. 2016), in order."""

_ALIASES: Final = {
    "angry": "anger",
    "contemptuous": "contempt",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "happy": "happiness",
    "joy": "happiness",
    "neutrality": "neutral",
    "sad": "sadness",
    "surprised": "surprise",
}


def canonical(name: str) -> str:
    """Return the canonical label for a data set's spelling of it (``"Happy"`` -> ``"happiness"``).

    Raises:
        LabelError: the name is not a known spelling of one of ``EMOTIONS``.
    """
    key = name.strip().lower()
    label = _ALIASES.get(key, key)
    if label not in EMOTIONS:
        raise LabelError(
            f"unknown emotion {name!r}; expected one of {', '.join(EMOTIONS)} "
            f"or a common spelling ({', '.join(sorted(_ALIASES))})"
        )
    return label


def in_canonical_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct canonical labels among ``labels``, in canonical order."""
    present = {canonical(label) for label in labels}
    return tuple(label for label in EMOTIONS if label in present)
