"""UTC as the records write it."""

from datetime import UTC, datetime


def utc_text(moment: datetime) -> str:
    """Return ``moment`` in UTC as ``2026-01-31T12:00:00.123Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
