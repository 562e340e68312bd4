"""What the report shows, asked of DuckDB. Sizes are bounded, however long the logs are."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.database import Logs, text_literal
from edgeemo.analysis.fleet import Device, Rules, fleet
from edgeemo.analysis.report.plots import Line, Mark, Segment
from edgeemo.analysis.summary import Summaries, summarise

MOST_TRACKS: Final = 40
MOST_DEVICES: Final = 8
_MOST_SEGMENTS: Final = 6000
_MOST_EVENTS: Final = 60
_BINS: Final = 240
CONFIDENCE_BINS: Final = 20

_KEPT: Final = (
    "kind, time, monotonic_s, seq, session, device, track, label, confidence, latency_ms, fps, "
    "temperature_c, rss_mb, frames, dropped_frames, dropped_records, reason, version, source, "
    "model, folder, held_s, is_still, is_copy, is_carried, event, duration_s, intensity, degrees, "
    "complete, marker, phase, study, participant, condition"
)
_HELD: Final = "SELECT * FROM report.held"

_DONE: Final = f"""
    SELECT device, session, track, event, epoch(time), epoch(time) + duration_s
    FROM report.held WHERE kind = 'event' AND time IS NOT NULL
    ORDER BY time DESC, seq DESC, device, session LIMIT {_MOST_SEGMENTS}
"""
_COUNTS: Final = """
    SELECT replace(event, '_', ' '), count(*) FROM report.held WHERE kind = 'event'
    GROUP BY event ORDER BY count(*) DESC, event
"""
_MARKERS: Final = f"""
    SELECT epoch(time), device, marker, phase FROM report.held
    WHERE kind = 'marker' AND time IS NOT NULL
    ORDER BY time DESC, seq DESC, device, session LIMIT {_MOST_EVENTS}
