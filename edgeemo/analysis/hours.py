"""Hours of sessions, as a store keeps them, of any logs: what a look at a fleet needs."""

from edgeemo.analysis.database import Logs, text_literal
from edgeemo.analysis.store.rollups import hours_of


def hours_in(logs: Logs) -> str:
    """Return the name of a view or table with the hours of the records that are asked for.

    Raises:
        LogError: the logs cannot be read.
    """
    if logs.has_rollups:
        return "hours"
    names = ", ".join(map(text_literal, logs.names))
    records = f"""
        SELECT *, [{names}][folder + 1] AS log, row_number() OVER (
            PARTITION BY device, session, track ORDER BY seq) = 1 AS begins_track
        FROM ({logs.held()}) WHERE kind IS NOT NULL
    """
    logs.rows(f"CREATE OR REPLACE TEMP TABLE hours_of_logs AS {hours_of(records)}")
    return "hours_of_logs"
