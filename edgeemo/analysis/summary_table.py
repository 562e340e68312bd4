"""A summary as a table for people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from rich.table import Table
from rich.text import Text

from edge.text import plain
from edgeemo.analysis.summary import By, Summaries, Summary

_HEADINGS: Final[dict[By, tuple[str, ...]]] = {
    "total": (),
    "hour": ("hour (UTC)",),
    "track": ("device", "session", "track", "from (UTC)"),
    "device": ("device", "from (UTC)", "to (UTC)"),
    "segment": ("device", "session", "segment", "from (UTC)"),
    "session": ("device", "session", "from (UTC)", "to (UTC)"),
    "file": ("device", "file", "from (UTC)"),
    "weekday": ("weekday (UTC)",),
    "quality": ("quality",),
}


_FIGURES: Final = (
    "records", "lost", "tracks", "face time", "confidence", "frames/s", "ms 50/95 %",
)  # fmt: skip
NOTHING: Final = "n/a"
"""Of a figure that was measured on nothing."""

_NOT_TOLD: Final[dict[By, tuple[str, ...]]] = {
    "total": (),
    "hour": ("lost",),
    "weekday": ("lost",),
    "track": ("lost", "tracks", "frames/s", "ms 50/95 %"),
    "file": ("lost", "frames/s", "ms 50/95 %"),
    "quality": ("lost", "frames/s"),
    "device": (),
    "segment": ("lost",),
    "session": (),
}


def total_lines(summaries: Summaries) -> list[str]:
    """Return the summary of everything, a line a figure."""
    if not summaries.groups:
        return ["no record in this time"]
    group = summaries.groups[0]
    rows = {
        "from": _moment(group.first),
        "to": _moment(group.last),
        "records": f"{group.records:,}",
        "lost records": "" if group.lost is None else f"{group.lost:,}",
        "tracks": f"{group.tracks:,}",
        "face time": duration(sum(group.seconds.values())),
        "emotions": shares(group.weights, most=9),
        "in pictures": pictures(group) if group.seconds else "",
        "confidence": percent(group.confidence),
        "frames/s": figure(group.fps),
        "latency": latency(group, "{:.1f} ms, 95 % within {:.1f} ms"),
    }
    return [f"{name:13} {text}" for name, text in rows.items() if text]


def pictures(group: Summary) -> str:
    """Return the shares of the faces that took no time, or nothing."""
    count = sum(group.faces.values())
    return f"{count:,} face{'' if count == 1 else 's'}: {shares(group.faces, 9)}" if count else ""


def summary_table(summaries: Summaries, by: By, most: int) -> Table:
    """Return the table of the first ``most`` groups."""
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS[by]:
        table.add_column(heading, no_wrap=True)
    for heading in _FIGURES:
        if heading not in _NOT_TOLD[by]:
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("emotions")
    for group in summaries.groups[:most]:
        # Text, for what a log holds must not be taken for rich's own markup.
        table.add_row(*map(Text, _cells(group, by)))
    return table


def remarks(summaries: Summaries, most: int) -> list[str]:
    """Return what the table does not show."""
    left_out = len(summaries.groups) - most
    told = [f"{left_out} more; --rows {len(summaries.groups)} shows all"] if left_out > 0 else []
    if summaries.unreadable:
        told.append(f"{summaries.unreadable:,} lines are no records of edgeemo")
    if summaries.unknown:
        told.append(
            f"{summaries.unknown:,} records are of kinds that this version does not know; a newer "
            "edgeemo does"
        )
    if summaries.duplicates:
        told.append(f"{summaries.duplicates:,} records are there more than once; each counts once")
    return told


def _cells(group: Summary, by: By) -> Sequence[str]:
    key = [plain(part, 24) for part in group.key]
    first, last = _moment(group.first), _moment(group.last)
    keys = {
        "hour": [key[0][:16]],
        "weekday": key,
        "quality": [key[0].replace("_", " ")],
        "track": [*key, first],
        "file": [*key, first],
        "segment": [*key, first],
    }
    cells = {
        "records": f"{group.records:,}",
        "lost": NOTHING if group.lost is None else f"{group.lost:,}",
        "tracks": f"{group.tracks:,}",
        "face time": duration(sum(group.seconds.values())),
        "confidence": percent(group.confidence),
        "frames/s": figure(group.fps),
        "ms 50/95 %": latency(group, "{:.1f}/{:.1f}"),
    }
    told = [text for heading, text in cells.items() if heading not in _NOT_TOLD[by]]
    return (*keys.get(by, [*key, first, last]), *told, shares(group.weights))


def percent(share: float | None) -> str:
    """Return a share, or that there is none."""
    return NOTHING if share is None else f"{share:.0%}"


def figure(value: float | None) -> str:
    """Return a figure with one decimal, or that there is none."""
    return NOTHING if value is None else f"{value:.1f}"


def latency(group: Summary, form: str) -> str:
    """Return the median and the 95th percentile in a form that takes both, or that none was."""
    return NOTHING if group.latency_ms is None else form.format(*group.latency_ms)


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def duration(seconds: float) -> str:
    """Return a length of time in two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def shares(weights: Mapping[str, float], most: int = 4) -> str:
    """Return the share of the leading labels."""
    total = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda item: -item[1])[:most]
    return ", ".join(f"{plain(label, 12)} {w / total:.0%}" for label, w in ranked if w) or NOTHING
