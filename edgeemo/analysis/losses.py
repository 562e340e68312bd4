"""What is missing from a log: its numbers rise by one over all sessions of a log directory."""

from collections import defaultdict
from collections.abc import Hashable, Iterable

import msgspec


class Run(msgspec.Struct, frozen=True):
    """The records of one session in one log directory; those in several have one for each.

    Attributes:
        key: the group that its losses count for.
        first, last: of its numbers.
        low, high: of the numbers among which losses count.
        present: how many records have a number among these, each counted in one directory.
    """

    key: Hashable
    session: tuple[str, str]
    folder: int
    first: int
    last: int
    low: int | None
    high: int | None
    present: int


class _Session(msgspec.Struct):
    key: Hashable
    folders: set[int]
    first: int
    last: int
    low: int | None
    high: int | None
    present: int

    @property
    def lost(self) -> int:
        if self.low is None or self.high is None:
            return 0
        return max(0, self.high - self.low + 1 - self.present)  # forged numbers hide none elsewhere


def lost_records(runs: Iterable[Run]) -> dict[Hashable, int]:
    """Return how many records are missing, by key: within sessions, and before each.

    Directories that share a session are copies of one log, at different times: what one lacks
    another one may have. What is missing before a session counts for that session, if its first
    record is among those that count.
    """
    sessions = _sessions(runs)
    lost: dict[Hashable, int] = defaultdict(int)
    for log in _logs(sessions):
        end: int | None = None
        for session in sorted(log, key=lambda session: session.first):
            lost[session.key] += session.lost
            if end is not None and session.low == session.first > end:
                lost[session.key] += session.first - end
            end = max(end or 0, session.last + 1)
    return lost


def _sessions(runs: Iterable[Run]) -> list[_Session]:
    found: dict[tuple[str, str], _Session] = {}
    for run in runs:
        one = found.get(run.session)
        if one is None:
            found[run.session] = _Session(
                run.key, {run.folder}, run.first, run.last, run.low, run.high, run.present
            )
            continue
        one.folders.add(run.folder)
        one.first, one.last = min(one.first, run.first), max(one.last, run.last)
        one.low = min((n for n in (one.low, run.low) if n is not None), default=None)
        one.high = max((n for n in (one.high, run.high) if n is not None), default=None)
        one.present += run.present
    return list(found.values())


def _logs(sessions: Iterable[_Session]) -> Iterable[list[_Session]]:
    """Return the sessions of each log: those whose directories are connected by a session."""
    sessions = list(sessions)
    same: dict[int, int] = {}  # a directory, and another one of the same log

    def root(folder: int) -> int:
        while same.setdefault(folder, folder) != folder:
            folder = same[folder]
        return folder

    for session in sessions:
        first, *others = session.folders
        for other in others:
            same[root(other)] = root(first)
    logs: dict[int, list[_Session]] = defaultdict(list)
    for session in sessions:
        logs[root(next(iter(session.folders)))].append(session)
    return logs.values()
