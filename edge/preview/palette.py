"""One colour for each emotion, in the report, on the live page and in drawn pictures.

Two of each: for text and shapes on light ground, with a contrast of 4.5 to white, and on dark
ground. ``edge/view/static/view.css`` has the same, held to these by a test. Colour is never all
that tells an emotion: its name stands beside it.
"""

from typing import Final

LIGHT: Final = {
    "neutral": "#68707a",
    "happiness": "#a96f00",
    "surprise": "#c2510c",
    "sadness": "#1f6fb2",
    "anger": "#c02727",
    "disgust": "#2e7d32",
    "fear": "#8e3a97",
    "contempt": "#0b7478",
    "uncertain": "#7d8288",
}
DARK: Final = {
    "neutral": "#bec8cd",
    "happiness": "#fac846",
    "surprise": "#ff8c50",
    "sadness": "#62aef0",
    "anger": "#f4695f",
    "disgust": "#6ebe6e",
    "fear": "#c98be4",
    "contempt": "#4bb9be",
    "uncertain": "#9aa1a8",
}
