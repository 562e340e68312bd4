"""How long a face showed each emotion, in SQL: what ``edge.service.reporter.Stay`` counts."""

from typing import Final

from edgeemo.analysis.time_range import Span

# Up to version 0.1, ``track_ended`` was dated up to 1.5 s after the face was last seen: there its
# duration, in whole milliseconds, tells the end.
END_S: Final = "least(next_s, first_s + stayed_s + 0.0005)"
"""When a record's emotion ended, in SQL, by the next record of its track and by the first one."""
IS_APART: Final = "coalesce(kind IN ('event', 'unknown'), false)"
"""Records of a track that say nothing of what it shows."""
IS_STILL: Final = "kind = 'emotion' AND stayed_s IS NOT NULL AND end_s < first_s + 0.001"
HELD_S: Final = f"""CASE
    WHEN {IS_STILL} THEN 0
    WHEN kind = 'emotion' AND end_s IS NOT NULL THEN greatest(0, end_s - monotonic_s)
END"""


def held(records: str = "records") -> str:
    """Return a query for the records, each once, with the seconds that each emotion lasted.

    ``held_s`` is as ``Stay`` counts it; an emotion that nothing follows, as in a run that was
    killed, has none. ``is_still``: the one record of a face that spent no time. ``is_copy``: the
    record is there already, for device, session and number identify it; its ``kind`` is NULL, like
    that of a line which is no record.

    Args:
        records: a table, view or query in parentheses with the columns of ``source.COLUMNS``.
    """
    return f"""
        SELECT * EXCLUDE (next_s, stayed_s, first_s, end_s)
            REPLACE (CASE WHEN NOT is_copy THEN kind END AS kind),
            {IS_STILL} AS is_still, {HELD_S} AS held_s
        FROM (
            SELECT *, {END_S} AS end_s
            FROM (
                SELECT *,
                    kind IS NOT NULL AND coalesce(seq = lag(seq) OVER its_track, false) AS is_copy,
                    lead(monotonic_s) OVER its_track AS next_s,
                    lead(duration_s) OVER its_track AS stayed_s,
                    first_value(monotonic_s) OVER its_track AS first_s
                FROM {records}
                WINDOW its_track AS (
                    PARTITION BY kind IS NULL, {IS_APART}, device, session, track ORDER BY seq
                )
            )
        )
    """


def held_within(span: Span, records: str, everything: str) -> str:
    """Return a query as ``held`` does, for a part of the records.

    What a face showed already when the part begins is counted from there, and what it shows when
    the part ends until there. ``is_carried``: the record itself is older than the part; its
    ``kind`` is NULL, for it is none of the part's records.

    Args:
        span: the part.
        records: a query for those of the part, as ``held`` gives it; asked where it is the whole.
        everything: the same for all, and ``in_span`` says which are of the part.
    """
    since, until = span.limits
    if since is until is None:
        return f"SELECT *, false AS is_carried FROM ({records})"
    begins = f"greatest(time, {since})" if since else "time"
    ends = "time + to_microseconds(round(held_s * 1e6)::BIGINT)"
    ends = f"least({ends}, {until})" if until else ends
    return f"""
        SELECT * EXCLUDE (in_span, within_s) REPLACE (
            CASE WHEN is_carried THEN NULL ELSE kind END AS kind,
            CASE WHEN is_carried THEN {begins} ELSE time END AS time,
            CASE WHEN held_s IS NOT NULL THEN least(held_s, within_s) END AS held_s
        )
        FROM (
            SELECT *,
                greatest(0, date_diff('microsecond', {begins}, {ends}) / 1e6) AS within_s,
                coalesce(NOT in_span AND held_s > 0 AND within_s > 0, false) AS is_carried
            FROM ({everything})
        )
        WHERE in_span OR is_carried OR (kind IS NULL AND NOT is_copy)
    """
