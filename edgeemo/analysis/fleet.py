"""`edgeemo logs fleet`: how each device does, and which of them need somebody."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from edge.errors import ConfigError
from edge.files import read_bounded
from edgeemo.analysis.database import Logs
from edgeemo.analysis.hours import hours_in
from edgeemo.analysis.losses import Run, lost_records

_WEEK: Final = timedelta(days=7)
_USUAL: Final = timedelta(days=28)
_FIRST_YEAR: Final = 2024
"""No log is older: an earlier date is that of a board without a clock."""
_MOST_BYTES: Final = 1 << 16

Number = Annotated[float, msgspec.Meta(gt=0)]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a device needs attention; a rule that is ``false`` is off.

    Attributes:
        silent_min: nothing was heard of it for so many minutes.
        fps_share: its last hour's frames a second are under that share of its median.
        lost_records: so many records of the last seven days are missing, or more.
        camera_lost_h: its camera has been lost for so many hours.
        stopped: its service was stopped.
        clock_off_min: its clock is ahead by so many minutes, has jumped by as many, or was never
            set.
        temperature_c: it is as hot as that.
        disk_free_mb: no more is left on the disk of its log.
        throttled: the board holds itself back.
        model_differs: it has another model than most.
    """

    silent_min: Number | bool = 15
    fps_share: Number | bool = 0.5
    lost_records: Number | bool = 1
    camera_lost_h: Number | bool = 1
    stopped: bool = True
    clock_off_min: Number | bool = 5
    temperature_c: Number | bool = 80
    disk_free_mb: Number | bool = 300
    throttled: bool = True
    model_differs: bool = True


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rules: Rules = Rules()


class Device(msgspec.Struct, frozen=True):
    """What is known of a device from its log.

    Attributes:
        log: the folder of its log; two devices of one name have two.
        device: what it called itself last.
        last: its last record (UTC).
        state: ``running``, ``camera lost`` or ``stopped``, by its last such record; ``silent`` of
            one that runs for all that is known.
        since: when it came to be so.
        reason: of that.
        fps, usual_fps: of its last hour, and the median of its hours in four weeks.
        temperature_c, throttled, disk_free_mb: by its last health record.
        lost: records of the last seven days that are missing.
        outages, outage_s: of its camera, in the last seven days; the time is that of those that are
            over.
        restarts: of its service, in the last seven days.
        clock_jump_s: by how much its clock jumped within a session, in the last seven days.
        problems: why it needs attention.
    """

    log: str
    device: str
    last: datetime
    state: str
    since: datetime | None
    reason: str
    version: str
    model: str
    fps: float | None
    usual_fps: float | None
    temperature_c: float | None
    throttled: str | None
    disk_free_mb: float | None
    lost: int
    outages: int
    outage_s: float
    restarts: int
    clock_jump_s: float
    problems: list[str] = []


def read_rules(path: Path | None) -> Rules:
    """Return the rules of a TOML file, under ``[rules]``; without one, the defaults.

    Raises:
        ConfigError: it cannot be read, or has a rule that is none.
    """
    if path is None:
        return Rules()
    try:
        return msgspec.toml.decode(read_bounded(path, _MOST_BYTES), type=_File).rules
    except OSError as error:
        raise ConfigError(f"--rules {path}: cannot be read ({error.strerror})") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        names = ", ".join(Rules.__struct_fields__)
        raise ConfigError(
            f"--rules {path}: {error}; expected a [rules] table with any of {names}"
        ) from error


def fleet(logs: Logs, rules: Rules, now: datetime) -> list[Device]:
    """Return all devices, the worst first.

    What a device does now is judged by its newest log; a copy that a collect has set aside beside
    it (``pi-3~1``) is skipped.

    Args:
        logs: of the fleet.
        rules: what needs attention.
        now: UTC.

    Raises:
        LogError: the logs cannot be read.
    """
    hours = _recent(logs, now)
    rows = logs.rows(f"""
        SELECT log, arg_max(device, last_seq), arg_max(last_time, last_seq),
            arg_max(event, event_seq), arg_max(event_time, event_seq),
            arg_max(coalesce(reason, ''), event_seq) FILTER (event IS NOT NULL),
            arg_max(version, last_seq) FILTER (version IS NOT NULL),
            arg_max(model, last_seq) FILTER (model IS NOT NULL),
            arg_max(fps_sum / fps_count, last_seq) FILTER (fps_count > 0),
            median(fps_sum / fps_count) FILTER (fps_count > 0 AND is_usual),
            arg_max(temperature_c, last_seq) FILTER (temperature_c IS NOT NULL),
            arg_max(throttled, last_seq) FILTER (throttled IS NOT NULL),
            arg_max(disk_free_mb, last_seq) FILTER (disk_free_mb IS NOT NULL),
            coalesce(sum(outages) FILTER (is_of_week), 0)::BIGINT,
            coalesce(sum(outage_s) FILTER (is_of_week), 0),
            coalesce(sum(starts) FILTER (is_of_week), 0)::BIGINT
        FROM {hours} GROUP BY log
    """)
    current = [row for row in rows if not _is_aside(row[0], {row[0] for row in rows})]
    lost, jumps = _lost(logs, hours), _jumps(logs, hours)
    models = Counter(row[7] for row in current if row[7])
    usual_model = models.most_common(1)[0][0] if models else None
    devices = [_device(row, lost.get(row[0], 0), jumps.get(row[0], 0.0)) for row in current]
    judged = [_judged(one, list(_problems(one, rules, usual_model, now))) for one in devices]
    return sorted(judged, key=lambda one: (-len(one.problems), one.last, one.log))


