"""Where a store keeps what, by names that every reader of Hive partitions understands."""

import hashlib
from pathlib import Path
from typing import Final

from edge.contract.logfiles import STORE_NAME
from edgeemo.analysis.database import COLUMNS

SCHEMA: Final = 1
"""Version of the layout; fields are only ever added within one."""

RECORDS: Final = "records"
HOURS: Final = "hours"
EMOTIONS: Final = "emotions"
TRACKS: Final = "tracks"
COPIES: Final = "copies"

MANY: Final = "__many__"
"""Partition of the names beyond ``MOST_NAMES`` of one log: no device has so many."""
MOST_NAMES: Final = 64
_MOST_BYTES: Final = 160
_SAFE: Final = frozenset("-_.+@,~")

DERIVED: Final = {
    "log": "VARCHAR",
    "held_s": "DOUBLE",
    "is_still": "BOOLEAN",
    "begins_track": "BOOLEAN",
    "track_first_s": "DOUBLE",
}
"""Columns of ``records`` that no line of a log has.

``log``: the folder that the record came from. ``held_s``, ``is_still``: see
``edgeemo.analysis.held``. ``begins_track``: the first record of its track. ``track_first_s``: that
record's ``monotonic_s``.
"""


SHAPES: Final = "MAP(VARCHAR, DOUBLE)"
"""Type of ``blendshapes``: 52 columns that are nearly always empty would cost most of the time."""


def stored_columns() -> dict[str, str]:
    """Return name and SQL type of all columns of ``records``, in their order."""
    return {**COLUMNS, **DERIVED, "time": "TIMESTAMP WITH TIME ZONE", "blendshapes": SHAPES}


def with_all_columns(rows: str) -> str:
    """Return a query for rows of ``records``; what an older edgeemo did not know is null."""
    columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in stored_columns().items())
    return f"((SELECT {columns} WHERE false) UNION ALL BY NAME (FROM {rows}))"


def store_of(root: Path) -> Path:
    """Return where the store of the logs below ``root`` is, or would be."""
    return root / STORE_NAME


def partition_value(text: str) -> str:
    """Return a name as the value of a Hive partition.

    ASCII characters that a file system, a shell or a pattern takes for more than themselves are
    written ``%XX``, as Hive and Spark do; a long name ends in a part of its SHA-256. The column in
    the files has the name as it is.
    """
    value = "".join(c if _is_plain(c) else _escape(c) for c in text) or "%"
    if len(value.encode()) <= _MOST_BYTES:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{value.encode()[:100].decode('utf-8', 'ignore')}~{digest}"


def _is_plain(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in _SAFE
    return character.isprintable()


def _escape(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
