"""`edgeemo logs export`: records of one kind as a flat table in a file."""

import contextlib
import os
from pathlib import Path
from typing import Final, Literal

from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.errors import ConfigError, LogError
from edge.system.native_path import NativePath
from edgeemo.analysis.database import Logs, text_literal

Format = Literal["csv", "parquet", "json"]
Kind = Literal[
    "emotion", "event", "marker", "track_ended", "health", "service_started", "service_stopped"
]

_SCORES: Final = "scores"
_SHARES: Final = "shares"
_HEAD: Final = ("device", "session", "seq", "monotonic_s")
_BOX: Final = tuple(f"box[{n + 1}] AS {name}" for n, name in enumerate(("x1", "y1", "x2", "y2")))
_POSE: Final = tuple(f"head_pose.{name} AS {name}" for name in ("yaw", "pitch", "roll"))
_COLUMNS: Final[dict[Kind, tuple[str, ...]]] = {
    "emotion": (
        "track", "frame", "file", "label", "confidence", "held_s",
        _SCORES, *_BOX, *_POSE, "latency_ms",
        "quality", *(f'eyes."{side}" AS eye_{side}' for side in ("right", "left")),
    ),
    "event": (
        "track", "frame", "event", "duration_s", "intensity", "degrees", "complete",
    ),
    "marker": ("marker", "phase"),
    "track_ended": (
        "track", "duration_s", _SHARES,
    ),
    "health": (
        "fps", "frames", "dropped_frames", "dropped_records", "rss_mb", "temperature_c",
        "throttled", "fps_limit", "dropped_faces", "disk_free_mb",
    ),
    "service_started": (
        "version", "source", "model", "mesher", "runtime", "recovered_bytes",
        "study", "participant", "condition",
    ),
    "service_stopped": ("reason", "frames", "tracks", "records"),
}  # fmt: skip
_NESTED: Final[dict[Kind, tuple[str, ...]]] = {"emotion": ("blendshapes", "mesh")}
"""What has no place in a flat table; null where the log has none of it."""
_TEXT_TIME: Final = "strftime(time, '%Y-%m-%dT%H:%M:%S.%gZ') AS time"
_WRITERS: Final[dict[Format, tuple[str, str]]] = {
    "csv": (_TEXT_TIME, "FORMAT csv, HEADER true"),
    "parquet": ("time AT TIME ZONE 'UTC' AS time", "FORMAT parquet, COMPRESSION zstd"),
    "json": (_TEXT_TIME, "FORMAT json"),
}
"""By format: the time as others read it, and what DuckDB's COPY is told."""


_SUFFIXES: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}

_FOREIGN: Final = frozenset({".xlsx", ".xls", ".ods", ".feather", ".sqlite", ".db", ".gz", ".zip"})
"""Whatever --format says, nobody could open a file of such a name."""


def format_of(target: Path, asked: Format | None) -> Format:
    """Return the format of an export: the one asked for, or the one that its file's name says.

    Raises:
        ConfigError: the name says another one, or none that can be written.
    """
    suffix = target.suffix.lower()
    named = _SUFFIXES.get(suffix)
    if named is None and suffix and (asked is None or suffix in _FOREIGN):
        raise ConfigError(
            f"--out {target}: no {suffix} is written; expected a name that ends in "
            f"{', '.join(_SUFFIXES)} (spreadsheets open .csv)"
        )
    if named is not None and asked not in {None, named}:
        raise ConfigError(f"--out {target} --format {asked}: the name says {named}; change one")
    return asked or named or "csv"


def export(logs: Logs, kind: Kind, form: Format, target: Path) -> int:
    """Write all records of ``kind``, ordered within each session; return how many there are.

    The file appears whole or not at all. Blendshapes and meshes are in Parquet and JSON only.

    Raises:
        LogError: the logs cannot be read or the file cannot be written.
    """
    # Short and plain: DuckDB takes UTF-8 only, and a long name has no room for an addition.
    part = target.with_name(f".edgeemo-{os.getpid()}.part")
    time, options = _WRITERS[form]
    query = selected(logs, kind, time, nested=form != "csv")
    try:
        with contextlib.closing(NativePath(target.parent)) as folder:
            name = text_literal(f"{folder}/{part.name}")
            # The file keeps the order of the query, whose memory is bounded by spilling.
            ((count,),) = logs.rows(f"COPY ({query}) TO {name} ({options})")
        os.replace(part, target)  # noqa: PTH105 - over an earlier export
    except OSError as error:
        raise LogError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        part.unlink(missing_ok=True)
    return int(count)


def selected(logs: Logs, kind: Kind, time: str = "time", *, nested: bool = True) -> str:
    """Return a query for the records of ``kind``, ordered within each session.

    Args:
        logs: where they are; its span is what is asked for.
        kind: which.
        time: the column of the time, as SQL.
        nested: also what has no place in a flat table.
    """
    more = _NESTED.get(kind, ()) if nested else ()
    own = logs.with_own_scores() if {_SCORES, _SHARES} & {*_COLUMNS[kind]} else ()
    unpacked = {
        _SCORES: [f'scores."{name}" AS "score_{name}"' for name in (*EMOTIONS, *own)],
        _SHARES: [f'shares."{name}" AS "share_{name}"' for name in (*EMOTIONS, *own, UNCERTAIN)],
    }
    names = [name for one in _COLUMNS[kind] for name in unpacked.get(one, [one])]
    columns = ", ".join((time, *_HEAD, *names, *more))
    # An emotion lasts until another kind of record; the others need no neighbours of another kind.
    others = logs.once(f"(FROM records WHERE kind = {text_literal(kind)})")
    chosen = logs.held() if kind == "emotion" else others
    only = f"WHERE kind = {text_literal(kind)}"
    return f"SELECT {columns} FROM ({chosen}) {only} ORDER BY device, session, seq"
