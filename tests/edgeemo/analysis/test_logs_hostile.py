"""One hostile line, or one hostile file, stops no query over a fleet."""

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import polars as pl
import pytest

from edge.contract.logfiles import FILE_NAME, LONGEST_LINE, closed_name, log_directories
from edge.contract.logrecord import decode_record
from edge.errors import LogError
from edge.logs.lines import lines_of
from edge.logs.table import line_for_people
from edgeemo.analysis.database import Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.report import write_report
from edgeemo.analysis.summary import summarise

GOOD = {
    "kind": "emotion", "schema": 1, "time": "2026-01-01T10:00:00.000Z", "monotonic_s": 1.0,
    "seq": 1, "session": "s", "device": "d", "track": 1, "label": "fear", "confidence": 0.8,
    "scores": {"neutral": 0.2, "fear": 0.8}, "box": [1, 2, 3, 4],
    "head_pose": {"yaw": 1, "pitch": 2, "roll": 3}, "frame": 1, "latency_ms": 1.0, "file": None,
    "quality": "ok",
}  # fmt: skip


def line(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def with_value(field: str, text: bytes) -> bytes:
    """Return a line in which a field has a value that JSON may not even know."""
    marked = line(**{field: "MARK"})
    return marked.replace(b'"MARK"', text)


DEEP = 100_000
BY_VALUE = {
    "seq of 2^63": with_value("seq", b"9223372036854775808"),
    "seq of 2^63 - 1": with_value("seq", b"9223372036854775807"),
    "seq of 5,000 digits": with_value("seq", b"9" * 5000),
    "a negative seq": line(seq=-5),
    "a seq beyond all counts": line(seq=10**12 + 1),
    "no seq": line(seq=None),
    "seq is a list": line(seq=[1]),
    "1e400": with_value("monotonic_s", b"1e400"),
    "1e308": with_value("monotonic_s", b"1e308"),
    "infinity": with_value("monotonic_s", b"Infinity"),
    "NaN": with_value("monotonic_s", b"NaN"),
    "a confidence of 7": line(confidence=7),
    "a confidence of 1e400": with_value("confidence", b"1e400"),
    "a huge latency": with_value("latency_ms", b"1e200"),
    "a huge track": line(track=2**70),
    "a negative track": line(track=-1),
    "no track": line(track=None),
    "no label": line(label=None),
    "a kind that no version can have": line(kind="Unknown!"),
    "kind is a number": line(kind=5),
    "kind is a list": line(kind=["emotion"]),
    "no device": line(device=None),
}
BY_TIME = {
    f"time {text}": line(time=text)
    for text in ("290000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z",
                 "infinity", "-infinity", "0044-03-15 (BC)", "soon", "")
}  # fmt: skip
BY_FORM = {
    "invalid UTF-8 in time": with_value("time", b'"2026\xff\xfe"'),
    "invalid UTF-8 in device": with_value("device", b'"\xff\xfe"'),
    "half a surrogate": with_value("device", b'"\\ud800"'),
    "nested without end": b"[" * DEEP,
    "deeply nested": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "NUL bytes": b"\0" * 100,
    "a NUL byte in a name": with_value("device", b'"a\0b"'),
    "a byte order mark": b"\xef\xbb\xbf" + line(),
    "two in one": line() + line(),
    "a list": b"[1]", "a number": b"1", "a string": b'"x"', "nothing": b"null",
    "half a record": line()[:50],
}  # fmt: skip
HOSTILE = BY_VALUE | BY_TIME | BY_FORM
STRANGE = {
    "deeply nested beside a record": line()[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "keys twice": line()[:-1] + b',"seq":5,"seq":6,"kind":"health"}',
    "a number in quotes": line(seq="1"),
    "spaces": b" " * 5000,
    "a carriage return": line() + b"\r",
    "scores are a list": line(scores=[1, 2]),
    "a box of words": line(box=["a", "b", "c", "d"]),
    "a label that is an object": line(label={"a": 1}),
    "a mesh of another form": line(mesh=[[[1]]]),
}
"""These may or may not be taken for records, but stop nothing."""


def fleet(root: Path, bad: bytes) -> Path:
    """Write two devices' logs, a hostile line in the middle of one."""
    (root / "good").mkdir(parents=True)
    (root / "evil").mkdir()
    (root / "good" / FILE_NAME).write_bytes(line(device="good") + b"\n")
    (root / "evil" / FILE_NAME).write_bytes(line(seq=0) + b"\n" + bad + b"\n" + line(seq=2) + b"\n")
    return root


def test_a_hostile_line_is_no_record(tmp_path):
    """Each is counted as none; every figure is that of the other records."""
    for number, bad in enumerate(HOSTILE.values()):
        device = f"pi-{number:02}"
        lines = [line(seq=0, device=device), bad, line(seq=2, device=device)]
        (tmp_path / device).mkdir()
        (tmp_path / device / FILE_NAME).write_bytes(b"".join(text + b"\n" for text in lines))
    with Logs(tmp_path) as logs:
        told = summarise(logs, "device")
    assert told.unreadable == len(HOSTILE)
    found = {group.key[0]: (group.records, group.lost, group.last.year) for group in told.groups}
    assert found == {f"pi-{number:02}": (2, 1, 2026) for number in range(len(HOSTILE))}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_is_refused_and_shown(name):
    """The decoder of records refuses it as one, and `logs tail` shows it on one line."""
    assert line_for_people(HOSTILE[name]).isprintable()
    if name not in BY_TIME:
        with pytest.raises(msgspec.MsgspecError):
            decode_record(HOSTILE[name])


HOSTILE_TEXT = (
    "\x1b[2J\x1b]0;owned\x07", 'say "no", then\nleave', "a\r\nb", "\rback", "=1+1",
    "+cmd|' /C calc'!A0", " blanks ", "\t", "", "\u202egnp.exe", "\u2028", "NULL", "naïve 😀",
)  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_an_export_holds_each_text_as_the_log_does(tmp_path, form):
    """What would steer a terminal or a spreadsheet comes back from the file unchanged."""
    lines = [
        line(seq=number, file=text, device=text, label=text)
        for number, text in enumerate(HOSTILE_TEXT)
    ]
    (tmp_path / FILE_NAME).write_bytes(b"\n".join(lines) + b"\n")
    target = tmp_path / f"out.{form}"
    with Logs(tmp_path) as logs:
        assert export(logs, "emotion", form, target) == len(HOSTILE_TEXT)
    if form == "csv":
        with target.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    elif form == "json":
        rows = [json.loads(one) for one in target.read_text("utf-8").split("\n") if one]
    else:
        rows = pl.read_parquet(target).to_dicts()
    for row in rows:
        text = HOSTILE_TEXT[int(row["seq"])]
        assert [row[name] for name in ("device", "file", "label")] == [text] * 3


def test_hostile_lines_together_stop_no_command(tmp_path):
    """Summaries by anything, exports and the report are made over all of them at once."""
    root = fleet(tmp_path / "fleet", b"\n".join([*HOSTILE.values(), *STRANGE.values()]))
    with Logs(root) as logs:
        for by in ("total", "hour", "track", "device"):
            assert summarise(logs, by).unreadable >= len(HOSTILE)
        for form in ("csv", "parquet", "json"):
            assert export(logs, "emotion", form, tmp_path / form) >= 3
        write_report(logs, tmp_path / "report.html", "fleet")
    for text in [*HOSTILE.values(), *STRANGE.values()]:
        assert line_for_people(text).isprintable()


def bomb(path: Path, megabytes: int, fill: bytes = b"x") -> None:
    """Write a small file that holds a record, a line of that size, and another record."""
    with gzip.open(path, "wb", 1) as file:
        file.write(line(seq=0) + b"\n")
        for _ in range(megabytes):
            file.write(fill * (1 << 20))
        file.write(b"\n" + line(seq=2) + b"\n")


@pytest.mark.parametrize("fill", [b"x", b"\0"])
def test_a_line_without_end_is_counted_and_passed_over(tmp_path, fill):
    """The records around it are read, also when a file holds it in a thousandth of its size."""
    root = fleet(tmp_path / "fleet", line(seq=5))
    packed = root / "evil" / f"{closed_name(1, 0)}.gz"
    bomb(packed, 9, fill)
    assert packed.stat().st_size < 100_000
    with Logs(root) as logs:
        told = summarise(logs, "total")
    assert told.unreadable == 1
    assert told.groups[0].records == 4  # two of them are there twice
    assert [len(text) == LONGEST_LINE for text in lines_of(packed)] == [False, True, False]


_WITHIN = """
import resource, sys
from pathlib import Path
from edge.logs.lines import lines_of
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(sum(1 for _ in lines_of(Path(sys.argv[1]))))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_line_without_end_does_not_fill_the_memory(tmp_path):
    """100 MB of one line take no 32 MB."""
    path = tmp_path / f"{closed_name(1, 0)}.gz"
    bomb(path, 100)
    done = subprocess.run(
        [sys.executable, "-c", _WITHIN, str(path)], capture_output=True, text=True, check=True
    )
    count, kilobytes = map(int, done.stdout.split())
    assert count == 3
    assert kilobytes < 32_000


def packed(lines: int = 50) -> bytes:
    return gzip.compress(b"".join(line(seq=seq) + b"\n" for seq in range(lines)))


@pytest.mark.parametrize(
    "content",
    [packed()[:-30], packed()[:-4], packed() + b"garbage", os.urandom(50), line() * 3],
    ids=["cut", "no trailer", "garbage after it", "no gzip", "plain"],
)
def test_a_damaged_file_is_named(tmp_path, content):
    """One line says which file it is and what to do; no figure is given without it."""
    root = fleet(tmp_path / "fleet", line(seq=1))
    path = root / "evil" / f"{closed_name(1, 0)}.gz"
    path.write_bytes(content)
    with Logs(root) as logs, pytest.raises(LogError) as caught:
        summarise(logs, "total")
    assert str(path) in str(caught.value)
    assert "move it elsewhere" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_no_log(tmp_path):
    """A directory, a FIFO, a link and a link to nowhere of a log file's name are skipped."""
    root = fleet(tmp_path / "fleet", line(seq=1))
    (tmp_path / "elsewhere").write_bytes(line(seq=9, session="other"))
    names = [f"{closed_name(number, 0)}.gz" for number in (1, 2, 3, 4)]
    (root / "evil" / names[0]).mkdir()
    os.mkfifo(root / "evil" / names[1])
    (root / "evil" / names[2]).symlink_to(tmp_path / "elsewhere")
    (root / "evil" / names[3]).symlink_to(tmp_path / "nowhere")
    (root / "third").mkdir()
    os.mkfifo(root / "third" / FILE_NAME)
    with Logs(root) as logs:
        assert summarise(logs, "total").groups[0].records == 4
    assert [path.name for path in log_directories(root)] == ["evil", "good"]
