"""A part of the time, asked of hourly roll-ups: whole hours from there, its edges from records."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Self

import msgspec

from edgeemo.analysis.store.catalogue import Part
from edgeemo.analysis.store.layout import EMOTIONS, HOURS, TRACKS
from edgeemo.analysis.store.rollups import emotions_of, hours_of, tracks_of
from edgeemo.analysis.summary import HELD_US
from edgeemo.analysis.time_range import Span

_HOUR = timedelta(hours=1)
_ENDS = f"time + to_microseconds({HELD_US})"


class WholeHours(msgspec.Struct, frozen=True):
    """A span, and the whole hours in it.

    Attributes:
        span: what is asked for.
        inner: from the first whole hour on, and before the end of the last one.
    """

    span: Span
    inner: Span

    @classmethod
    def of(cls, span: Span) -> Self | None:
        """Return those of a span; None: it has none."""
        since, until = span.since, span.until
        first = None if since is None else -(-(since - _EPOCH) // _HOUR) * _HOUR + _EPOCH
        last = None if until is None else (until - _EPOCH) // _HOUR * _HOUR + _EPOCH
        if first is not None and last is not None and first >= last:
            return None
        return cls(span, Span(first, last))

    @property
    def condition(self) -> str:
        """Tell the whole hours from others, in SQL, by ``hour``."""
        return _within(self.inner, "hour")

    def has_day(self, day: str) -> bool:
        """Tell whether some of the whole hours are of a day."""
        since, until = self.inner.since, self.inner.until
        begins = datetime.combine(date.fromisoformat(day), time(), UTC)
        return (since is None or begins + timedelta(days=1) > since) and (
            until is None or begins < until
        )

    def is_near(self, part: Part) -> bool:
        """Tell whether a part has records of the edges, or some that last over one of them."""
        begins = datetime.combine(date.fromisoformat(part.day), time(), UTC)
        return any(
            edge is not None and begins <= edge and (part.ends_s >= edge.timestamp())
            for edge in (self.span.since, self.span.until)
        ) or any(
            edge is not None and begins.date() == edge.date()
            for edge in (self.inner.since, self.span.since, self.span.until)
        )

    @property
    def edges(self) -> str:
        """Tell the records that are of the edges, or last over one, from others, in SQL."""
        over = " OR ".join(
            f"(time < {edge} AND held_s > 0 AND {_ENDS} > {edge})"
            for edge in self.span.limits
            if edge
        )
        return f"({_within(self.span, 'time')} AND NOT ({_within(self.inner, 'time')})) OR {over}"

    def views(self) -> dict[str, str]:
        """Return the roll-ups of the span, by name, of ``near`` and those that are stored.

        ``near`` has the records that ``edges`` tells.
        """
        since, until = self.span.limits
        held = "held_s"
        if until:
            left_s = f"date_diff('microsecond', time, {until}) / 1e6"
            held = f"CASE WHEN held_s IS NOT NULL THEN least(held_s, {left_s}) END AS held_s"
        edges = (
            f"SELECT * REPLACE ({held}) FROM near WHERE {_within(self.span, 'time')} "
            f"AND NOT ({_within(self.inner, 'time')})"
        )
        if not until:
            edges = edges.replace(f" REPLACE ({held})", "")
        made = {HOURS: hours_of(edges), EMOTIONS: emotions_of(edges), TRACKS: tracks_of(edges)}
        parts = {table: [f"FROM stored_{table}", query] for table, query in made.items()}
        columns = "device, session, label, coalesce(quality, 'ok') AS quality"
        none = "0 AS records, 0 AS faces, 0 AS confidence_sum, 0 AS confidence_count"
        moved: list[str] = []
        if since:
            # What a face showed already when the span begins counts from there.
            ends = f"least({_ENDS}, {until})" if until else _ENDS
            moved.append(
                f"SELECT log, track, {columns}, date_trunc('hour', {since}) AS hour, {none}, "
                f"date_diff('microsecond', {since}, {ends}) AS held_us FROM near "
                f"WHERE kind = 'emotion' AND time < {since} AND {_ENDS} > {since}"
            )
        if until:
            # What a face shows when it ends counts until there.
            moved.append(
                f"SELECT log, track, {columns}, date_trunc('hour', time) AS hour, {none}, "
                f"-date_diff('microsecond', {until}, {_ENDS}) AS held_us FROM near "
                f"WHERE kind = 'emotion' AND {_within(self.inner, 'time')} AND {_ENDS} > {until}"
            )
        for query in moved:
            parts[HOURS].append(
                f"SELECT DISTINCT log, device, session, hour, 0 AS records FROM ({query})"
            )
            parts[EMOTIONS].append(f"SELECT * EXCLUDE (log, track) FROM ({query})")
            parts[TRACKS].append(f"SELECT * EXCLUDE (log, quality) FROM ({query})")
        return {
            table: " UNION ALL BY NAME ".join(f"({query})" for query in queries)
            for table, queries in parts.items()
        }


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _within(span: Span, name: str) -> str:
    limits = zip((">=", "<"), span.limits, strict=True)
    return " AND ".join([f"{name} {sign} {at}" for sign, at in limits if at] or ["true"])
