"""One colour for each emotion, in the report, on the live page and in drawn pictures.

Two of each: for text and shapes on light ground, with a contrast of 4.5 to white, and on dark
ground. ``edge/view/static/view.css`` has the same, held to these by a test. Colour is never all
that tells an emotion: its name stands beside it.

A class of one's own has the hue that its name's CRC-32 gives, everywhere and for ever.
``edge/view/static/colors.js`` computes the same.
"""

import zlib
from colorsys import hls_to_rgb
from typing import Final

from edge.contract.labels import is_label

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

OTHER: Final = "#777777"
"""Of what is no label at all."""
_SATURATION: Final = 0.65
_LIGHT_GROUND: Final = 0.28
_DARK_GROUND: Final = 0.72


def own_hue(label: str) -> int:
    """Return the hue of a class of one's own, 0 to 359 degrees: its CRC-32 modulo 360."""
    return zlib.crc32(label.encode()) % 360


def color_of(label: str, *, dark: bool) -> str:
    """Return a label's colour as ``#rrggbb``, on dark or on light ground."""
    known = DARK if dark else LIGHT
    if label in known:
        return known[label]
    return hue_color(own_hue(label), dark=dark) if is_label(label) else OTHER


def hue_color(hue: int, *, dark: bool) -> str:
    """Return the colour of a hue in degrees as ``#rrggbb``."""
    rgb = hls_to_rgb(hue / 360, _DARK_GROUND if dark else _LIGHT_GROUND, _SATURATION)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
