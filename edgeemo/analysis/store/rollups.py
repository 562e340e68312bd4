"""Hourly roll-ups: what questions over months are answered from, small and exact.

``hours`` has a row for each session and hour, ``emotions`` one for each session, hour, label and
quality, in a file for each device and year; ``tracks`` one for each track, hour and label, in a
file for each device and day. Sums over their rows are those over the records: times are whole
microseconds, latencies are counted in buckets 2 % wide.
"""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.store.catalogue import Rolled, Rollups
from edgeemo.analysis.store.ingest import Reader, copy_to
from edgeemo.analysis.store.layout import (
    EMOTIONS,
    HOURS,
    RECORDS,
    TRACKS,
    stored_columns,
    with_all_columns,
)
from edgeemo.analysis.store.transaction import Transaction
from edgeemo.analysis.summary import HELD_US, LATENCY_BUCKET

CONFIDENCE_BINS: Final = 20

_TIMES: Final = {
    RECORDS: ("time",),
    HOURS: ("hour", "first_time", "last_time", "event_time"),
    EMOTIONS: ("hour",),
    TRACKS: ("hour", "first_time", "last_time"),
}

_BIN: Final = f"least(floor(confidence * {CONFIDENCE_BINS})::INT, {CONFIDENCE_BINS - 1})"
_NAMED: Final = f"label <> '{UNCERTAIN}'"
_LAST: Final = "arg_max({0}, seq) FILTER (kind = '{1}')"


def tracks_of(records: str) -> str:
    """Return a query for the rows of ``tracks`` of some records; see ``hours_of``."""
    return f"""
        SELECT device, session, track, date_trunc('hour', time) AS hour, label,
            count(*) AS records, count(*) FILTER (kind = 'unknown') AS unknown,
            min(time) AS first_time, max(time) AS last_time, min(seq) AS first_seq,
            bool_or(begins_track) AS begins,
            coalesce(sum({HELD_US}), 0)::BIGINT AS held_us, count(*) FILTER (is_still) AS faces,
            coalesce(sum(confidence) FILTER ({_NAMED}), 0) AS confidence_sum,
            count(*) FILTER ({_NAMED}) AS confidence_count
        FROM ({records}) GROUP BY device, session, track, date_trunc('hour', time), label
    """


def hours_of(records: str, tracks: str | None = None) -> str:
    """Return a query for the rows of ``hours`` of some records.

    Args:
        records: a query with the columns of ``records``; ``time`` is a TIMESTAMP in UTC.
        tracks: a query for the rows of ``tracks`` of the same records, where they are known.
    """
    health = {
        name: _LAST.format(name, "health")
        for name in ("temperature_c", "rss_mb", "throttled", "dropped_frames", "dropped_records",
                     "dropped_faces", "disk_free_mb")
    }  # fmt: skip
    started = {name: _LAST.format(name, "service_started") for name in ("version", "model")}
    last = "".join(f", {value} AS {name}" for name, value in (health | started).items())
    events = "kind IN ('service_started', 'service_stopped', 'camera_lost', 'camera_restored')"
    return f"""
        WITH every AS ({records}), by_track AS (
            SELECT device, session, track, hour,
                min(first_seq) AS first_seq, bool_or(begins) AS begins
            FROM ({tracks or tracks_of("FROM every")}) WHERE track IS NOT NULL GROUP BY ALL
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


_COLUMNS: Final = stored_columns() | {"time": "TIMESTAMP"}
NO_RECORDS: Final = (
    f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _COLUMNS.items())} WHERE false"
)
_MAKERS: Final = {HOURS: hours_of, EMOTIONS: emotions_of, TRACKS: tracks_of}


def zoned(table: str, rows: str) -> str:
    """Return a query that turns a table's times from UTC in files into TIMESTAMP, or back."""
    times = ", ".join(f"{name} AT TIME ZONE 'UTC' AS {name}" for name in _TIMES[table])
    return f"SELECT * REPLACE ({times}) FROM {rows}"


def rolled(table: str, rows: str | None) -> str:
    """Return a query for rows of a roll-up in files, if there are any, their times in UTC.

    What an older edgeemo did not work out is null.
    """
    none = _MAKERS[table](NO_RECORDS)
    return f"({none}) UNION ALL BY NAME ({zoned(table, rows)})" if rows else none


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
    files, tracks = dict(rollups.files), dict(rollups.tracks)
    for day in days:
        if old := tracks.pop(f"{partition}/day={day}", None):
            change.remove(old)
    queries: dict[str, list[str]] = {HOURS: [], EMOTIONS: []}
    if paths:
        records = zoned(RECORDS, with_all_columns(reader.parts(paths)))
        reader.ask(f"CREATE OR REPLACE TEMP TABLE fresh_tracks AS {tracks_of(records)}")
        queries[HOURS].append(hours_of(records, "FROM fresh_tracks"))
        queries[EMOTIONS].append(emotions_of(records))
        for day in {path.split("/")[2].removeprefix("day=") for path in paths}:
            place = f"{partition}/day={day}"
            rows = f"(FROM fresh_tracks WHERE hour::DATE = DATE '{day}')"
            tracks[place] = f"{TRACKS}/{place}/{rollups.next:06}.parquet"
            query = f"{zoned(TRACKS, rows)} ORDER BY hour, device, session, track"
            copy_to(reader, query, change.new_file(tracks[place]))
    place = f"{partition}/year={year}"
    if earlier := files.pop(place, None):
        names = ", ".join(f"DATE '{day}'" for day in sorted(days))
        for table, union in queries.items():
            path = getattr(earlier, table)
            change.remove(path)
            old = zoned(table, reader.parts([path]))
            union.append(f"FROM ({old}) WHERE hour::DATE NOT IN ({names})")
    if queries[HOURS]:
        written = [
            _write(reader, change, table, f"{table}/{place}/{rollups.next:06}.parquet", union)
            for table, union in queries.items()
        ]
        files[place] = Rolled(*written)
    return msgspec.structs.replace(rollups, files=files, tracks=tracks, next=rollups.next + 1)


def _write(
    reader: Reader, change: Transaction, table: str, path: str, queries: Sequence[str]
) -> str:
    rows = " UNION ALL BY NAME ".join(f"({query})" for query in queries)
    copy_to(reader, f"{zoned(table, f'({rows})')} ORDER BY hour", change.new_file(path))
    return path
