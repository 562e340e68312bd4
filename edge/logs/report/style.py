"""The report's style sheet; colours after Okabe and Ito, told apart by most kinds of sight."""

from typing import Final

from edge.logs.report.markup import Markup

_COLORS: Final = {
    "neutral": "#8da0b0",
    "happiness": "#e69f00",
    "surprise": "#56b4e9",
    "sadness": "#0072b2",
    "anger": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "contempt": "#a3910a",
    "uncertain": "#c9c9c9",
    "other": "#777777",
}
_SERIES: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a3910a", "#777777",
)  # fmt: skip

_BASE: Final = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --grid: #dddddd; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #161616; --grid: #3a3a3a; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p:empty { display: none; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--grid); } .line { fill: none; stroke-width: 1.5; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: left; padding: 2px 10px 2px 0; border-bottom: 1px solid var(--grid);
  white-space: nowrap; vertical-align: top; }
td:first-child, td:last-child { white-space: normal; overflow-wrap: anywhere; min-width: 8rem; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
.note { margin-top: 2rem; font-style: italic; }
"""


def _rules() -> str:
    rules = [
        f".e-{name} {{ fill: {color}; background: {color}; }}" for name, color in _COLORS.items()
    ]
    rules += [
        f".s{number} {{ fill: {color}; background: {color}; stroke: {color}; }}\n"
        f".line.s{number} {{ fill: none; }}"
        for number, color in enumerate(_SERIES)
    ]
    return "\n".join(rules)


STYLE: Final = Markup(f"{_BASE}{_rules()}\n")
