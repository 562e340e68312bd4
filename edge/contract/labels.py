"""The canonical emotion labels and the names that data sets use for them."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Final

import msgspec

from edge.errors import LabelError

_PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]*\Z"
"""No control characters."""

Text = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, max_length=1000)]
NonEmptyText = Annotated[str, msgspec.Meta(pattern=_PRINTABLE, min_length=1, max_length=1000)]


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


_OWN: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""A class of one's own: a key of records and a part of file names, so nothing else is in it."""
_NUMBERED: Final = re.compile(r"\d+\s*[-_. ]\s*(?P<name>\D.*)")
"""A class folder with its number in front: 3_happy, 03-happy, 3. happy."""
_TOO_CLOSE: Final = 0.8


def is_label(name: str) -> bool:
    """Tell what a model's output may be called: an emotion, or a class of one's own."""
    return name in EMOTIONS or (_OWN.fullmatch(name) is not None and name != UNCERTAIN)


def label_of(name: str, names: Mapping[str, str] | None = None) -> str:
    """Return the label for a data set's name of a class: an emotion's canonical name, or its own.

    Blanks become hyphens and capitals small letters. A name that is nearly an emotion's is taken
    for a slip of the pen, unless ``names`` says that it is meant.

    Args:
        name: as it is spelt.
        names: labels by such names.

    Raises:
        LabelError: no label can be called so, or it looks mistyped.
    """
    if names and name.strip() in names:
        label = names[name.strip()]
        try:
            return canonical(label)
        except LabelError:
            return _own(label)
    try:
        return canonical(name)
    except LabelError:
        label = _own(name)
    from difflib import get_close_matches  # for names that are not known

    if near := get_close_matches(label, (*EMOTIONS, *_ALIASES), 1, _TOO_CLOSE):
        raise LabelError(
            f"class {name!r} looks like a mistyped {near[0]}; rename it, or say what it is with "
            f"--map {name}={near[0]} or --map {name}={label}"
        )
    return label


def stripped_of_number(folder: str) -> str:
    """Return a class folder's name without the number that some put in front."""
    numbered = _NUMBERED.fullmatch(folder)
    return numbered["name"] if numbered else folder


def _own(name: str) -> str:
    label = re.sub(r"\s+", "-", name.strip().lower())
    if not is_label(label):
        raise LabelError(
            f"{name!r} cannot be a class; expected one of {', '.join(EMOTIONS)}, a common spelling "
            f"({', '.join(sorted(_ALIASES))}), or a name of your own: a letter, then at most 31 "
            f"letters, digits, - and _, and not {UNCERTAIN}"
        )
    return label


def in_canonical_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct labels: the emotions in canonical order, then others by the alphabet."""
    present = {label_of(label, {label: label}) for label in labels}
    emotions = tuple(label for label in EMOTIONS if label in present)
    return (*emotions, *sorted(present - set(emotions)))
