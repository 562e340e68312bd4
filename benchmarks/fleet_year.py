"""A year of many devices, as a store's roll-ups have it: how long the share of time by label takes.

    python benchmarks/fleet_year.py [--devices 500] [--dir build/fleet-year]

Writes the table ``emotions`` of a store in its layout, a file for each device, with a row for each
hour of 2026 and each of eight labels, unless the directory is there already: 35 million rows for
500 devices, which stand for 7 billion records at a frame a second by half a face. Then asks for
the share of time by label and week, of all devices and of one, each in a process of its own as a
person would ask. The rows are made up; their number, types and order are those of a store.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from edge.contract.labels import EMOTIONS
from edgeemo.analysis.database import import_duckdb

_HOURS = 365 * 24
_ROWS = """
    COPY (
        SELECT 'pi-{number}' AS device, 'session-' || (hour // 500) AS session,
            make_timestamp(1767225600000000 + hour * 3600000000) AT TIME ZONE 'UTC' AS hour, label,
            'ok' AS quality, 200 + (hash(hour, label, {number}) % 300)::BIGINT AS records,
            (hash(label, hour, {number}, 1) % 450000000)::BIGINT AS held_us, 0::BIGINT AS faces,
            150.5 + (hash(hour, label) % 100) AS confidence_sum, 250::BIGINT AS confidence_count,
            map([8, 12, 16], [10::BIGINT, 40 + hour % 7, 200]) AS confidence_bins
        FROM range({hours}) AS hours(hour), unnest({labels}) AS labels(label) ORDER BY hour
    ) TO '{path}' (FORMAT parquet, COMPRESSION zstd)
"""
QUESTION = """
    SELECT date_trunc('week', hour) AS week, label, sum(held_us) / 1e6 AS seconds
    FROM (
        SELECT hour, label, sum(held_us) AS held_us FROM read_parquet('{files}') GROUP BY ALL
    ) GROUP BY ALL ORDER BY ALL
"""
"""By hour and label first: there are few, and only they need a calendar."""


def write(store: Path, devices: int) -> None:
    """Write the table."""
    duckdb = import_duckdb()
    for number in range(devices):
        folder = store / "emotions" / f"device=pi-{number}" / "year=2026"
        folder.mkdir(parents=True)
        path = folder / "000000.parquet"
        labels = str(list(EMOTIONS))
        duckdb.sql(_ROWS.format(number=number, hours=_HOURS, labels=labels, path=path))


def ask(files: str) -> None:
    """Answer one question, and print what it took."""
    began = time.perf_counter()
    rows = import_duckdb().sql(QUESTION.format(files=files)).fetchall()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        f"{len(rows)} rows in {time.perf_counter() - began:.2f} s; with its start "
        f"{usage.ru_utime + usage.ru_stime:.2f} s CPU, {usage.ru_maxrss / 1000:.0f} MB"
    )


def main() -> None:
    """Write, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", type=int, default=500)
    parser.add_argument("--dir", type=Path, default=Path("build/fleet-year"))
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        ask(options.ask)
        return
    store = options.dir / "edgeemo-store"
    if not store.exists():
        write(store, options.devices)
    files = list(store.rglob("*.parquet"))
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    rows = len(files) * _HOURS * len(EMOTIONS)
    print(f"{len(files)} devices, {rows:,} rows, {size_mb:,.0f} MB, {os.cpu_count()} cores")
    for title, pattern in (("all devices", "*/*/*.parquet"), ("one device", "device=pi-0/*/*")):
        print(f"{title}: ", end="", flush=True)
        question = str(store / "emotions" / pattern)
        subprocess.run([sys.executable, __file__, "--ask", question], check=True)


if __name__ == "__main__":
    main()
