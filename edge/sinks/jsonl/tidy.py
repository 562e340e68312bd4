"""Closed files: a thread compresses them, and removes them when they are too many or too old."""

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from edge.config import LogConfig
from edge.contract.logfiles import FILE_NAME, PART_SUFFIX, ClosedFile, closed_files
from edge.files import create_anew, is_regular, open_regular

_log = logging.getLogger(__name__)

_BLOCK_BYTES: Final = 1 << 18
_LEVEL: Final = 6
_GZIP_BITS: Final = 31
"""zlib's way to ask for a gzip header around the largest window."""


class Kept(msgspec.Struct, frozen=True):
    """What the removal plan must know of a closed file; ``written_s`` is its last write."""

    path: Path
    size: int
    written_s: float


def tidy(
    directory: Path,
    config: LogConfig,
    now_s: float | None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Compress closed files, remove what is not to be kept, and return what was removed.

    Leftovers of an interrupted compression are cleared. Removal comes first, for compression
    needs space.

    Args:
        directory: the log directory.
        config: what to keep.
        now_s: the time, in seconds since 1970; None leaves age out of account.
        is_stopped: asked now and then; compression ends early when it says so.

    Raises:
        OSError: the disk failed, is full, or the directory is gone.
    """
    for leftover in directory.glob(f"edgeemo-*.jsonl.gz{PART_SUFFIX}"):
        leftover.unlink(missing_ok=True)
    removed = _remove(directory, config, now_s)
    if config.compress == "gzip":
        for file in closed_files(directory):
            if not file.is_compressed and not is_stopped():
                _compress(file.path, is_stopped)
    return removed


def removal_plan(
    files: Sequence[Kept], config: LogConfig, now_s: float | None, *, other: int, free: int
) -> list[Kept]:
    """Return the closed files to remove, oldest first; the newest one always stays.

    It stays because its number must not be given again.

    Args:
        files: all closed files, oldest first.
        config: what to keep.
        now_s: seconds since 1970, or None.
        other: bytes of the file that is being written.
        free: bytes free on the disk.
    """
    total = other + sum(file.size for file in files)
    plan: list[Kept] = []
    written_s = in_order([file.written_s for file in files], now_s or 0.0)
    for file, moment_s in zip(files[:-1], written_s, strict=False):
        is_old = now_s is not None and 0 < config.keep_s < now_s - moment_s
        if not (is_old or total > config.keep_bytes or free < config.min_free_bytes):
            break
        plan.append(file)
        total -= file.size
        free += file.size
    return plan


def _remove(directory: Path, config: LogConfig, now_s: float | None) -> list[Path]:
    files = [_kept(file) for file in closed_files(directory)]
    current = directory / FILE_NAME
    other = current.lstat().st_size if is_regular(current) else 0
    free = shutil.disk_usage(directory).free
    plan = removal_plan(files, config, now_s, other=other, free=free)
    for file in plan:
        file.path.unlink(missing_ok=True)
        _compressed(file.path).unlink(missing_ok=True)
    return [file.path for file in plan]


def _kept(file: ClosedFile) -> Kept:
    status = file.path.lstat()
    return Kept(file.path, status.st_size, status.st_mtime)


def _compressed(path: Path) -> Path:
    return path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")


def _compress(path: Path, is_stopped: Callable[[], bool]) -> None:
    """Replace a file by its compressed form, whole or not at all, with the same time."""
    target = _compressed(path)
    if not is_regular(target):  # else: interrupted after it was complete
        part = target.with_name(f"{target.name}{PART_SUFFIX}")
        try:
            if not _write_gzip(path, part, is_stopped):
                return
            part.replace(target)
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
    path.unlink()


def _write_gzip(source: Path, target: Path, is_stopped: Callable[[], bool]) -> bool:
    """Compress, with the same time; True when done, False when stopped.

    zlib works without Python's lock.
    """
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP_BITS)
    with os.fdopen(open_regular(source), "rb") as plain, create_anew(target, 0o640) as packed:
        while block := plain.read(_BLOCK_BYTES):
            if is_stopped():
                return False
            packed.write(packer.compress(block))
        packed.write(packer.flush())
        packed.flush()
        status = os.fstat(plain.fileno())
        times = status.st_atime_ns, status.st_mtime_ns
        if os.utime in os.supports_fd:
            os.utime(packed.fileno(), ns=times)
        os.fsync(packed.fileno())
    if os.utime not in os.supports_fd:  # Windows
        os.utime(target, ns=times)
    return True


SYNCHRONIZED: Final = Path("/run/systemd/timesync/synchronized")
"""Is there once systemd's time service has set the clock, and gone with the next boot."""
GAP_S: Final = 2 * 86_400.0
"""Files of a log that is kept going follow each other within a day; with as much to spare."""


def trusted_now(now_s: float, directory: Path, keep_s: float) -> float | None:
    """Return the time that ages may be counted from, or None while there is none.

    A small board has no clock of its own. It may come up years ahead or behind, and be set right
    minutes later, or never: a clock that is wrong at boot must not remove a log.

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


_PERIOD_S: Final = 60.0
_PAUSE_S: Final = 2.0
"""Between two rounds at least: a full disk wakes it at every record."""
_NICENESS: Final = 10
_STEP_S: Final = 3600.0
_CALM_S: Final = 86_400.0


class SteadyClock:
    """The time, or None for a day after it leapt forward.

    A clock that is set to a false future for a while would otherwise make every file too old at
    once. Going back is harmless: files seem younger.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_s = wall() - monotonic()
        self._leapt_s: float | None = None

    def now_s(self) -> float | None:
        """Return seconds since 1970, or None while they are not to be trusted."""
        wall_s, steady_s = self._wall(), self._monotonic()
        offset_s = wall_s - steady_s
        if offset_s - self._offset_s > _STEP_S:
            _log.warning(
                "the clock leapt forward by %.0f s: no log file is removed for its age for a day",
                offset_s - self._offset_s,
            )
            self._leapt_s = steady_s
        self._offset_s = offset_s
        if self._leapt_s is not None and steady_s - self._leapt_s < _CALM_S:
            return None
        return wall_s


class Archiver:
    """Tidies when it is woken, and once a minute, so that neither camera nor writer waits for it.

    Args:
        directory: the log's.
        config: what to keep.
        clock: tests have their own.
    """

    def __init__(
        self, directory: Path, config: LogConfig, clock: SteadyClock | None = None
    ) -> None:
        self._directory = directory
        self._config = config
        self._clock = clock or SteadyClock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._complaint = ""
        self._thread = threading.Thread(target=self._run, name="log-archiver", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Tidy soon: a file was closed, or the disk is full."""
        self._wake.set()

    def close(self, timeout_s: float) -> None:
        """Stop; a compression that is under way is given up, and done at the next start."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a niceness of its own
            # A service's filter of system calls may forbid it; tidying is what matters.
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.is_set():
            self._wake.clear()
            self.tidy_once()
            self._stop.wait(_PAUSE_S)
            self._wake.wait(_PERIOD_S)

    def _now_s(self) -> float | None:
        """Return the time that ages count from; None for now, or where age does not count."""
        now_s, keep_s = self._clock.now_s(), self._config.keep_s
        return trusted_now(now_s, self._directory, keep_s) if now_s and keep_s else None

    def tidy_once(self) -> None:
        """Tidy now, as the thread does every minute; a failure is logged once."""
        try:
            removed = tidy(self._directory, self._config, self._now_s(), self._stop.is_set)
        except OSError as error:
            # A deleted directory or a full disk is the writer's to tell; here once is enough.
            if str(error) != self._complaint:
                _log.warning("%s: cannot be tidied (%s)", self._directory, error.strerror)
            self._complaint = str(error)
            return
        self._complaint = ""
        if removed:
            names = ", ".join(path.name for path in removed)
            _log.info("%s: removed as configured: %s", self._directory, names)
