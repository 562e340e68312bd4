"""Print how this device's service has done of late, by its log, as JSON. Changes nothing.

    recent.py DIRECTORY SECONDS

Run as ``python3 -c``, hence one file.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_CURRENT = "edgeemo.jsonl"
_CLOSED = "edgeemo-[0-9]*.jsonl*"
_MOST_LINES = 2_000_000
_LONGEST = 1 << 20


def _lines(directory: Path, since: str) -> Iterator[dict[str, Any]]:
    """Yield the records from then on, file by file, the newest file first."""
    closed = sorted(directory.glob(_CLOSED), reverse=True)
    left = _MOST_LINES
    for path in (directory / _CURRENT, *closed):
        if path.is_symlink() or not path.is_file():
            continue
        is_older = False
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rb") as file:
            while left and (line := file.readline(_LONGEST)):
                left -= 1
                try:
                    record = json.loads(line)
                    is_new = str(record["time"]) >= since
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
                if is_new:
                    yield record
                else:
                    is_older = True
        if is_older or not left:
            return


def _numbers(records: list[dict[str, Any]], name: str) -> list[float]:
    values = [record.get(name) for record in records]
    return [value for value in values if isinstance(value, (int, float))]


def recent(directory: Path, seconds: float) -> dict[str, Any]:
    """Return what `deploy.operations.canary.Recent` says."""
    start = datetime.now(UTC) - timedelta(seconds=seconds)
    since = start.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kinds: dict[str, list[dict[str, Any]]] = {}
    numbers = set()
    for record in _lines(directory, since):
        kinds.setdefault(str(record.get("kind")), []).append(record)
        if isinstance(record.get("seq"), int):
            numbers.add(record["seq"])
    health, emotions = kinds.get("health", []), kinds.get("emotion", [])
    fps, heat = _numbers(health, "fps"), _numbers(health, "temperature_c")
    uncertain = sum(record.get("label") == "uncertain" for record in emotions)
    return {
        "records": len(numbers),
        "lost": max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0,
        "fps": statistics.median(fps) if fps else None,
        "temperature_c": max(heat) if heat else None,
        "emotions": len(emotions),
        "uncertain": uncertain,
        "outages": len(kinds.get("camera_lost", [])),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(recent(Path(sys.argv[1]), float(sys.argv[2]))) + "\n")
