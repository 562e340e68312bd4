"""`edgeemo logs summary`: what happened, in one pass over the files."""

import calendar
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import accumulate
from typing import Any, Final, Literal

import msgspec

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.database import Logs
from edgeemo.analysis.held import held
from edgeemo.analysis.losses import Run, lost_records
from edgeemo.analysis.studies.cut import cut_by_markers

By = Literal["total", "hour", "track", "device", "segment", "session", "file", "weekday", "quality"]

_KEYS: Final[dict[By, tuple[str, ...]]] = {
    "total": ("'all'",),
    "hour": ("date_trunc('hour', time)",),
    "track": ("device", "session", "track"),
    "device": ("device",),
    "segment": ("device", "session", "segment"),
    "session": ("device", "session"),
    "file": ("device", "file"),
    "weekday": ("isodow(time)",),
    "quality": ("CASE WHEN label IS NOT NULL THEN coalesce(quality, 'ok') END",),
}
_OF_SOME: Final = frozenset({"track", "file", "quality"})
"""Groups that not every record belongs to."""
_MANY: Final = frozenset({"track", "file"})
"""Groups of which there may be more than counts of latencies fit into memory."""
_TRACKS: Final = (
    "count(DISTINCT CASE WHEN track IS NOT NULL THEN hash(device, session, track{}) END)"
)
_ROLLED_TRACKS: Final[dict[By, str]] = {
    "total": "tracks_begun",
    "device": "tracks_begun",
    "session": "tracks_begun",
    "hour": "tracks",
    "weekday": "tracks_of_day",
    "track": "",
}
"""By what roll-ups can be summed up over, and their column that counts each track once there."""
_GROWTH: Final = 1.02
_LEAST_BUCKET: Final = -350
LATENCY_BUCKET: Final = (
    f"CASE WHEN latency_ms > 0.001 THEN ceil(ln(latency_ms) / ln({_GROWTH}))::INT "
    f"ELSE {_LEAST_BUCKET} END"
)
"""Latencies are counted in buckets 2 % wide, which add up over any groups (as DDSketch's do;
Masson, Rim, Lee, VLDB 2019)."""
HELD_US: Final = "round(held_s * 1e6)::BIGINT"
"""Times are summed up as whole microseconds: whatever the order, the sum is the same."""
_LATENCY: Final = f"histogram({LATENCY_BUCKET}) FILTER (kind = 'emotion')"
_KEY_OF_RUN: Final[dict[By, Callable[[str, str], tuple[str, ...]]]] = {
    "total": lambda _device, _session: ("all",),
    "device": lambda device, _session: (device,),
    "session": lambda device, session: (device, session),
}
"""Groups in which the records follow each other, so that missing ones are told."""


