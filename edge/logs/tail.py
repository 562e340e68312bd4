"""`edgeemo logs tail`: the last records of one or many directories, and those to come."""

import heapq
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from edge.contract.logfiles import log_directories
from edge.contract.logrecord import decoded
from edge.errors import LogError, not_there
from edge.logs.follow import Follower

_POLL_S: Final = 0.25


class _Timed(msgspec.Struct):
    time: str = ""


_decoder = msgspec.json.Decoder(_Timed)


def directories_in(root: Path) -> list[Path]:
    """Return the log directories at and below ``root``.

    Raises:
        LogError: there is none.
    """
    found = list(log_directories(root))
    if not found:
        is_there = root.exists()
        what = "holds no log of edgeemo" if is_there else "no such folder, so it holds no log"
        error = LogError(f"{root}: {what}; name the --log-dir of a run, or a folder of several")
        raise error if is_there else not_there(error)
    return found


def last_lines(directories: Sequence[Path], count: int, *, follow: bool) -> Iterator[bytes]:
    """Yield the last ``count`` lines of all directories, oldest first, then those to come.

    Raises:
        LogError: a log cannot be read.
    """
    with ExitStack() as stack:
        followers = [Follower(directory) for directory in directories]
        for follower in followers:
            stack.callback(follower.close)
        histories = [follower.history(count) for follower in followers]
        yield from _merged(histories)[-count:] if count else []
        while follow:
            for follower in followers:
                yield from follower.poll()
            time.sleep(_POLL_S)


def _merged(histories: Sequence[list[bytes]]) -> list[bytes]:
    """Merge by time, but never against the order within one directory."""
    if len(histories) == 1:
        return histories[0]
    return list(heapq.merge(*histories, key=_time_of))


def _time_of(line: bytes) -> str:
    try:
        return decoded(line, _decoder).time
    except msgspec.MsgspecError:
        return ""
