"""Both timelines, what people saw and what the log has, one above the other: an SVG file."""

from collections.abc import Sequence
from typing import Final

import msgspec

from edge.contract.labels import EMOTIONS
from edge.preview.palette import LIGHT
from edgeemo.analysis.report.markup import Markup, joined, tag
from edgeemo.analysis.report.scales import Scale, marks
from edgeemo.analysis.studies.agreement import whole_film
from edgeemo.analysis.studies.sessions import Session
from edgeemo.analysis.studies.truth import Seen, labels_of

_WIDTH: Final = 1000
_LEFT: Final = 150
_RIGHT: Final = 16
_ROW: Final = 22
_GAP: Final = 12
_TOP: Final = 34
_INK: Final = "#222222"
_SOFT: Final = "#c8c8c8"
_OTHER: Final = "#8a8a8a"
_FONT: Final = "13px system-ui, sans-serif"


class _Bar(msgspec.Struct, frozen=True):
    start_s: float
    end_s: float
    color: str
    told: str


def agreement_picture(session: Session, truth: Sequence[Seen], title: str) -> str:
    """Return an SVG with a pair of rows for emotions, and one for each kind of event.

    Args:
        session: the log's.
        truth: what people saw.
        title: of the picture.
    """
    emotions, events = labels_of(truth)
    groups: list[tuple[str, list[_Bar], list[_Bar]]] = []
    if emotions:
        theirs = [_shown(one.start_s, one.end_s, one.label) for one in truth
                  if one.label in emotions]  # fmt: skip
        ours = [_shown(one.start_s, one.end_s, one.label) for one in whole_film(session.shown)]
        groups.append(("emotions", theirs, ours))
    for name in events:
        theirs = [_done(one.start_s, one.end_s, name) for one in truth if one.label == name]
        ours = [_done(one.start_s, one.end_s, name) for one in session.done if one.event == name]
        groups.append((name.replace("_", " "), theirs, ours))
    end_s = max((bar.end_s for _, *pair in groups for bars in pair for bar in bars), default=1.0)
    scale = Scale(0, max(end_s, 1e-3), _LEFT, _WIDTH - _RIGHT)
    height = _TOP + len(groups) * (2 * _ROW + _GAP) + 24
    parts = [tag("title", title), tag("rect", width=_WIDTH, height=height, fill="#ffffff")]
    parts.append(_text(title, 8, 20, "bold"))
    for at_s in marks(end_s, 8):
        x = scale.at(at_s)
        parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=height - 20, stroke=_SOFT))
        parts.append(_text(f"{at_s:g} s", x + 3, height - 6))
    for number, (name, *pair) in enumerate(groups):
        for row, (who, bars) in enumerate(zip(("people", "edgeemo"), pair, strict=True)):
            top = _TOP + number * (2 * _ROW + _GAP) + row * _ROW
            parts.append(_text(f"{name}: {who}" if not row else who, 8, top + 15))
            parts += [_rect(bar, scale, top) for bar in bars]
    legend = [label for label in EMOTIONS if label in emotions]
    for place, label in enumerate(legend):
        x = _WIDTH - _RIGHT - 92 * (len(legend) - place)
        parts.append(tag("rect", x=x, y=9, width=12, height=12, fill=LIGHT[label]))
        parts.append(_text(label, x + 16, 20))
    svg = tag(
        "svg", *parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH, height=height, role="img", style=f"font: {_FONT}",
    )  # fmt: skip
    return joined(svg, "\n")


def _shown(start_s: float, end_s: float, label: str) -> _Bar:
    told = f"{label}, {start_s:.2f} to {end_s:.2f} s"
    return _Bar(start_s, end_s, LIGHT.get(label, _OTHER), told)


def _done(start_s: float, end_s: float, name: str) -> _Bar:
    return _Bar(start_s, end_s, "#3465a4", f"{name}, {start_s:.2f} to {end_s:.2f} s")


def _rect(bar: _Bar, scale: Scale, top: float) -> Markup:
    x = scale.at(bar.start_s)
    width = max(2.0, scale.at(bar.end_s) - x)
    title = tag("title", bar.told)
    return tag("rect", title, x=x, y=top + 2, width=width, height=_ROW - 4, fill=bar.color)


def _text(text: str, x: float, y: float, weight: str = "normal") -> Markup:
    return tag("text", text, x=x, y=y, fill=_INK, font_weight=weight)
