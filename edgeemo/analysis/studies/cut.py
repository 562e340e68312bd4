"""Records cut by markers, for summaries: each in the segments that it reaches into."""

from edge.errors import LogError
from edgeemo.analysis.database import Logs, text_literal
from edgeemo.analysis.studies.sessions import sessions


def cut_by_markers(logs: Logs) -> str:
    """Return a query with the columns of ``held_within`` and ``segment``, the name of a segment.

    A record that reaches into several segments is there once for each, and what it held counts by
    the part within it.

    Raises:
        LogError: the logs cannot be read, or have no markers.
    """
    rows = [
        f"({text_literal(session.about.device)}, {text_literal(session.about.session)}, "
        f"{text_literal(segment.name)}, {segment.start_s + session.about.zero_s!r}::DOUBLE, "
        f"{segment.end_s + session.about.zero_s!r}::DOUBLE)"
        for session in sessions(logs)
        for segment in session.segments
        if segment.name
    ]
    if not rows:
        raise LogError("the log has no markers in this time; `edgeemo logs mark` gives some")
    inside = "monotonic_s >= start_s AND monotonic_s < end_s"
    reaches = "monotonic_s < end_s AND monotonic_s + coalesce(held_s, 0) > start_s"
    return f"""
        SELECT * EXCLUDE (of_device, of_session, start_s, end_s) REPLACE (
            CASE WHEN held_s IS NOT NULL THEN
                least(monotonic_s + held_s, end_s) - greatest(monotonic_s, start_s)
            END AS held_s
        )
        FROM (SELECT *, false AS is_carried FROM ({logs.once("records")}))
        JOIN (VALUES {", ".join(rows)}) AS cut(of_device, of_session, segment, start_s, end_s)
            ON device = of_device AND session = of_session AND kind IS NOT NULL
            AND kind NOT IN ('service_started', 'service_stopped')
            AND CASE WHEN kind = 'emotion' THEN ({reaches}) OR ({inside}) ELSE {inside} END
    """
