"""The report's pictures, as SVG. Each has a name for a screen reader; colours come from the page.

Drawn by hand: a bar, a line and a time axis need no plotting library, which would weigh 30 MB, and
pictures made so are text that follows the reader's light or dark theme and stays sharp.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from edge.contract.labels import EMOTIONS
from edge.logs.report.markup import Content, Markup, joined, tag
from edge.logs.report.scales import Scale, marks, time_marks

_WIDTH: Final = 860
_LEFT: Final = 150
_RIGHT: Final = 12
_ROW: Final = 20
_PLOT_HEIGHT: Final = 150


class Segment(msgspec.Struct, frozen=True):
    """A stretch of time with one label; seconds since 1970."""

    start_s: float
    end_s: float
    label: str


class Line(msgspec.Struct, frozen=True):
    """A series of a plot: seconds since 1970 and values; ``number`` picks its colour."""

    name: str
    points: Sequence[tuple[float, float]]
    number: int


def share_bars(rows: Mapping[str, Sequence[tuple[str, float, str]]], title: str) -> Markup:
    """Draw one bar a row: labels with their shares and with what these are shares of."""
    scale = Scale(0, 1, _LEFT, _WIDTH - _RIGHT)
    parts: list[Markup] = []
    for number, (name, bar) in enumerate(rows.items()):
        done, top = 0.0, number * _ROW
        parts.append(_row_name(name, top))
        for label, share, amount in bar:
            x, end = scale.at(done), scale.at(done + share)
            told = f"{label}: {share:.1%}, {amount}"
            parts.append(_box(x, top + 3, end - x, _ROW - 6, label, told))
            done += share
    return _picture(title, len(rows) * _ROW, parts)


def timeline(rows: Mapping[str, Sequence[Segment]], title: str) -> Markup:
    """Draw one row a track: its emotions over time."""
    segments = [segment for row in rows.values() for segment in row]
    low, high = min(s.start_s for s in segments), max(s.end_s for s in segments)
    scale, height = Scale(low, high, _LEFT, _WIDTH - _RIGHT), len(rows) * _ROW
    parts = [_time_axis(scale, height)]
    for number, (name, row) in enumerate(rows.items()):
        top = number * _ROW
        parts.append(_row_name(name, top))
        for segment in row:
            x, length_s = scale.at(segment.start_s), segment.end_s - segment.start_s
            width = max(1.0, scale.at(segment.end_s) - x)
            told = f"{segment.label}, {length_s:,.1f} s"
            parts.append(_box(x, top + 3, width, _ROW - 6, segment.label, told))
    return _picture(title, height + _ROW, parts)


def histogram(counts: Sequence[int], title: str) -> Markup:
    """Draw counts over [0, 1], in bins of equal width."""
    high = max(*counts, 1)
    x, y = Scale(0, 1, _LEFT, _WIDTH - _RIGHT), Scale(0, high, _PLOT_HEIGHT, 8)
    parts = [_value_axis(y, high, "")]
    for number, count in enumerate(counts):
        left, right = x.at(number / len(counts)), x.at((number + 1) / len(counts))
        told = f"{number / len(counts):.0%} to {(number + 1) / len(counts):.0%}: {count:,}"
        parts.append(_box(left, y.at(count), right - left - 1, y.start - y.at(count), "", told))
    parts += [_mark(x.at(n / 5), _PLOT_HEIGHT, f"{n / 5:.0%}") for n in range(6)]
    return _picture(title, _PLOT_HEIGHT + _ROW, parts)


def lines(series: Sequence[Line], title: str, unit: str) -> Markup:
    """Draw series over one time axis, from 0 up."""
    points = [point for line in series for point in line.points]
    times = [time for time, _ in points]
    high = max((value for _, value in points if value > 0), default=1.0)
    x = Scale(min(times), max(times), _LEFT, _WIDTH - _RIGHT)
    y = Scale(0, high * 1.05, _PLOT_HEIGHT, 8)
    parts = [_value_axis(y, high, unit), _time_axis(x, _PLOT_HEIGHT)]
    for line in series:
        color = f"s{line.number % 8}"
        places = [(x.at(time), y.at(value)) for time, value in line.points]
        if len(places) == 1:
            parts.append(tag("circle", cx=places[0][0], cy=places[0][1], r=3, class_=color))
        told = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(tag("polyline", tag("title", line.name), points=told, class_=f"line {color}"))
    return _picture(title, _PLOT_HEIGHT + _ROW, parts)


def legend(names: Sequence[str], colors: Sequence[str]) -> Markup:
    """Return the names with their colours, as HTML."""
    items = [
        tag("li", tag("span", class_=f"swatch {color}"), name)
        for name, color in zip(names, colors, strict=True)
    ]
    return tag("ul", *items, class_="legend")


def label_class(label: str) -> str:
    """Return the colour class of a label; unknown ones share one."""
    return f"e-{label}" if label in (*EMOTIONS, "uncertain") else "e-other"


def _picture(title: str, height: float, parts: Sequence[Content]) -> Markup:
    return tag(
        "svg", tag("title", title), *parts, viewBox=f"0 0 {_WIDTH} {height + 4:.0f}", role="img",
        aria_label=title,
    )  # fmt: skip


def _box(x: float, y: float, width: float, height: float, label: str, told: str) -> Markup:
    color = label_class(label) if label else "s0"
    title = tag("title", told)
    return tag("rect", title, x=x, y=y, width=max(0.0, width), height=height, class_=color)


def _row_name(name: str, top: float) -> Markup:
    shown = name if len(name) <= 20 else f"{name[:19]}…"
    text = joined(tag("title", name), shown)
    return tag("text", text, x=_LEFT - 8, y=top + 14, text_anchor="end")


def _mark(x: float, height: float, name: str) -> Markup:
    line = tag("line", x1=x, x2=x, y1=0, y2=height, class_="grid")
    return joined(line, tag("text", name, x=x, y=height + 15, text_anchor="middle"))


def _time_axis(scale: Scale, height: float) -> Markup:
    # A mark at the very edge would be cut off.
    return joined(
        *(
            _mark(scale.at(at), height, name)
            for at, name in time_marks(scale.low, scale.high)
            if scale.at(at) < _WIDTH - 30
        )
    )


def _value_axis(scale: Scale, high: float, unit: str) -> Markup:
    parts: list[Markup] = []
    for value in marks(high):
        y = scale.at(value)
        line = tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid")
        name = f"{value:g} {unit}".strip()
        parts += [line, tag("text", name, x=_LEFT - 8, y=y + 4, text_anchor="end")]
    return joined(*parts)
