"""The report as a page: no script, nothing from elsewhere, and a policy that forbids both."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge import __version__
from edge.contract.labels import EMOTIONS
from edge.errors import LogError
from edge.files import replacing
from edgeemo.analysis.classes import own_classes
from edgeemo.analysis.database import Logs
from edgeemo.analysis.fleet import Device
from edgeemo.analysis.fleet_table import DEVICE_HEADINGS, device_cells
from edgeemo.analysis.report import plots
from edgeemo.analysis.report.figures import MOST_DEVICES, MOST_TRACKS, SERIES, ReportData, collect
from edgeemo.analysis.report.markup import Content, Markup, joined, tag
from edgeemo.analysis.report.style import STYLE, own_rules
from edgeemo.analysis.summary import Summary
from edgeemo.analysis.summary_table import (
    NOTHING,
    duration,
    figure,
    latency,
    percent,
    pictures,
    remarks,
    shares,
)

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
MOST_EACH: Final = 100
_LONG: Final = frozenset({"device", "emotions", "detail", "model", "needs attention"})
"""Columns of text that may be broken anywhere."""
_LABELS: Final = (*EMOTIONS, "uncertain")
_OWN_HUE: Final = re.compile(r"\bown-h(\d{1,3})\b")


def write_report(logs: Logs, target: Path, name: str) -> None:
    """Write the report of ``logs`` as one file, whole or not at all.

    Args:
        logs: what to report on.
        target: the file.
        name: what the report calls the logs.

    Raises:
        LogError: the logs cannot be read, or the file cannot be written.
    """
    now = datetime.now(UTC)
    page = report_page(collect(logs, now), name, now)
    try:
        with replacing(target, durable=False) as file:
            file.write(page.encode())
    except OSError as error:
        raise LogError(f"{target}: cannot be written ({error.strerror})") from error


def report_page(figures: ReportData, name: str, made: datetime) -> str:
    """Return the HTML of a report."""
    made_by = f"Made by edgeemo {__version__} on {made:%Y-%m-%d %H:%M} UTC from {name}."
    body = tag(
        "body",
        tag("h1", "What edgeemo saw"),
        tag("p", made_by, " All times are UTC."),
        *_sections(figures, made),
        tag(
            "p",
            "An emotion here is what a face looked like to the model, not what a person felt.",
            class_="note",
        ),
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"edgeemo: {name}"),
        tag("style", STYLE, own_rules(map(int, _OWN_HUE.findall(body)))),
    )
    return joined(Markup("<!doctype html>\n"), tag("html", head, body, lang="en"), "\n")


def _sections(figures: ReportData, made: datetime) -> Iterable[Markup]:
    if figures.fleet:
        yield _fleet(figures, made)
    yield _numbers(figures)
    yield _emotions(figures)
    yield _timeline(figures)
    yield from _done(figures)
    yield _confidence(figures)
    yield _health(figures)
    yield _events(figures)
    if figures.fleet:
        yield from _each(figures, made)


def _fleet(figures: ReportData, made: datetime) -> Markup:
    """One line a device, the worst first, as `edgeemo logs fleet` shows it."""
    devices = figures.fleet
    bad = sum(bool(one.problems) for one in devices)
    headings = ("device", *DEVICE_HEADINGS)
    rows = ((_named(one, devices), *device_cells(one, made)) for one in devices)
    told = f"{bad} of {len(devices)} need attention. Lost and outages are of the last seven days."
    return tag("section", tag("h2", "The fleet"), tag("p", told), _table(headings, rows))


def _each(figures: ReportData, made: datetime) -> Iterable[Markup]:
    """Each device by itself: how it does, what it logged, and what its faces showed."""
    groups = {group.key[0]: group for group in figures.devices.groups}
    yield tag("h2", "Each device")
    for one in figures.fleet[:MOST_EACH]:
        facts = dict(zip(DEVICE_HEADINGS, device_cells(one, made), strict=True))
        if group := groups.get(one.device):
            facts |= {
                "from": "" if group.first is None else f"{group.first:%Y-%m-%d %H:%M:%S}",
                "records": f"{group.records:,}",
                "tracks": f"{group.tracks:,}",
                "face time": duration(sum(group.seconds.values())),
                "confidence": percent(group.confidence),
                "emotions": shares(group.weights, len(_LABELS)),
            }
        pairs = [
            part
            for name, text in facts.items()
            if text
            for part in (tag("dt", name), tag("dd", text))
        ]
        yield tag(
            "section", tag("h3", _named(one, figures.fleet)), tag("dl", *pairs), class_="device"
        )
    if len(figures.fleet) > MOST_EACH:
        yield tag("p", f"{len(figures.fleet) - MOST_EACH} more devices are in the tables above.")


def _named(one: Device, devices: Sequence[Device]) -> str:
    """Return a device's name, with its folder where another one has the same."""
    has_namesake = sum(other.device == one.device for other in devices) > 1
    return f"{one.device} in {one.log}" if has_namesake else one.device


def _numbers(figures: ReportData) -> Markup:
    groups = [*figures.total.groups]
    if len(figures.devices.groups) > 1:
        groups += figures.devices.groups
    rows = [_row(group) for group in groups]
    headings = (
        "device", "from", "to", "records", "lost", "tracks", "face time", "confidence", "frames/s",
        "ms 50/95 %", "emotions",
    )  # fmt: skip
    told = remarks(figures.total, len(groups))
    told += [f"In pictures: {text}" for one in figures.total.groups if (text := pictures(one))]
    notes = [tag("p", f"{remark}.") for remark in told]
    return tag("section", tag("h2", "In numbers"), _table(headings, rows), *notes)


