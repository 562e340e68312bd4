"""Hourly roll-ups: what questions over months are answered from, small and exact.

Two tables, a file for each device and year: ``hours`` has a row for each session and hour,
``emotions`` one for each session, hour, label and quality. Sums over their rows are those over the
records: times are whole microseconds, latencies are counted in buckets 2 % wide.
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.store.catalogue import Rolled, Rollups
from edgeemo.analysis.store.ingest import Reader, copy_to
from edgeemo.analysis.store.layout import EMOTIONS, HOURS, RECORDS, with_all_columns
from edgeemo.analysis.store.transaction import Transaction
from edgeemo.analysis.summary import HELD_US, LATENCY_BUCKET

CONFIDENCE_BINS: Final = 20

_TIMES: Final = {
    RECORDS: ("time",),
    HOURS: ("hour", "first_time", "last_time", "event_time"),
    EMOTIONS: ("hour",),
}

_BIN: Final = f"least(floor(confidence * {CONFIDENCE_BINS})::INT, {CONFIDENCE_BINS - 1})"
_NAMED: Final = f"label <> '{UNCERTAIN}'"
_LAST: Final = "arg_max({0}, seq) FILTER (kind = '{1}')"


def hours_of(records: str) -> str:
    """Return a query for the rows of ``hours`` of some records.

    Args:
        records: a query with the columns of ``records``; ``time`` is a TIMESTAMP in UTC.
    """
    health = {
        name: _LAST.format(name, "health")
        for name in ("temperature_c", "rss_mb", "throttled", "dropped_frames", "dropped_records",
                     "dropped_faces")
    }  # fmt: skip
    started = {name: _LAST.format(name, "service_started") for name in ("version", "model")}
    last = "".join(f", {value} AS {name}" for name, value in (health | started).items())
    events = "kind IN ('service_started', 'service_stopped', 'camera_lost', 'camera_restored')"
    return f"""
        WITH every AS ({records}), by_track AS (
            SELECT device, session, track, date_trunc('hour', time) AS hour,
                min(seq) AS first_seq, bool_or(begins_track) AS begins
            FROM every WHERE track IS NOT NULL GROUP BY ALL
        ), marked AS (
            SELECT *, row_number() OVER (
                PARTITION BY device, session, track, hour::DATE ORDER BY first_seq) = 1 AS of_day
            FROM by_track
        ), tracks AS (
            SELECT device, session, hour, count(*) AS tracks, count_if(of_day) AS tracks_of_day,
                count_if(begins) AS tracks_begun
            FROM marked GROUP BY ALL
        ), whole AS (
            SELECT max(log) AS log, device, session, date_trunc('hour', time) AS hour,
                count(*) AS records, count(*) FILTER (kind = 'unknown') AS unknown,
                min(time) AS first_time, max(time) AS last_time,
                min(seq) AS first_seq, max(seq) AS last_seq,
                histogram({LATENCY_BUCKET}) FILTER (kind = 'emotion') AS latency,
                sum(fps) AS fps_sum, count(fps) AS fps_count
                {last},
                min(epoch(time) - monotonic_s) FILTER (kind = 'health') AS clock_low_s,
                max(epoch(time) - monotonic_s) FILTER (kind = 'health') AS clock_high_s,
                count(*) FILTER (kind = 'service_started') AS starts,
                count(*) FILTER (kind = 'camera_lost') AS outages,
                coalesce(sum(outage_s), 0) AS outage_s,
                arg_max(kind, seq) FILTER ({events}) AS event,
                max(seq) FILTER ({events}) AS event_seq,
                arg_max(time, seq) FILTER ({events}) AS event_time,
                arg_max(reason, seq) FILTER ({events} AND reason IS NOT NULL) AS reason
            FROM every GROUP BY device, session, date_trunc('hour', time)
        )
        SELECT whole.*, coalesce(tracks, 0) AS tracks, coalesce(tracks_of_day, 0) AS tracks_of_day,
            coalesce(tracks_begun, 0) AS tracks_begun
        FROM whole LEFT JOIN tracks USING (device, session, hour)
    """


def emotions_of(records: str) -> str:
    """Return a query for the rows of ``emotions`` of some records; see ``hours_of``."""
    return f"""
        SELECT device, session, date_trunc('hour', time) AS hour, label,
            coalesce(quality, 'ok') AS quality, count(*) AS records,
            coalesce(sum({HELD_US}), 0)::BIGINT AS held_us, count(*) FILTER (is_still) AS faces,
            coalesce(sum(confidence) FILTER ({_NAMED}), 0) AS confidence_sum,
            count(*) FILTER ({_NAMED}) AS confidence_count,
            histogram({_BIN}) FILTER ({_NAMED}) AS confidence_bins
        FROM ({records}) WHERE kind = 'emotion'
        GROUP BY device, session, date_trunc('hour', time), label, coalesce(quality, 'ok')
    """


def zoned(table: str, rows: str) -> str:
    """Return a query that turns a table's times from UTC in files into TIMESTAMP, or back."""
    times = ", ".join(f"{name} AT TIME ZONE 'UTC' AS {name}" for name in _TIMES[table])
    return f"SELECT * REPLACE ({times}) FROM {rows}"


def roll_up(
    reader: Reader,
    change: Transaction,
    rollups: Rollups,
    partition: str,
    year: str,
    days: Collection[str],
    paths: Sequence[str],
) -> Rollups:
    """Work out some days of a device's year anew; the others stay.

    Args:
        reader: reads the store.
        change: gets the new files.
        rollups: what there is.
        partition: of ``records``.
        year: of the days.
        days: which.
        paths: all records of these days.
    """
    place = f"{partition}/year={year}"
    earlier = rollups.files.get(place)
    files = dict(rollups.files)
    if earlier is not None:
        change.remove(earlier.hours)
        change.remove(earlier.emotions)
        del files[place]
    names = ", ".join(f"DATE '{day}'" for day in sorted(days))
    records = zoned(RECORDS, with_all_columns(reader.parts(paths))) if paths else None
    written = []
    for table, rows in ((HOURS, hours_of), (EMOTIONS, emotions_of)):
        queries = [rows(records)] if records else []
        if earlier is not None:
            old = zoned(table, reader.parts([getattr(earlier, table)]))
            queries.append(f"FROM ({old}) WHERE hour::DATE NOT IN ({names})")
        if queries:
            path = f"{table}/{place}/{rollups.next:06}.parquet"
            union = " UNION ALL BY NAME ".join(f"({query})" for query in queries)
            query = f"{zoned(table, f'({union})')} ORDER BY hour"
            copy_to(reader, query, change.new_file(path))
            written.append(path)
    if written:
        files[place] = Rolled(*written)
    return msgspec.structs.replace(rollups, files=files, next=rollups.next + 1)