def _recent(logs: Logs, now: datetime) -> str:
    """Return the name of a table with the hours, and which are of the last week and four weeks.

    Numbers tell it, not dates: a clock that was wrong for a day neither hides what came after nor
    brings back what was long before.
    """
    week, usual = (
        f"min(first_seq) FILTER (hour BETWEEN {_literal(now - span)} AND {_literal(now)})"
        for span in (_WEEK, _USUAL)
    )
    hours = hours_in(logs)
    logs.rows(f"""
        CREATE OR REPLACE TEMP TABLE recent AS
        WITH bounds AS (SELECT log, {week} AS of_week, {usual} AS usual FROM {hours} GROUP BY log)
        SELECT hours.*, coalesce(first_seq >= of_week, false) AS is_of_week,
            coalesce(first_seq >= usual, false) AS is_usual
        FROM {hours} AS hours JOIN bounds USING (log)
    """)
    return "recent"


def _device(row: Sequence[Any], lost: int, jump_s: float) -> Device:
    log, device, last, event, since, reason, version, model, fps, usual, *rest = row
    temperature_c, throttled, disk_free_mb, outages, outage_s, starts = rest
    states = {"service_stopped": "stopped", "camera_lost": "camera lost"}
    state = states.get(event, "running")
    return Device(
        log=log,
        device=device,
        last=_utc(last),
        state=state,
        since=None if since is None else _utc(since),
        reason=reason if state != "running" and reason else "",
        version=version or "",
        model=model or "",
        fps=fps,
        usual_fps=usual,
        temperature_c=temperature_c,
        throttled=throttled,
        disk_free_mb=disk_free_mb,
        lost=lost,
        outages=outages,
        outage_s=outage_s,
        restarts=max(0, starts - 1),
        clock_jump_s=jump_s,
    )


def _judged(one: Device, problems: list[str]) -> Device:
    is_silent = one.state == "running" and any(what.startswith("silent") for what in problems)
    state = "silent" if is_silent else one.state
    return msgspec.structs.replace(one, state=state, problems=problems)


def _problems(one: Device, rules: Rules, usual_model: str | None, now: datetime) -> Iterable[str]:
    silent_min = (now - one.last) / timedelta(minutes=1)
    if one.state == "stopped" and rules.stopped:
        yield f"stopped ({one.reason})" if one.reason else "stopped"
    elif _is_over(silent_min, rules.silent_min):
        yield f"silent for {_length(silent_min * 60)}"
    if _is_over(one.lost, rules.lost_records):
        yield f"{one.lost:,} records lost"
    if rules.clock_off_min is not False:
        yield from _clock(one, silent_min, rules.clock_off_min)
    if rules.model_differs and one.model and one.model != usual_model:
        yield f"model {one.model}"
    yield from _sight(one, rules, now)
    yield from _heat(one, rules)
    if one.disk_free_mb is not None and 0 <= one.disk_free_mb < rules.disk_free_mb:
        yield f"{one.disk_free_mb:,.0f} MB of disk left"


def _sight(one: Device, rules: Rules, now: datetime) -> Iterable[str]:
    if one.state == "camera lost" and one.since is not None:
        lost_s = (now - one.since).total_seconds()
        if _is_over(lost_s / 3600, rules.camera_lost_h):
            yield f"camera lost for {_length(lost_s)}"
    if one.fps is None or one.usual_fps is None or rules.fps_share is False:
        return
    if one.fps < rules.fps_share * one.usual_fps:
        yield f"{one.fps:.1f} frames/s, usually {one.usual_fps:.1f}"


def _heat(one: Device, rules: Rules) -> Iterable[str]:
    if one.temperature_c is not None and _is_over(one.temperature_c, rules.temperature_c):
        yield f"{one.temperature_c:.0f} °C"
    if rules.throttled and one.throttled not in {None, "0", "0x0"}:
        yield f"throttled {one.throttled}"


def _clock(one: Device, silent_min: float, limit_min: float) -> Iterable[str]:
    if one.last.year < _FIRST_YEAR:
        yield f"clock says {one.last.year}"
    elif -silent_min >= limit_min:
        yield f"clock {_length(-silent_min * 60)} ahead"
    elif one.clock_jump_s >= limit_min * 60:
        yield f"clock jumped by {_length(one.clock_jump_s)}"


def _is_over(value: float, limit: float | bool) -> bool:
    return limit is not False and value >= limit


def _lost(logs: Logs, hours: str) -> dict[Any, int]:
    """Return how many records of the week are missing, by log; whole hours count."""
    rows = logs.rows(f"""
        SELECT log, device, session, min(first_seq), max(last_seq), sum(records)::BIGINT
        FROM {hours} WHERE is_of_week GROUP BY ALL
    """)
    numbers: dict[str, int] = {}
    return dict(
        lost_records(
            Run(
                log, (device, session), numbers.setdefault(log, len(numbers)),
                first, last, first, last, count,
            )
            for log, device, session, first, last, count in rows
        )
    )  # fmt: skip


def _jumps(logs: Logs, hours: str) -> dict[str, float]:
    """Return by how much each log's clock jumped against the time that passed."""
    found: defaultdict[str, float] = defaultdict(float)
    for log, low, high in logs.rows(f"""
        SELECT log, min(clock_low_s), max(clock_high_s) FROM {hours}
        WHERE is_of_week AND clock_low_s IS NOT NULL GROUP BY log, device, session
    """):
        found[log] = max(found[log], high - low)
    return found


def _is_aside(log: str, logs: set[str]) -> bool:
    name, tilde, number = log.rpartition("~")
    return bool(tilde) and number.isdigit() and name in logs


def _length(seconds: float) -> str:
    """Return a length of time in one unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{math.floor(seconds / size)} {unit}"
    return f"{seconds:.0f} s"


def _literal(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.astimezone(UTC).replace(tzinfo=None).isoformat(' ')}'"


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
