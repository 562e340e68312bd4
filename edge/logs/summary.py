"""`edgeemo logs summary`: what happened, in one pass over the files."""

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from edge.logs.source import HELD, Logs

By = Literal["total", "hour", "track", "device"]

_KEYS: Final[dict[By, tuple[str, ...]]] = {
    "total": ("'all'",),
    "hour": ("date_trunc('hour', time)",),
    "track": ("device", "session", "track"),
    "device": ("device",),
}


_TRACKS: Final = "count(DISTINCT CASE WHEN track IS NOT NULL THEN hash(run, track) END)"
_LATENCY: Final = "approx_quantile(latency_ms, [0.5, 0.95])"
_WITH_LOST: Final = frozenset({"total", "device"})


class Summary(msgspec.Struct, frozen=True):
    """What happened in one group of records.

    Attributes:
        key: the group: an hour, a device, or device, session and track.
        first, last: UTC.
        tracks: tracks that were seen.
        seconds: how long faces were seen, by label; those of several faces add up.
        confidence: the mean of the emotion records.
        latency_ms: the median and the 95th percentile of the emotion records, about; None for a
            track, of which there may be more than such sketches fit into memory.
        fps: the mean of the health records.
        lost: records missing from the sequence numbers; None for a track and an hour, whose records
            need not follow each other.
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


class Summaries(msgspec.Struct, frozen=True):
    """The groups in order, and how many lines were no records."""

    groups: list[Summary]
    unreadable: int


def summarise(logs: Logs, by: By, source: str = HELD) -> Summaries:
    """Summarise all records by ``by``; ``source`` is a query with the columns of ``HELD``.

    Raises:
        LogError: the files can not be read.
    """
    rows = logs.rows(_sql(by, source))
    width = len(_KEYS[by])
    seconds: dict[Any, dict[str, float]] = defaultdict(dict)
    lost: Counter[Any] = Counter()
    whole = []
    for row in rows:
        key, (of_label, of_run, label, held_s, gaps), rest = row[:width], *_split(row[width:])
        if of_label:
            if held_s:
                seconds[key][label] = held_s
        elif of_run:
            lost[key] += max(0, gaps or 0)
        else:
            whole.append((key, rest))
    groups = [
        _summary(key, rest, seconds[key], lost[key] if by in _WITH_LOST else None)
        for key, rest in whole
        if rest[0] and (by != "track" or key[-1] is not None)
    ]
    return Summaries(groups, sum(rest[1] for _, rest in whole))


def _sql(by: By, source: str) -> str:
    """Return a query that gives each group as a whole, by label, and by run for the gaps."""
    names = [f"key{number}" for number in range(len(_KEYS[by]))]
    keys = ", ".join(f"{key} AS {name}" for key, name in zip(_KEYS[by], names, strict=True))
    group = ", ".join(names)
    has_lost = by in _WITH_LOST
    count, latency = ("1", "NULL") if by == "track" else (_TRACKS, _LATENCY)
    by_run, of_run = (f", ({group}, run)", "grouping(run) = 0") if has_lost else ("", "false")
    return f"""
        WITH keyed AS (SELECT {keys}, hash(device, session) AS run, * FROM ({source}))
        SELECT
            {group}, grouping(label) = 0, {of_run}, label, sum(held_s),
            max(seq) - min(seq) + 1 - count(seq),
            count(kind), count(*) - count(kind), min(time), max(time),
            {count}, avg(confidence), {latency}, avg(fps)
        FROM keyed GROUP BY GROUPING SETS (({group}), ({group}, label){by_run}) ORDER BY {group}
    """


def _split(row: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return row[:5], row[5:]


def _summary(
    key: tuple[Any, ...], rest: tuple[Any, ...], seconds: dict[str, float], lost: int | None
) -> Summary:
    records, _, first, last, tracks, confidence, latency_ms, fps = rest
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
    )
