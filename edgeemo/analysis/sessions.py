"""`edgeemo logs sessions`: each run of edgeemo, from its start to why it ended."""

from datetime import datetime

import msgspec

from edgeemo.analysis.database import Logs
from edgeemo.analysis.hours import hours_in
from edgeemo.analysis.summary import summarise


class Session(msgspec.Struct, frozen=True):
    """One run of edgeemo.

    Attributes:
        log: the folder that most of it is in.
        first, last: UTC.
        face_s: how long faces were seen.
        lost: records that are missing, before it and in it.
        ended: why, by its own word; empty while it runs, or if it was killed.
    """

    log: str
    device: str
    session: str
    first: datetime
    last: datetime
    records: int
    lost: int
    tracks: int
    face_s: float
    version: str
    model: str
    ended: str


def sessions(logs: Logs) -> list[Session]:
    """Return all sessions, the newest first.

    Raises:
        LogError: the logs cannot be read.
    """
    hours = hours_in(logs)
    rows = logs.rows(f"""
        SELECT device, session, arg_max(log, records),
            coalesce(arg_max(version, last_seq) FILTER (version IS NOT NULL), ''),
            coalesce(arg_max(model, last_seq) FILTER (model IS NOT NULL), ''),
            coalesce(arg_max(reason, event_seq) FILTER (event = 'service_stopped'), ''),
            arg_max(event, event_seq) = 'service_stopped'
        FROM {hours} GROUP BY device, session
    """)
    facts = {(device, session): rest for device, session, *rest in rows}
    found = []
    for group in summarise(logs, "session").groups:
        device, session = group.key
        log, version, model, reason, is_over = facts[device, session]
        if group.first is None or group.last is None:
            continue
        found.append(
            Session(
                log, device, session, group.first, group.last, group.records, group.lost or 0,
                group.tracks, sum(group.seconds.values()), version, model,
                (reason or "stopped") if is_over else "",
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (one.first, one.device), reverse=True)
