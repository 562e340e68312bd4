"""The report's pictures: shapes in SVG, which stretch with the page, and text in HTML beside them.

Text is no part of the SVG, so it keeps its size on a telephone. Each picture has a name for a
screen reader; colours come from the page. Drawn by hand: a bar, a line and a time axis need no
plotting library, which would weigh 30 MB.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from edge.contract.labels import EMOTIONS, is_label
from edge.preview.palette import own_hue
from edgeemo.analysis.report.markup import Content, Markup, tag
from edgeemo.analysis.report.scales import Scale, marks, time_marks

_WIDTH: Final = 1000.0
"""Of a picture in its own units; the page gives it another one."""
_LINE: Final = 20
"""Pixels of a line of text, as in the style sheet, and of a row whose name has one line."""
_PLOT_HEIGHT: Final = 150
_NAME_LINE: Final = 22
"""Characters of a name that surely fit into a line."""
_MOST_LINES: Final = 3


class Segment(msgspec.Struct, frozen=True):
    """A stretch of time with one label; seconds since 1970."""

    start_s: float
    end_s: float
    label: str


class Mark(msgspec.Struct, frozen=True):
    """A marker: seconds since 1970, who it was given to, its text and phase."""

    at_s: float
    device: str
    text: str
    phase: str


class Line(msgspec.Struct, frozen=True):
    """A series of a plot: seconds since 1970 and values; ``number`` picks its colour."""

    name: str
    points: Sequence[tuple[float, float]]
    number: int


def share_bars(rows: Mapping[str, Sequence[tuple[str, float, str]]], title: str) -> Markup:
    """Draw one bar a row: labels with their shares and with what these are shares of."""
    scale, row_height = Scale(0, 1, 0, _WIDTH), _row_height(rows)
    parts: list[Markup] = []
    for number, bar in enumerate(rows.values()):
        done, top = 0.0, number * row_height
        for label, share, amount in bar:
            x, end = scale.at(done), scale.at(done + share)
            told = f"{label}: {share:.1%}, {amount}"
            parts.append(_box(x, top + 3, end - x, row_height - 6, label, told))
            done += share
    return _picture(title, len(rows) * row_height, parts, _names(rows, row_height))


def timeline(
    rows: Mapping[str, Sequence[Segment]],
    title: str,
    done: Mapping[str, Sequence[Segment]] | None = None,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Draw one row a track: its emotions over time, what its face did below, markers across all."""
    segments = [segment for row in rows.values() for segment in row]
    low, high = min(s.start_s for s in segments), max(s.end_s for s in segments)
    scale, row_height = Scale(low, high, 0, _WIDTH), _row_height(rows)
    height = len(rows) * row_height
    times = [(scale.at(at), name) for at, name in time_marks(low, high)]
    parts = _uprights(times, height)
    for number, row in enumerate(rows.values()):
        top = number * row_height
        for segment in row:
            x, length_s = scale.at(segment.start_s), segment.end_s - segment.start_s
            width = max(2.0, scale.at(segment.end_s) - x)
            told = f"{segment.label}, {length_s:,.1f} s"
            parts.append(_box(x, top + 3, width, row_height - 6, segment.label, told))
    parts += _events_and_marks(rows, done or {}, marks, scale, row_height)
    return _picture(title, height, parts, _names(rows, row_height), times)


def _events_and_marks(
    rows: Iterable[str],
    done: Mapping[str, Sequence[Segment]],
    marks: Sequence[Mark],
    scale: Scale,
    row_height: int,
) -> Iterator[Markup]:
    height = 0
    for number, name in enumerate(rows):
        height = (number + 1) * row_height
        for event in done.get(name, ()):
            x, length_s = scale.at(event.start_s), event.end_s - event.start_s
            width = max(2.0, scale.at(event.end_s) - x)
            told = tag("title", f"{event.label}, {length_s:,.2f} s")
            yield tag("rect", told, x=x, y=height - 6, width=width, height=5, class_="done")
    for mark in marks:
        if scale.low <= mark.at_s <= scale.high:
            x, which = scale.at(mark.at_s), "" if mark.phase == "point" else f" {mark.phase}s"
            told = tag("title", f"{mark.text}{which}")
            yield tag("line", told, x1=x, x2=x, y1=0, y2=height, class_="mark")


