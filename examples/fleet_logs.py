"""Logs of a fleet, as `edgeemo logs collect` brings them: a line for each device.

python examples/fleet_logs.py fleet/        (needs the extra `analysis`)
"""

import sys

import edgeemo


def main(folder: str) -> None:
    with edgeemo.open_log(folder) as log:
        summary = log.summary(by="device").select("device, records, tracks, lost, last")
        for device, records, tracks, lost, last in summary.fetchall():
            print(f"{device}: {records:,} records, {tracks} tracks, {lost} lost, last {last:%F %T}")
        longest = log.tracks().order("duration_s DESC").limit(3)
        for device, track, duration_s in longest.select("device, track, duration_s").fetchall():
            print(f"{device}: track {track} stayed for {duration_s:.1f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
