"""`edgeemo logs summary`: what happened, in one pass over the files."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.database import Logs
from edgeemo.analysis.held import held, held_within
from edgeemo.analysis.losses import Run, lost_records
from edgeemo.analysis.studies.cut import cut_by_markers

By = Literal["total", "hour", "track", "device", "segment"]

_KEYS: Final[dict[By, tuple[str, ...]]] = {
    "total": ("'all'",),
    "hour": ("date_trunc('hour', time)",),
    "track": ("device", "session", "track"),
    "device": ("device",),
    "segment": ("device", "session", "segment"),
}
_TRACKS: Final = "count(DISTINCT CASE WHEN track IS NOT NULL THEN hash(device, session, track) END)"
_LATENCY: Final = "approx_quantile(latency_ms, [0.5, 0.95])"
_WITH_LOST: Final = frozenset({"total", "device"})


class Summary(msgspec.Struct, frozen=True):
    """What happened in one group of records.

    Attributes:
        key: the group: an hour, a device, or device, session and track or segment.
        first, last: UTC.
        tracks: tracks that were seen.
        seconds: how long faces were seen, by label; those of several faces add up.
        confidence: the mean of the emotion records whose label is an emotion.
        latency_ms: the median and the 95th percentile of the emotion records, about; None for a
            track, of which there may be more than such sketches fit into memory.
        fps: the mean of the health records.
        lost: records missing from the sequence numbers, within and between sessions; None for a
            track, an hour and a segment, whose records need not follow each other.
        faces: faces that were seen in one frame only, as in pictures, by label: they took no time.
    """

    key: tuple[str, ...]
    records: int
    first: datetime | None
    last: datetime | None
    tracks: int
    seconds: dict[str, float]
    confidence: float | None
    latency_ms: tuple[float, float] | None
    fps: float | None
    lost: int | None
    faces: dict[str, int] = {}

    @property
    def weights(self) -> Mapping[str, float]:
        """What shares are made of: time, or where none was measured, faces."""
        return self.seconds or self.faces


class Summaries(msgspec.Struct, frozen=True):
    """What is in a log.

    Attributes:
        groups: in order.
        unreadable: lines that are no records.
        duplicates: records that were there already.
        unknown: records of kinds that this version does not know.
    """

    groups: list[Summary]
    unreadable: int
    duplicates: int = 0
    unknown: int = 0


def summarise(logs: Logs, by: By, source: str | None = None) -> Summaries:
    """Summarise all records by ``by``; ``source`` is a query with the columns of ``held_within``.

    Raises:
        LogError: the files cannot be read, or have no markers to cut segments.
    """
    source = source or (cut_by_markers(logs) if by == "segment" else held_within(logs.span))
    rows = logs.rows(_sql(by, source))
    width = len(_KEYS[by])
    seconds: dict[Any, dict[str, float]] = defaultdict(dict)
    faces: dict[Any, dict[str, int]] = defaultdict(dict)
    runs: list[tuple[Any, ...]] = []
    whole = []
    for row in rows:
        key, (of_label, of_run, label, held_s, stills) = row[:width], row[width : width + 5]
        run, rest = row[width + 5 : width + 10], row[width + 10 :]
        if of_label:
            if held_s:
                seconds[key][label] = held_s
            if stills:
                faces[key][label] = stills
        elif of_run:
            runs.append((key, *run, *run[3:], rest[0]))
        else:
            whole.append((key, rest))
    if logs.has_span and by in _WITH_LOST:
        runs = [(row[:1], *row[1:]) for row in logs.rows(_sql_of_all(by))]
    lost = lost_records(_runs(runs)) if by in _WITH_LOST else None
    groups = [
        _summary(key, rest, seconds[key], faces[key], None if lost is None else lost.get(key, 0))
        for key, rest in whole
        if (rest[0] or seconds[key]) and (by != "track" or key[-1] is not None)
    ]
    apart = (sum(rest[place] for _, rest in whole) for place in (1, 2, 3))
    return Summaries(groups, *apart)


def _sql(by: By, source: str) -> str:
    """Return a query that gives each group as a whole, by label, and by run for what is missing."""
    names = [f"key{number}" for number in range(len(_KEYS[by]))]
    keys = ", ".join(f"{key} AS {name}" for key, name in zip(_KEYS[by], names, strict=True))
    group = ", ".join(names)
    count, latency = ("1", "NULL") if by == "track" else (_TRACKS, _LATENCY)
    run, sets, of_run = "NULL, NULL, NULL", "", "false"
    if by in _WITH_LOST:
        run, sets = "device, session, folder", f", ({group}, device, session, folder)"
        of_run = "grouping(folder) = 0"
    fresh = "FILTER (kind IS NOT NULL)"
    known = "FILTER (kind IS NOT NULL OR is_copy)"
    named = f"FILTER (kind IS NOT NULL AND label <> '{UNCERTAIN}')"
    return f"""
        WITH keyed AS (SELECT {keys}, * FROM ({source}))
        SELECT
            {group}, grouping(label) = 0, {of_run}, label,
            sum(held_s), count(*) FILTER (is_still),
            {run}, min(seq) {known}, max(seq) {known},
            count(kind), count(*) FILTER (kind IS NULL AND NOT (is_copy OR is_carried)),
            count(*) FILTER (is_copy), count(*) FILTER (kind = 'unknown'),
            min(time) {fresh}, max(time) {fresh},
            {count} {fresh if count != "1" else ""}, avg(confidence) {named},
            {latency} {fresh if latency != "NULL" else ""}, avg(fps) {fresh}
        FROM keyed GROUP BY GROUPING SETS (({group}), ({group}, label){sets}) ORDER BY {group}
    """


def _sql_of_all(by: By) -> str:
    """Return a query for the runs of which a part was asked for: what was not, is not missing."""
    (key,) = _KEYS[by]
    return f"""
        WITH every AS MATERIALIZED (
            SELECT {key} AS key0, device, session, folder, seq, kind IS NOT NULL AS is_first,
                in_span AS is_chosen
            FROM ({held("all_records")}) WHERE kind IS NOT NULL OR is_copy
        ), bounds AS (
            SELECT device, session, min(seq) AS low, max(seq) AS high
            FROM every WHERE is_chosen GROUP BY ALL
        )
        SELECT any_value(key0), device, session, folder, min(seq), max(seq), any_value(low),
            any_value(high), count(*) FILTER (is_first AND seq BETWEEN low AND high)
        FROM every LEFT JOIN bounds USING (device, session) GROUP BY device, session, folder
    """


def _runs(rows: Iterable[tuple[Any, ...]]) -> Iterator[Run]:
    for key, device, session, folder, first, *others in rows:
        if first is not None:  # else they are lines that are no records
            yield Run(key, (device, session), folder, first, *others)


def _summary(
    key: tuple[Any, ...], rest: tuple[Any, ...], seconds: dict[str, float], faces: dict[str, int],
    lost: int | None,
) -> Summary:  # fmt: skip
    records, _, _, _, first, last, tracks, confidence, latency_ms, fps = rest
    return Summary(
        key=tuple(map(str, key)),
        records=records,
        first=first,
        last=last,
        tracks=tracks,
        seconds=dict(sorted(seconds.items(), key=lambda item: -item[1])),
        confidence=confidence,
        latency_ms=tuple(latency_ms) if latency_ms else None,
        fps=fps,
        lost=lost,
        faces=dict(sorted(faces.items(), key=lambda item: -item[1])),
    )