class Summary(msgspec.Struct, frozen=True):
    """What happened in one group of records.

    Attributes:
        key: the group, such as an hour, a device, or device, session and track or segment.
        first, last: UTC.
        tracks: tracks that were seen; of weekdays, each counts once a day.
        seconds: how long faces were seen, by label; those of several faces add up.
        confidence: the mean of the emotion records whose label is an emotion.
        latency_ms: the median and the 95th percentile of the emotion records, about; None for a
            track or a file, of which there may be more than such counts fit into memory.
        fps: the mean of the health records.
        lost: records missing from the sequence numbers, within and between sessions; None for
            groups whose records need not follow each other.
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
    is_rolled = source is None and logs.has_rollups and by in _ROLLED_TRACKS
    if source is None:
        source = cut_by_markers(logs) if by == "segment" else logs.held()
    rows = logs.rows(_sql_rolled(by, logs) if is_rolled else _sql(by, source))
    width = len(_KEYS[by])
    seconds: dict[Any, dict[str, float]] = defaultdict(dict)
    faces: dict[Any, dict[str, int]] = defaultdict(dict)
    runs: list[tuple[Any, ...]] = []
    whole = []
    for row in rows:
        key, (of_label, of_run, label, held_us, stills) = row[:width], row[width : width + 5]
        run, rest = row[width + 5 : width + 10], row[width + 10 :]
        if of_label:
            if held_us:
                seconds[key][label] = int(held_us) / 1e6
            if stills:
                faces[key][label] = stills
        elif of_run:
            runs.append((*run, *run[3:], rest[0]))
        else:
            whole.append((key, rest))
    lost = _lost(logs, by, runs)
    groups = [
        _summary(_named(by, key), rest, seconds[key], faces[key], lost and lost(key))
        for key, rest in whole
        if (rest[0] or seconds[key]) and (by not in _OF_SOME or key[-1] is not None)
    ]
    unreadable, duplicates, unknown = (sum(rest[place] for _, rest in whole) for place in (1, 2, 3))
    return Summaries(groups, unreadable + logs.unreadable, duplicates + logs.copies, unknown)


def _lost(logs: Logs, by: By, runs: list[tuple[Any, ...]]) -> Callable[[Any], int] | None:
    """Return what tells how many records a group lacks; None: it cannot be told."""
    key_of = _KEY_OF_RUN.get(by)
    if key_of is None or logs.choice.has_emotions:
        return None
    known = logs.runs()
    if known is None:
        known = logs.rows(_sql_of_all()) if logs.has_span else runs
    lost = lost_records(
        Run(key_of(device, session), (device, session), folder, first, *others)
        for device, session, folder, first, *others in known
        if first is not None  # else they are lines that are no records
    )
    return lambda key: lost.get(key, 0)


def _named(by: By, key: tuple[Any, ...]) -> tuple[str, ...]:
    return (calendar.day_name[key[0] - 1],) if by == "weekday" and key[0] else tuple(map(str, key))


def _sql(by: By, source: str) -> str:
    """Return a query that gives each group as a whole, by label, and by run for what is missing."""
    names = [f"key{number}" for number in range(len(_KEYS[by]))]
    keys = ", ".join(f"{key} AS {name}" for key, name in zip(_KEYS[by], names, strict=True))
    group = ", ".join(names)
    latency = "NULL" if by in _MANY else _LATENCY
    count = "1" if by == "track" else _TRACKS.format(", time::DATE" if by == "weekday" else "")
    run, sets, of_run = "NULL, NULL, NULL", "", "false"
    if by in _KEY_OF_RUN:
        run, sets = "device, session, folder", f", ({group}, device, session, folder)"
        of_run = "grouping(folder) = 0"
    fresh = "FILTER (kind IS NOT NULL)"
    known = "FILTER (kind IS NOT NULL OR is_copy)"
    named = f"FILTER (kind IS NOT NULL AND label <> '{UNCERTAIN}')"
    return f"""
        WITH keyed AS (SELECT {keys}, * FROM ({source}))
        SELECT
            {group}, grouping(label) = 0, {of_run}, label,
            sum({HELD_US}), count(*) FILTER (is_still),
            {run}, min(seq) {known}, max(seq) {known},
            count(kind), count(*) FILTER (kind IS NULL AND NOT (is_copy OR is_carried)),
            count(*) FILTER (is_copy), count(*) FILTER (kind = 'unknown'),
            min(time) {fresh}, max(time) {fresh},
            {count} {fresh if count != "1" else ""}, avg(confidence) {named},
            {latency}, avg(fps) {fresh}
        FROM keyed GROUP BY GROUPING SETS (({group}), ({group}, label){sets}) ORDER BY {group}
    """


def _sql_rolled(by: By, logs: Logs) -> str:
    """Return a query over hourly roll-ups for the rows that ``_sql`` gives, but for the runs."""
    if by == "track":
        return _ROLLED_BY_TRACK
    keys = [key.replace("date_trunc('hour', time)", "hour").replace("time", "hour")
            for key in _KEYS[by]]  # fmt: skip
    names = [f"key{number}" for number in range(len(keys))]
    keyed = ", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=True))
    group = ", ".join(names)
    once = ", hour::DATE" if by == "weekday" else ""
    if logs.has_span and by != "hour":  # in a part of the time, tracks need not have begun
        seen = (
            f"SELECT {group}, count(*) AS tracks FROM (SELECT DISTINCT {keyed}, device, session, "
            f"track{once} FROM tracks WHERE track IS NOT NULL AND records > 0) GROUP BY {group}"
        )
    else:
        seen = (
            f"SELECT {group}, sum({_ROLLED_TRACKS[by]})::BIGINT AS tracks FROM h GROUP BY {group}"
        )
    return f"""
        WITH h AS MATERIALIZED (SELECT {keyed}, * FROM hours),
        e AS MATERIALIZED (SELECT {keyed}, * FROM emotions),
        seen AS ({seen}),
        whole AS (
            SELECT {group}, sum(records)::BIGINT AS records,
                coalesce(sum(unknown), 0)::BIGINT AS unknown, min(first_time) AS first,
                max(last_time) AS last,
                sum(fps_sum) / nullif(sum(fps_count), 0) AS fps
            FROM h GROUP BY {group}
        ), sure AS (
            SELECT {group}, sum(confidence_sum) / nullif(sum(confidence_count), 0) AS confidence
            FROM e GROUP BY {group}
        ), counted AS (
            SELECT {group}, entry.key AS bucket, sum(entry.value)::BIGINT AS count
            FROM (SELECT {group}, unnest(map_entries(latency)) AS entry FROM h) GROUP BY ALL
        ), latencies AS (
            SELECT {group}, map(list(bucket), list(count)) AS latency FROM counted GROUP BY {group}
        )
        SELECT {group}, true, false, label, sum(held_us), sum(faces)::BIGINT, NULL, NULL, NULL,
            NULL, NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL
        FROM e GROUP BY {group}, label
        UNION ALL
        SELECT {group}, false, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, records, 0, 0,
            unknown, first, last, coalesce(tracks, 0), confidence, latency, fps
        FROM whole LEFT JOIN sure USING ({group}) LEFT JOIN latencies USING ({group})
            LEFT JOIN seen USING ({group})
        ORDER BY {group}
    """


_ROLLED_BY_TRACK: Final = """
    WITH t AS MATERIALIZED (FROM tracks)
    SELECT device, session, track, true, false, label, sum(held_us), sum(faces)::BIGINT,
        NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL
    FROM t GROUP BY device, session, track, label
    UNION ALL
    SELECT device, session, track, false, false, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        sum(records)::BIGINT, 0, 0, coalesce(sum(unknown), 0)::BIGINT,
        min(first_time), max(last_time), 1,
        sum(confidence_sum) / nullif(sum(confidence_count), 0), NULL, NULL
    FROM t GROUP BY device, session, track
    ORDER BY device, session, track
