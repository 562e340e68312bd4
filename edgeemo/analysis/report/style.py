"""The report's style sheet: text keeps its size, tables become lists where the page is narrow."""

from collections.abc import Iterable
from typing import Final

from edge.preview.palette import DARK, LIGHT, OTHER, hue_color
from edgeemo.analysis.report.markup import Markup

_SERIES: Final = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#a3910a", "#777777",
)  # fmt: skip
"""After Okabe and Ito, told apart by most kinds of sight."""

_BASE: Final = """
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p { overflow-wrap: anywhere; } p:empty { display: none; }
.plot { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 .5rem;
  font-size: .8125rem; line-height: 20px; }
.plot > div { min-width: 0; }
svg { display: block; width: 100%; overflow: visible; }
.names span { display: flex; align-items: center; justify-content: end; height: var(--row);
  max-width: 13em; text-align: right; overflow-wrap: anywhere; }
.values { position: relative; text-align: right; white-space: nowrap; }
.values span { position: absolute; right: 0; transform: translateY(-50%); }
.values i { visibility: hidden; }
.axis { position: relative; height: 1.5rem; }
.axis span { position: absolute; width: 5rem; text-align: center; white-space: nowrap;
  left: clamp(-.5rem, calc(var(--at) - 2.5rem), calc(100% - 4.5rem)); }
.grid { stroke: var(--grid); vector-effect: non-scaling-stroke; }
.done { fill: var(--ink); }
.mark { stroke: var(--ink); stroke-dasharray: 4 3; stroke-width: 2;
  vector-effect: non-scaling-stroke; }
.line { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; margin-bottom: .5rem; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { text-align: left; padding: .2rem .75rem .2rem 0; vertical-align: top;
  border-bottom: 1px solid var(--grid); white-space: pre; }
td.long { white-space: normal; overflow-wrap: anywhere; min-width: 5rem; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; }
dl { display: grid; grid-template-columns: repeat(2, 9rem minmax(0, 1fr)); margin: 0;
  font-size: .875rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; overflow-wrap: anywhere; }
.note { margin-top: 2rem; font-style: italic; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3, figcaption { break-after: avoid; } tr, figure, .plot, .device { break-inside: avoid; }
  table, dl { font-size: 7.5pt; } th, td { white-space: pre-line; padding-right: .4rem; }
  .swatch { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
@media screen and (max-width: 45rem) {
  .axis span:not(:nth-child(3n + 1)) { display: none; }
  dl { grid-template-columns: 9rem minmax(0, 1fr); }
  table, tbody, tr, td { display: block; } thead { display: none; }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--grid); }
  td, td.long { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); padding: 0; border: 0;
    white-space: pre-line; overflow-wrap: anywhere; }
  td::before { content: attr(data-name); color: var(--soft); } td:empty { display: none; }
}
"""


def _rules() -> str:
    light = {"ink": "#1c1c1c", "soft": "#545b63", "paper": "#ffffff", "grid": "#dddddd"} | LIGHT
    dark = {"ink": "#e8e8e8", "soft": "#a9b1b9", "paper": "#161616", "grid": "#3a3a3a"} | DARK
    rules = [
        f":root {{ color-scheme: light dark; {_variables(light)} }}",
        "@media print { :root { color-scheme: light; } }",
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {_variables(dark)} }} }}",
        f".e-other {{ fill: {OTHER}; background: {OTHER}; }}",
    ]
    rules += [f".e-{name} {{ fill: var(--{name}); background: var(--{name}); }}" for name in LIGHT]
    rules += [
        f".s{number} {{ fill: {color}; background: {color}; stroke: {color}; }}\n"
        f".line.s{number} {{ fill: none; }}"
        for number, color in enumerate(_SERIES)
    ]
    return "\n".join(rules)


def _variables(values: dict[str, str]) -> str:
    return " ".join(f"--{name}: {value};" for name, value in values.items())


STYLE: Final = Markup(f"{_rules()}{_BASE}")


def own_rules(hues: Iterable[int]) -> Markup:
    """Return the rules for classes of one's own: ``.own-hN``, N being the hue."""
    rules = [
        f".own-h{hue} {{ fill: {hue_color(hue, dark=False)}; background: "
        f"{hue_color(hue, dark=False)}; }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ .own-h{hue} {{ "
        f"fill: {hue_color(hue, dark=True)}; background: {hue_color(hue, dark=True)}; }} }}"
        for hue in sorted(set(hues))
    ]
    return Markup("\n".join(rules))
