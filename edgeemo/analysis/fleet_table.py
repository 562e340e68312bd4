"""A fleet and its sessions as tables for people."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from rich.table import Table
from rich.text import Text

from edge.text import plain
from edgeemo.analysis.fleet import Device
from edgeemo.analysis.sessions import Session
from edgeemo.analysis.summary_table import NOTHING, duration

DEVICE_HEADINGS: Final = (
    "last seen", "state", "version", "model", "frames/s (usual)", "°C", "throttled",
    "disk", "lost", "outages", "needs attention",
)  # fmt: skip
_SESSION: Final = (
    "device", "session", "from (UTC)", "to (UTC)", "records", "lost", "tracks", "face time",
    "version", "model", "ended",
)  # fmt: skip
_RIGHT: Final = frozenset(
    {"frames/s (usual)", "°C", "disk", "lost", "outages", "records", "tracks", "face time"}
)


def fleet_table(devices: Sequence[Device], now: datetime) -> Table:
    """Return one line a device; lost and outages are those of the last seven days."""
    names = [one.device for one in devices]
    headings = ("device", *DEVICE_HEADINGS)
    return _table(headings, (_device(one, now, names.count(one.device) > 1) for one in devices))


def device_cells(one: Device, now: datetime) -> Sequence[str]:
    """Return what the columns after the name show of a device."""
    outages = f"{one.outages} ({duration(one.outage_s)})" if one.outages else "0"
    usual = "" if one.usual_fps is None else f" ({one.usual_fps:.1f})"
    return (
        _ago(now - one.last),
        one.state,
        plain(one.version, 16),
        plain(one.model, 24),
        NOTHING if one.fps is None else f"{one.fps:.1f}{usual}",
        "" if one.temperature_c is None else f"{one.temperature_c:.0f}",
        "" if one.throttled in {None, "0", "0x0"} else plain(one.throttled, 12),
        "" if one.disk_free_mb is None else f"{one.disk_free_mb / 1000:.1f} GB",
        f"{one.lost:,}",
        outages,
        "; ".join(plain(problem, 80) for problem in one.problems),
    )


def sessions_table(sessions: Sequence[Session]) -> Table:
    """Return one line a session."""
    return _table(
        _SESSION,
        (
            (
                plain(one.device, 24), plain(one.session, 16), f"{one.first:%Y-%m-%d %H:%M:%S}",
                f"{one.last:%Y-%m-%d %H:%M:%S}", f"{one.records:,}", f"{one.lost:,}",
                f"{one.tracks:,}", duration(one.face_s), plain(one.version, 16),
                plain(one.model, 24), plain(one.ended, 40),
            )
            for one in sessions
        ),
    )  # fmt: skip


def _device(one: Device, now: datetime, has_namesake: bool) -> Sequence[str]:
    name = plain(one.device, 24)
    if has_namesake:
        name = f"{name} in {plain(one.log, 24)}"
    return (name, *device_cells(one, now))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        side = "right" if heading in _RIGHT else "left"
        table.add_column(heading, justify=side, no_wrap=heading != "needs attention")  # type: ignore[arg-type]
    for row in rows:
        # Text, for what a log holds must not be taken for rich's own markup.
        table.add_row(*map(Text, row))
    return table


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 0:
        return "in the future"
    return f"{duration(seconds)} ago" if seconds < 172800 else f"{age.days} d ago"