def _row(group: Summary) -> Sequence[str]:
    return (
        group.key[0],
        "" if group.first is None else f"{group.first:%Y-%m-%d\n%H:%M:%S}",
        "" if group.last is None else f"{group.last:%Y-%m-%d\n%H:%M:%S}",
        f"{group.records:,}",
        f"{group.lost:,}",
        f"{group.tracks:,}",
        duration(sum(group.seconds.values())),
        percent(group.confidence),
        figure(group.fps),
        latency(group, "{:.1f}/{:.1f}"),
        shares(group.weights, len(_LABELS)),
    )


def _emotions(figures: ReportData) -> Markup:
    groups = dict(zip(["all"], figures.total.groups, strict=False))
    if len(figures.devices.groups) > 1:
        groups |= {group.key[0]: group for group in figures.devices.groups}
    rows = {
        name: _bar(weights, "s" if group.seconds else "face")
        for name, group in groups.items()
        if (weights := group.weights)
    }
    if not rows:
        return _empty("Emotions", "No face was seen.")
    picture = plots.share_bars(rows, "Share of the time of faces by emotion")
    labels = {label for parts in rows.values() for label, _, _ in parts}
    return tag("section", tag("h2", "Emotions"), _legend(labels), picture)


def _timeline(figures: ReportData) -> Markup:
    if not figures.tracks:
        return _empty("Timeline", "No track.")
    total = sum(group.tracks for group in figures.total.groups)
    shown = len(figures.tracks)
    which = f"The newest {shown} of {total:,} tracks." if total > MOST_TRACKS else ""
    title = "Emotions of each track over time"
    picture = plots.timeline(figures.tracks, title, figures.done, figures.markers)
    labels = {segment.label for row in figures.tracks.values() for segment in row}
    said = [
        *(["Dark strokes below a row: what the face did."] if figures.done else []),
        *(["Dashed lines: markers."] if figures.markers else []),
    ]
    notes = tag("p", " ".join([which, *said]).strip())
    return tag("section", tag("h2", "Timeline"), notes, _legend(labels), picture)


def _done(figures: ReportData) -> Iterable[Markup]:
    if figures.counts:
        total_s = sum(sum(group.seconds.values()) for group in figures.total.groups)
        rows = [
            (name, f"{count:,}", f"{60 * count / total_s:.1f}" if total_s else NOTHING)
            for name, count in figures.counts.items()
        ]
        told = "Of each face, by rule: what was seen, and no more."
        table = _table(("event", "count", "per minute of face time"), rows)
        yield tag("section", tag("h2", "What faces did"), tag("p", told), table)
    if figures.markers:
        marked = [
            (f"{datetime.fromtimestamp(mark.at_s, UTC):%Y-%m-%d %H:%M:%S}", mark.device, mark.text,
             "" if mark.phase == "point" else mark.phase)
            for mark in figures.markers
        ]  # fmt: skip
        table = _table(("time", "device", "marker", "phase"), marked)
        yield tag("section", tag("h2", "Markers"), table)


def _confidence(figures: ReportData) -> Markup:
    if not any(figures.confidence):
        return _empty("Confidence", "No record of an emotion.")
    picture = plots.histogram(figures.confidence, "Emotion records by confidence")
    return tag("section", tag("h2", "Confidence"), picture)


def _health(figures: ReportData) -> Markup:
    if not figures.health:
        return _empty("Health", "No health record.")
    pictures = [
        tag("figure", tag("figcaption", title), plots.lines(drawn, title, SERIES[title][0]))
        for title, drawn in figures.health.items()
    ]
    numbers = {line.name: line.number for drawn in figures.health.values() for line in drawn}
    colors = [f"s{number}" for number in numbers.values()]
    which = ""
    if len(figures.devices.groups) > MOST_DEVICES:
        which = f"The {MOST_DEVICES} devices with the most records."
    names = plots.legend(list(numbers), colors)
    return tag("section", tag("h2", "Health"), tag("p", which), names, *pictures)


def _events(figures: ReportData) -> Markup:
    rows = [
        (
            "" if event.time is None else f"{event.time:%Y-%m-%d %H:%M:%S}",
            event.device,
            event.what,
            event.detail,
        )
        for event in figures.events
    ]
    table = _table(("time", "device", "event", "detail"), rows)
    return tag("section", tag("h2", "Starts, ends and cameras"), table)


def _bar(weights: Mapping[str, float], unit: str) -> list[tuple[str, float, str]]:
    """Return a bar's parts in the order of every other one's, unknown labels last."""
    total = sum(weights.values())
    ordered = {label: weights[label] for label in (*_LABELS, *weights) if label in weights}
    return [(label, w / total, _amount(w, unit)) for label, w in ordered.items()]


def _amount(weight: float, unit: str) -> str:
    if unit == "s":
        return f"{weight:,.1f} s"
    return f"{weight:,} face{'' if weight == 1 else 's'}"


def _legend(labels: Collection[str]) -> Markup:
    known = [label for label in _LABELS if label in labels]
    own = own_classes(labels)
    names = [*known, *own, *(["other"] if set(labels) - {*known, *own} else [])]
    return plots.legend(names, [plots.label_class(name) for name in names])


def _empty(title: str, text: str) -> Markup:
    return tag("section", tag("h2", title), tag("p", text))


def _table(headings: Sequence[str], rows: Iterable[Sequence[Content]]) -> Markup:
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    # A narrow page shows no headings, but the name of each cell.
    body = (tag("tr", *map(_cell, headings, row)) for row in rows)
    return tag("table", tag("thead", head), tag("tbody", *body))


def _cell(heading: str, content: Content) -> Markup:
    if heading in _LONG:
        return tag("td", content, data_name=heading, class_="long")
    return tag("td", content, data_name=heading)
