"""Points in time as people give them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from edge.errors import ConfigError

_AGO: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(s|m|min|h|d|w)")
_UNITS: Final = {
    "s": "seconds",
    "m": "minutes",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "w": "weeks",
}


class Span(msgspec.Struct, frozen=True):
    """From ``since`` on, and before ``until``; None is open. Both carry a time zone."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def limits(self) -> tuple[str | None, str | None]:
        """Both ends as SQL's literals."""
        since, until = (
            None if moment is None else f"TIMESTAMP '{moment.replace(tzinfo=None).isoformat(' ')}'"
            for moment in (self.since, self.until)
        )
        return since, until


def parse_span(since: str | None, until: str | None, now: datetime) -> Span:
    """Read ``--since`` and ``--until``.

    Raises:
        ConfigError: one is no point in time, or they are in the wrong order.
    """
    span = Span(_moment("--since", since, now), _moment("--until", until, now))
    if span.since and span.until and span.since >= span.until:
        raise ConfigError(f"--since {since} is not before --until {until}")
    return span


def _moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """Return a point in time, in UTC unless the text says otherwise."""
    if text is None:
        return None
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{option} {text!r} is no point in time; give a date (2026-01-31), a date and time in "
            "UTC (2026-01-31T12:00), or how long ago (30s, 90min, 24h, 7d, 2w)"
        ) from error