"""


def _sql_of_all() -> str:
    """Return a query for the runs of which a part was asked for: what was not, is not missing."""
    return f"""
        WITH every AS MATERIALIZED (
            SELECT device, session, folder, seq, kind IS NOT NULL AS is_first, in_span AS is_chosen
            FROM ({held("all_records")}) WHERE kind IS NOT NULL OR is_copy
        ), bounds AS (
            SELECT device, session, min(seq) AS low, max(seq) AS high
            FROM every WHERE is_chosen GROUP BY ALL
        )
        SELECT device, session, folder, min(seq), max(seq), any_value(low),
            any_value(high), count(*) FILTER (is_first AND seq BETWEEN low AND high)
        FROM every LEFT JOIN bounds USING (device, session) GROUP BY device, session, folder
    """


def _summary(
    key: tuple[str, ...], rest: tuple[Any, ...], seconds: dict[str, float], faces: dict[str, int],
    lost: int | None,
) -> Summary:  # fmt: skip
    records, _, _, _, first, last, tracks, confidence, latency, fps = rest
    return Summary(
        key=key,
        records=records,
        first=first,
        last=last,
        tracks=tracks,
        seconds=dict(sorted(seconds.items(), key=_rank)),
        confidence=confidence,
        latency_ms=percentiles(latency),
        fps=fps,
        lost=lost,
        faces=dict(sorted(faces.items(), key=_rank)),
    )


def _rank(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]


def percentiles(counts: Mapping[int, int] | None) -> tuple[float, float] | None:
    """Return the median and the 95th percentile of latencies that are counted in buckets, in ms.

    They are within 1 % of the true ones.
    """
    if not counts:
        return None
    buckets = sorted(counts)
    sums = list(accumulate(counts[bucket] for bucket in buckets))
    ranks = [buckets[bisect_left(sums, share * sums[-1])] for share in (0.5, 0.95)]
    median, upper = (2 * _GROWTH**rank / (1 + _GROWTH) for rank in ranks)
    return median, upper