def histogram(counts: Sequence[int], title: str) -> Markup:
    """Draw counts over [0, 1], in bins of equal width."""
    high = max(*counts, 1)
    x, y = Scale(0, 1, 0, _WIDTH), Scale(0, high, _PLOT_HEIGHT, 8)
    shares = [(x.at(n / 5), f"{n / 5:.0%}") for n in range(6)]
    parts = [*_levels(y, high), *_uprights(shares, _PLOT_HEIGHT)]
    for number, count in enumerate(counts):
        left, right = x.at(number / len(counts)), x.at((number + 1) / len(counts))
        told = f"{number / len(counts):.0%} to {(number + 1) / len(counts):.0%}: {count:,}"
        parts.append(_box(left, y.at(count), right - left - 2, y.start - y.at(count), "", told))
    return _picture(title, _PLOT_HEIGHT, parts, _values(y, high, ""), shares)


def lines(series: Sequence[Line], title: str, unit: str) -> Markup:
    """Draw series over one time axis, from 0 up."""
    points = [point for line in series for point in line.points]
    times = [time for time, _ in points]
    high = max((value for _, value in points if value > 0), default=1.0)
    x = Scale(min(times), max(times), 0, _WIDTH)
    y = Scale(0, high * 1.05, _PLOT_HEIGHT, 8)
    moments = [(x.at(at), name) for at, name in time_marks(x.low, x.high)]
    parts = [*_levels(y, high), *_uprights(moments, _PLOT_HEIGHT)]
    for line in series:
        color = f"s{line.number % 8}"
        places = [(x.at(time), y.at(value)) for time, value in line.points]
        if len(places) == 1:  # a line needs two
            places.append((places[0][0] + 5, places[0][1]))
        told = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(tag("polyline", tag("title", line.name), points=told, class_=f"line {color}"))
    return _picture(title, _PLOT_HEIGHT, parts, _values(y, high, unit), moments)


def legend(names: Sequence[str], colors: Sequence[str]) -> Markup:
    """Return the names with their colours, as HTML."""
    items = [
        tag("li", tag("span", class_=f"swatch {color}"), name)
        for name, color in zip(names, colors, strict=True)
    ]
    return tag("ul", *items, class_="legend")


def label_class(label: str) -> str:
    """Return the colour class of a label; what is none shares one."""
    if label in (*EMOTIONS, "uncertain"):
        return f"e-{label}"
    return f"own-h{own_hue(label)}" if is_label(label) else "e-other"


def _picture(
    title: str,
    height: int,
    parts: Sequence[Content],
    names: Markup,
    places: Sequence[tuple[float, str]] = (),
) -> Markup:
    """Put a picture together: names at its left, and what is written under its uprights."""
    shapes = tag(
        "svg", tag("title", title), *parts, viewBox=f"0 0 {_WIDTH:.0f} {height}", role="img",
        aria_label=title, preserveAspectRatio="none", style=f"height: {height}px",
    )  # fmt: skip
    written = [tag("span", name, style=f"--at: {place / _WIDTH:.1%}") for place, name in places]
    axis = tag("div", *written, class_="axis") if written else ""
    return tag("div", names, tag("div", shapes, axis), class_="plot")


def _box(x: float, y: float, width: float, height: float, label: str, told: str) -> Markup:
    color = label_class(label) if label else "s0"
    title = tag("title", told)
    return tag("rect", title, x=x, y=y, width=max(0.0, width), height=height, class_=color)


def _row_height(names: Iterable[str]) -> int:
    """Return the pixels of a row, so that the longest name has room for its lines."""
    longest = max(map(len, names), default=0)
    return _LINE * min(_MOST_LINES, -(-longest // _NAME_LINE) or 1)


def _names(names: Iterable[str], row_height: int) -> Markup:
    """Return a row's name for each, which a pointer that rests on it shows whole."""
    most = _NAME_LINE * _MOST_LINES
    rows = (
        tag("span", name if len(name) <= most else f"{name[: most - 1]}…", title=name)
        for name in names
    )
    return tag("div", *rows, class_="names", style=f"--row: {row_height}px")


def _values(scale: Scale, high: float, unit: str) -> Markup:
    """Return what is written at the levels; the longest one, unseen, keeps the room."""
    told = [(scale.at(value), f"{value:g} {unit}".strip()) for value in marks(high)]
    longest = max((name for _, name in told), key=len)
    spans = [tag("span", name, style=f"top: {y:.0f}px") for y, name in told]
    room = tag("i", longest, aria_hidden="true")
    return tag("div", room, *spans, class_="values")


def _levels(scale: Scale, high: float) -> list[Markup]:
    levels = [scale.at(value) for value in marks(high)]
    return [tag("line", x1=0, x2=_WIDTH, y1=y, y2=y, class_="grid") for y in levels]


def _uprights(places: Iterable[tuple[float, str]], height: float) -> list[Markup]:
    return [tag("line", x1=x, x2=x, y1=0, y2=height, class_="grid") for x, _ in places]
