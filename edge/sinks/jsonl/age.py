"""Whether the clock may decide which files are too old.

A small board has no clock of its own. It may come up years ahead or behind, and be set right
minutes later, or never: a clock that is wrong at boot must not remove a log.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.contract.logfiles import FILE_NAME, closed_files

SYNCHRONIZED: Final = Path("/run/systemd/timesync/synchronized")
"""Is there once systemd's time service has set the clock, and gone with the next boot."""
GAP_S: Final = 2 * 86_400.0
"""Files of a log that is kept going follow each other within a day; with as much to spare."""


def trusted_now(now_s: float, directory: Path, keep_s: float) -> float | None:
    """Return the time that ages may be counted from, or None while there is none.

    A clock that was set by a time server since boot is believed. Any other one must agree with the
    log: files that follow each other without a gap, up to now, for as long as a file is kept and a
    gap more. A clock that is wrong by more than a gap makes one, so that the log must have run on
    with it for all that time; for one that is wrong by less, ages count a gap less.

    Args:
        now_s: what the clock says, in seconds since 1970.
        directory: the log's.
        keep_s: how long a file is kept.

    Raises:
        OSError: the directory cannot be read.
    """
    if os.path.exists(SYNCHRONIZED):  # noqa: PTH110 - never raises
        return now_s
    paths = [file.path for file in closed_files(directory)] + [directory / FILE_NAME]
    written_s = [path.stat().st_mtime for path in paths if path.exists()]
    return now_s - GAP_S if covered_s(written_s, now_s) >= keep_s + GAP_S else None


def covered_s(written_s: Sequence[float], now_s: float) -> float:
    """Return how far back a log reaches without a gap.

    Args:
        written_s: when each of its files was last written, in their order.
        now_s: until when.
    """
    since_s = now_s
    for moment_s in reversed(written_s):
        if abs(since_s - moment_s) > GAP_S:
            break
        since_s = moment_s
    return now_s - since_s


def in_order(written_s: Sequence[float], now_s: float) -> list[float]:
    """Return when files were last written, as far as their order allows.

    A moment in the future, or before that of an earlier file, is a wrong clock's: such a file
    counts as old as the next one that has a right moment, or as new.

    Args:
        written_s: what the disk says, in the order of the files.
        now_s: a clock that is right.
    """
    latest_s, believed = float("-inf"), []
    for moment_s in written_s:
        is_right = latest_s <= moment_s <= now_s
        latest_s = moment_s if is_right else latest_s
        believed.append(moment_s if is_right else None)
    next_s, ordered = now_s, []
    for moment in reversed(believed):
        next_s = next_s if moment is None else moment
        ordered.append(next_s)
    return ordered[::-1]