"""

SERIES: Final = {
    "frames a second": ("fps", "avg(fps)", "health"),
    "latency": ("ms", "median(latency_ms)", "emotion"),
    "temperature": ("°C", "max(temperature_c)", "health"),
    "memory": ("MB", "max(rss_mb)", "health"),
    "dropped frames": ("/min", "60 * sum(more_frames) / nullif(sum(elapsed_s), 0)", "health"),
    "lost records": ("/min", "60 * sum(more_records) / nullif(sum(elapsed_s), 0)", "health"),
}
"""By title: unit, what is drawn of each stretch of time, and of which kind of record."""


class Event(msgspec.Struct, frozen=True):
    """A start, an end, or a camera lost or found again."""

    time: datetime | None
    device: str
    what: str
    detail: str


class ReportData(msgspec.Struct, frozen=True):
    """All that a report is drawn from.

    Attributes:
        total, devices: summaries; ``devices`` has one for each.
        tracks: the newest tracks by name, newest first.
        done: what their faces did, by the same names.
        markers: the newest ones, in their order: when, text and phase.
        counts: how many events of each kind there are, by name, the most frequent first.
        confidence: counts of records whose label is an emotion, in bins over [0, 1].
        health: series by title, those without values left out.
        events: the newest ones, newest first.
        fleet: how each device does, the worst first; empty for one log.
    """

    total: Summaries
    devices: Summaries
    tracks: Mapping[str, Sequence[Segment]]
    done: Mapping[str, Sequence[Segment]]
    markers: Sequence[Mark]
    counts: Mapping[str, int]
    confidence: Sequence[int]
    health: Mapping[str, Sequence[Line]]
    events: Sequence[Event]
    fleet: Sequence[Device] = ()


def collect(logs: Logs, now: datetime | None = None) -> ReportData:
    """Read the files once, into a temporary database on disk, and ask that for the rest.

    Args:
        logs: what to report on.
        now: when devices are judged; without, they are not.

    Raises:
        LogError: the logs cannot be read.
    """
    database = text_literal(str(logs.scratch / "report.duckdb"))
    logs.rows(f"ATTACH {database} AS report")
    logs.rows(f"CREATE OR REPLACE TABLE report.held AS SELECT {_KEPT} FROM ({logs.held()})")
    devices = summarise(logs, "device", _HELD)
    busiest = sorted(devices.groups, key=lambda group: -group.records)[:MOST_DEVICES]
    drawn = sorted(group.key[0] for group in busiest)
    tracks, names = _tracks(logs)
    return ReportData(
        total=summarise(logs, "total", _HELD),
        devices=devices,
        tracks=tracks,
        done=_done(logs, names),
        counts=dict(logs.rows(_COUNTS)),
        markers=[Mark(*row) for row in reversed(logs.rows(_MARKERS))],
        confidence=_confidence(logs),
        health=_health(logs, drawn),
        events=_events(logs),
        fleet=fleet(logs, Rules(), now) if now and len(logs.names) > 1 else (),
    )


_Key = tuple[str, str, int]


def _tracks(logs: Logs) -> tuple[dict[str, list[Segment]], dict[_Key, str]]:
    """Return what the newest tracks showed, and what each is called."""
    rows = logs.rows(f"""
        WITH newest AS (
            SELECT device, session, track, min(time) AS first FROM report.held
            WHERE (kind = 'emotion' OR is_carried) AND time IS NOT NULL
            GROUP BY ALL ORDER BY first DESC, track DESC LIMIT {MOST_TRACKS}
        ), marked AS (
            SELECT *, label IS DISTINCT FROM lag(label) OVER w AS begins
            FROM report.held JOIN newest USING (device, session, track)
            WHERE kind = 'emotion' OR is_carried
            WINDOW w AS (PARTITION BY device, session, track ORDER BY seq)
        ), numbered AS (
            SELECT *, count_if(begins) OVER (
                PARTITION BY device, session, track ORDER BY seq) AS part FROM marked
        )
        SELECT device, session, track, min(label), epoch(min(time)),
               epoch(min(time)) + sum(coalesce(held_s, 0))
        FROM numbered GROUP BY first, device, session, track, part
        ORDER BY first DESC, device, session, track DESC, part LIMIT {_MOST_SEGMENTS}
    """)
    several = len({row[0] for row in rows}) > 1
    runs = len({row[:2] for row in rows}) > 1
    tracks: defaultdict[str, list[Segment]] = defaultdict(list)
    names: dict[_Key, str] = {}
    for device, session, track, label, start_s, end_s in rows:
        run = f" ({str(session)[:4]})" if runs else ""
        name = f"#{track}{run}{f' {device}' if several else ''}"
        names[device, session, track] = name
        tracks[name].append(Segment(start_s, end_s, str(label)))
    return dict(tracks), names


def _done(logs: Logs, names: Mapping[_Key, str]) -> dict[str, list[Segment]]:
    """Return what the faces of these tracks did."""
    done: defaultdict[str, list[Segment]] = defaultdict(list)
    for device, session, track, event, start_s, end_s in logs.rows(_DONE):
        if (name := names.get((device, session, track))) is not None:
            done[name].append(Segment(start_s, end_s, event.replace("_", " ")))
    return dict(done)


def _confidence(logs: Logs) -> list[int]:
    counts = [0] * CONFIDENCE_BINS
    for number, count in logs.rows(f"""
        SELECT least(floor(confidence * {CONFIDENCE_BINS})::INT, {CONFIDENCE_BINS - 1}), count(*)
        FROM report.held WHERE kind = 'emotion' AND label <> '{UNCERTAIN}' GROUP BY 1
    """):
        counts[number] = count
    return counts


def _health(logs: Logs, devices: Sequence[str]) -> dict[str, list[Line]]:
    health: dict[str, list[Line]] = {}
    for title, (_, value, kind) in SERIES.items():
        points: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        for device, time_s, number in _series(logs, value, kind):
            points[str(device)].append((time_s, number))
        drawn = [
            Line(device, points[device], number)
            for number, device in enumerate(devices)
            if points[device]
        ]
        if any(number for line in drawn for _, number in line.points):
            health[title] = drawn
    return health


def _series(logs: Logs, value: str, kind: str) -> list[tuple[str, float, float]]:
    rows = logs.rows(f"""
        WITH chosen AS (
            SELECT *, epoch(time) AS s,
                dropped_frames - lag(dropped_frames, 1, 0) OVER w AS more_frames,
                dropped_records - lag(dropped_records, 1, 0) OVER w AS more_records,
                coalesce(monotonic_s - lag(monotonic_s) OVER w, frames / fps) AS elapsed_s
            FROM report.held WHERE kind = {text_literal(kind)} AND time IS NOT NULL
            WINDOW w AS (PARTITION BY device, session ORDER BY seq)
        ), span AS (
            SELECT min(s) AS low, greatest((max(s) - min(s)) / {_BINS}, 0.001) AS width FROM chosen
        )
        SELECT device, avg(s), {value} FROM chosen, span
        GROUP BY device, floor((s - low) / width) HAVING {value} IS NOT NULL ORDER BY 1, 2
    """)
    return [row for row in rows if math.isfinite(row[2])]


def _events(logs: Logs) -> list[Event]:
    rows = logs.rows(f"""
        SELECT time, device, kind,
            coalesce(reason, concat_ws(', ', version, source, model), '')
        FROM report.held
        WHERE kind IN ('service_started', 'service_stopped', 'camera_lost', 'camera_restored')
        ORDER BY time DESC, seq DESC, device, session LIMIT {_MOST_EVENTS}
    """)
    return [
        Event(
            None if time is None else time.replace(tzinfo=UTC),
            str(device), kind.replace("_", " "), str(detail),
        )
        for time, device, kind, detail in rows
    ]  # fmt: skip
