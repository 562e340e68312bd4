"""Records written = records shown + records told as lost, whatever the directories went through."""

import gzip
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.logfiles import FILE_NAME, closed_name
from edge.contract.logrecord import CameraLost, encode_record
from edgeemo.analysis.database import Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.losses import Run, lost_records
from edgeemo.analysis.summary import Summaries, summarise
from edgeemo.analysis.time_range import Span

START = datetime(2026, 1, 1, tzinfo=UTC)


def line(seq: int, session: str, minute: float = 0.0, device: str = "pi") -> bytes:
    time = (START + timedelta(minutes=minute)).isoformat(timespec="milliseconds")
    return encode_record(
        CameraLost(
            time=time.replace("+00:00", "Z"), monotonic_s=float(seq), seq=seq, session=session,
            device=device, reason="gone",
        )
    )  # fmt: skip


def write(directory: Path, lines: list[bytes]) -> Path:
    """Write lines as a closed, compressed file and the one being written."""
    directory.mkdir(parents=True, exist_ok=True)
    half = len(lines) // 2
    packed = gzip.compress(b"".join(lines[:half]))
    (directory / f"{closed_name(1, 0)}.gz").write_bytes(packed)
    (directory / FILE_NAME).write_bytes(b"".join(lines[half:]))
    return directory


def summary(root: Path, by: str = "total", span: Span | None = None) -> Summaries:
    with Logs(root, *([span] if span else [])) as logs:
        return summarise(logs, by)


def test_what_is_lost_between_sessions_is_told(tmp_path):
    """A run's last records went with its disk: the next run's numbers leave a gap."""
    lines = [line(seq, "a") for seq in range(10)] + [line(seq, "b") for seq in range(17, 20)]
    (total,) = summary(write(tmp_path, lines)).groups
    assert (total.records, total.lost) == (13, 7)


def test_a_record_that_is_there_twice_counts_once_and_hides_no_loss(tmp_path):
    """Two copies of one log, of different times, are one log; in both something is missing."""
    early = [line(seq, "a") for seq in range(10)]
    late = [line(seq, "a") for seq in range(5, 20) if seq not in (12, 13)]
    write(tmp_path / "pi~1", early)
    write(tmp_path / "pi", [*late, *(line(seq, "b") for seq in range(22, 24))])
    write(tmp_path / "other", [line(seq, "c", device="pi-2") for seq in range(100, 105)])
    told = summary(tmp_path)
    assert (told.groups[0].records, told.groups[0].lost, told.duplicates) == (25, 4, 5)
    assert [(g.records, g.lost) for g in summary(tmp_path, "device").groups] == [(20, 4), (5, 0)]
    with Logs(tmp_path) as logs:
        assert export(logs, "service_stopped", "csv", tmp_path / "out.csv") == 0
        (rows,) = logs.rows("SELECT count(*) FROM records")
    assert rows == (30,)


def test_a_session_of_another_log_is_not_missed(tmp_path):
    """While the log's disk was away a new one began at 0: it is no part of the first."""
    write(
        tmp_path / "pi", [line(s, "a") for s in range(50)] + [line(s, "c") for s in range(50, 60)]
    )
    write(tmp_path / "pi~1", [line(s, "b") for s in range(7)])
    (total,) = summary(tmp_path).groups
    assert (total.records, total.lost) == (67, 0)


@pytest.mark.parametrize("by", ["total", "device"])
def test_what_was_not_asked_for_is_not_lost(tmp_path, by):
    """Records of another time between those that were asked for are there; a true gap is told."""
    lines = [line(seq, "a", minute=seq % 2 * 60) for seq in range(40) if seq not in (20, 21, 22)]
    span = Span(START + timedelta(minutes=30))
    (total,) = summary(write(tmp_path, lines), by, span).groups
    assert (total.records, total.lost) == (19, 3)
    assert summary(tmp_path, by, Span(None, START + timedelta(minutes=1))).groups[0].lost == 3


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 4))
def test_written_is_shown_and_lost(seed, sessions, copies):
    """Random losses, and random copies that each lack something else: the identity holds."""
    chance = random.Random(seed)
    numbers: list[tuple[str, int]] = []
    for session in range(sessions):
        numbers += [(f"s{session}", len(numbers) + n) for n in range(chance.randint(1, 8))]
    first, last = numbers[0], numbers[-1]
    kept = [one for one in numbers if one in (first, last) or chance.random() < 0.7]
    held: dict[int, list[tuple[str, int]]] = {}
    for folder in range(copies):
        held[folder] = kept if folder == 0 else [one for one in kept if chance.random() < 0.6]
    shown: set[tuple[str, int]] = set()
    runs = []
    for folder, records in held.items():
        for session in {name for name, _ in records}:
            seqs = [seq for name, seq in records if name == session]
            fresh = {(session, seq) for seq in seqs} - shown
            shown |= fresh
            runs.append(
                Run("all", ("pi", session), folder, min(seqs), max(seqs), min(seqs), max(seqs),
                    len(fresh))
            )  # fmt: skip
    lost = lost_records(runs).get("all", 0)
    assert len(shown) + lost == len(numbers)
