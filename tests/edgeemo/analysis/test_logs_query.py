"""`edgeemo logs summary`, `export` and `report`: exact figures from plain and compressed files."""

import csv
import gzip
import json
import math
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import duckdb
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import logrecord
from edge.contract.logfiles import FILE_NAME, closed_name
from edge.contract.logrecord import LogRecord, encode_record
from edge.contract.mesh_features import BLENDSHAPES
from edge.errors import ConfigError, LogError
from edgeemo.analysis.database import COLUMNS, Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.report import write_report
from edgeemo.analysis.report.markup import Markup, joined, tag
from edgeemo.analysis.report.scales import Scale, marks, time_marks
from edgeemo.analysis.summary import summarise
from edgeemo.analysis.time_range import Span, parse_span

START = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
HOSTILE = "a\n\"'><script>alert(1)</script>&amp;'); DROP TABLE records;-- \x1b[31m\x00[bold]\u202e"


class Writer:
    """Makes the records of one session."""

    def __init__(self, device: str = "pi-1", session: str = "4be0") -> None:
        self.lines: list[bytes] = []
        self._names = {"device": device, "session": session}
        self._seq = 0

    def add(self, kind: str, t_s: float, **fields: object) -> None:
        """Add a record of ``t_s`` seconds after the start."""
        time = (START + timedelta(seconds=t_s)).isoformat(timespec="milliseconds")
        header = {
            "kind": kind, "time": time.replace("+00:00", "Z"), "monotonic_s": t_s,
            "seq": self._seq, **self._names,
        }  # fmt: skip
        record = msgspec.convert(header | fields, LogRecord)
        self.lines.append(encode_record(record))
        self._seq += 1

    def emotion(
        self, t_s: float, track: int, label: str, confidence: float = 0.8, **fields: object
    ) -> None:
        """Add an emotion record."""
        self.add(
            "emotion", t_s, track=track, label=label, confidence=confidence,
            scores={"neutral": 0.2, "happiness": 0.8}, box=[1, 2, 3, 4],
            head_pose={"yaw": 1, "pitch": 2, "roll": 3}, frame=round(t_s * 10), latency_ms=10 + t_s,
            file=None, **fields,
        )  # fmt: skip

    def health(self, t_s: float, fps: float, **fields: object) -> None:
        """Add a health record."""
        self.add(
            "health", t_s,
            **{
                "fps": fps, "stage_ms": {"mesh": 9.0}, "frames": 10, "dropped_frames": 0,
                "dropped_records": 0, "rss_mb": 100.0, "temperature_c": 50.0, "throttled": None,
            } | fields,
        )  # fmt: skip

    def skip(self, count: int) -> None:
        """Leave out numbers, as lost records do."""
        self._seq += count


def example(device: str = "pi-1", session: str = "4be0") -> list[bytes]:
    """Two tracks: one of 6 s happiness and 4 s fear, one of 3 s neutral over the full hour."""
    log = Writer(device, session)
    log.emotion(0, 1, "happiness", 0.9)
    log.health(1, 10.0)
    log.emotion(5, 1, "happiness", 0.7)
    log.emotion(6, 1, "fear", 0.5)
    log.skip(3)
    log.add("track_ended", 10, track=1, duration_s=10.0, shares={"happiness": 0.6, "fear": 0.4})
    log.health(61, 20.0, dropped_frames=7)
    log.emotion(3600, 2, "neutral", 0.8)
    log.emotion(3603, 2, "neutral", 0.8)  # nothing follows: the run was killed
    return log.lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A directory with the example in two compressed files, a plain one, and the current one."""
    return write(tmp_path / "log", example())


def write(directory: Path, lines: list[bytes]) -> Path:
    directory.mkdir(parents=True)
    for number in (1, 2, 3):
        data = b"".join(lines[(number - 1) * 2 : number * 2])
        path = directory / closed_name(number, START.timestamp() + number)
        if number < 3:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
        else:
            path.write_bytes(data)
    (directory / FILE_NAME).write_bytes(b"".join(lines[6:]))
    return directory


def summary_of(root: Path, by: str = "total", span: Span | None = None):
    with Logs(root, *([span] if span else [])) as logs:
        return summarise(logs, by)


def test_the_whole_is_summed_up_exactly(log):
    """Records, times, seconds by emotion, means and losses are those that were written."""
    (all_,) = summary_of(log).groups
    assert (all_.records, all_.tracks, all_.lost) == (8, 2, 3)
    assert all_.seconds == {"happiness": 6.0, "fear": 4.0, "neutral": 3.0}
    assert list(all_.seconds) == ["happiness", "fear", "neutral"]
    assert all_.confidence == pytest.approx((0.9 + 0.7 + 0.5 + 0.8 + 0.8) / 5)
    assert all_.fps == 15.0
    assert (all_.first, all_.last) == (
        START.replace(tzinfo=None),
        START.replace(tzinfo=None) + timedelta(seconds=3603),
    )


def test_hours_tracks_and_devices_are_told_apart(log):
    """Each way of grouping has its rows, and the rows add up to the whole."""
    hours = summary_of(log, "hour").groups
    assert [group.key[0][:16] for group in hours] == ["2026-01-01 10:00", "2026-01-01 11:00"]
    assert [group.seconds for group in hours] == [{"happiness": 6, "fear": 4}, {"neutral": 3}]
    tracks = summary_of(log, "track").groups
    assert [group.key for group in tracks] == [("pi-1", "4be0", "1"), ("pi-1", "4be0", "2")]
    assert [group.records for group in tracks] == [4, 2]
    (device,) = summary_of(log, "device").groups
    assert (device.key, device.lost) == (("pi-1",), 3)


def test_a_fleet_is_one_question(tmp_path):
    """Directories of several devices are read together, and equal numbers are not mixed up."""
    for device in ("pi-1", "pi-2"):
        write(tmp_path / "fleet" / device, example(device))
    (all_,) = summary_of(tmp_path / "fleet").groups
    assert (all_.records, all_.tracks, all_.lost) == (16, 4, 6)
    assert all_.seconds["happiness"] == 12.0
    assert [group.key for group in summary_of(tmp_path / "fleet", "device").groups] == [
        ("pi-1",), ("pi-2",),
    ]  # fmt: skip


def test_since_and_until_choose(log):
    """From the one on, before the other."""
    span = Span(START + timedelta(seconds=5), START + timedelta(seconds=10))
    (all_,) = summary_of(log, span=span).groups
    assert all_.records == 2
    assert all_.seconds == {"happiness": 1.0, "fear": 4.0}  # which is there when the time ends
    assert summary_of(log, "hour", Span(START + timedelta(days=1))).groups == []


def test_lines_that_are_no_records_are_counted_and_harm_nothing(log):
    """Torn, foreign and broken lines are told; the rest is summed up as ever."""
    before = summary_of(log)
    with (log / FILE_NAME).open("ab") as file:
        file.write(b'no json\n{"kind":"emo\n\xff\xfe\n[1]\n\x00\x00\n{"other":1}\n')
    after = summary_of(log)
    assert after.unreadable == 6
    assert after.groups == before.groups


def test_a_file_and_its_compressed_twin_count_once(log):
    """A compression that was interrupted before the plain file went doubles nothing."""
    plain = next(path for path in log.iterdir() if path.name.startswith("edgeemo-000003"))
    plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert summary_of(log).groups[0].records == 8


@pytest.mark.parametrize("span", [Span(START), Span(START, START + timedelta(hours=2))])
def test_lines_that_are_no_records_are_counted_in_any_span(log, span):
    """They have no time, so they are told whichever part is asked for."""
    with (log / FILE_NAME).open("ab") as file:
        file.write(b'no json\n{"kind":"emo\n')
    assert summary_of(log, span=span).unreadable == 2


@pytest.mark.parametrize("name", ["[a-c]*?", 'it\'s "quoted"', "ünï 日本", "a\nb"])
def test_a_directory_may_have_any_name(tmp_path, name):
    """Wild cards, quotes and newlines in a path are parts of its name."""
    write(tmp_path / name, example())
    write(tmp_path / "b", example("other"))  # would match the first name as a pattern
    assert summary_of(tmp_path / name).groups[0].records == 8


def test_a_damaged_file_is_one_clear_error(log):
    """A compressed file that was cut is not skipped in silence."""
    path = next(path for path in log.iterdir() if path.suffix == ".gz")
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(LogError, match="cannot be queried") as caught:
        summary_of(log)
    assert str(log) in str(caught.value)


def test_every_field_of_a_record_can_be_queried():
    """The columns are those of the record classes, but for what only the reader of JSON needs."""
    fields = {field.name for kind in get_args(LogRecord) for field in msgspec.structs.fields(kind)}
    assert set(COLUMNS) == (fields | {"kind"}) - {"schema", "labels", "stage_ms", "model_sha256"}
    assert logrecord.SCHEMA_VERSION == 1


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_exports_hold_every_record_once(log, tmp_path, form):
    """All formats have the same rows in the same order, with UTC times and the labels' scores."""
    target = tmp_path / f"out.{form}"
    with Logs(log) as logs:
        assert export(logs, "emotion", form, target) == 5
    reader = {"csv": "read_csv", "parquet": "read_parquet", "json": "read_json"}[form]
    rows = duckdb.sql(
        f"SELECT time::VARCHAR, seq, label, held_s, score_happiness, x1, y2, yaw, latency_ms "
        f"FROM {reader}('{target}')"
    ).fetchall()
    assert [row[1:4] for row in rows] == [
        (0, "happiness", 5.0), (2, "happiness", 1.0), (3, "fear", 4.0), (9, "neutral", 3.0),
        (10, "neutral", None),
    ]  # fmt: skip
    assert rows[0][4:] == (0.8, 1.0, 4.0, 1.0, 10.0)
    assert rows[0][0].replace("T", " ").startswith("2026-01-01 10:00:00")
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_details_are_exported_where_they_fit(tmp_path, form):
    """Eyes are columns; blendshapes and mesh are nested, and null for a record without."""
    log = Writer()
    shapes = {name: round(index / 52, 4) for index, name in enumerate(BLENDSHAPES)}
    mesh = [[float(point), point / 4, -0.5] for point in range(478)]
    log.emotion(0, 1, "fear")
    log.emotion(1, 1, "fear", eyes={"right": 0.3, "left": 0.1}, blendshapes=shapes, mesh=mesh)
    target = tmp_path / "out"
    with Logs(write(tmp_path / "log", log.lines)) as logs:
        assert export(logs, "emotion", form, target) == 2
    if form == "csv":
        header, _, second = csv.reader(target.read_text().splitlines())
        row = dict(zip(header, second, strict=True))
        assert (row["eye_right"], row["eye_left"]) == ("0.3", "0.1")
        assert not {"blendshapes", "mesh"} & set(header)
        return
    if form == "json":
        bare, full = map(json.loads, target.read_text().splitlines())
    else:
        table = duckdb.execute("SELECT * FROM read_parquet(?)", [str(target)])
        names = [column[0] for column in table.description]
        bare, full = (dict(zip(names, row, strict=True)) for row in table.fetchall())
    assert (bare["blendshapes"], bare["mesh"], bare["eye_left"]) == (None, None, None)
    assert full["blendshapes"] == shapes
    assert [list(point) for point in full["mesh"]] == mesh


@pytest.mark.parametrize(
    ("kind", "count", "column"),
    [("track_ended", 1, "share_fear"), ("health", 2, "fps"), ("service_started", 0, "model"),
     ("service_stopped", 0, "reason")],
)  # fmt: skip
def test_other_kinds_are_exported_too(log, tmp_path, kind, count, column):
    """Each kind is a table of its own columns, also when there is nothing in it."""
    with Logs(log) as logs:
        assert export(logs, kind, "csv", tmp_path / "out.csv") == count
    with (tmp_path / "out.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert column in header
    assert len(rows) == count


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_hostile_names_arrive_as_they_are(tmp_path, form):
    """An export changes no character of what a device called itself."""
    write(tmp_path / "log", example(HOSTILE))
    target = tmp_path / "it's.out"
    with Logs(tmp_path / "log") as logs:
        export(logs, "emotion", form, target)
    if form == "csv":
        with target.open(newline="", encoding="utf-8") as file:
            devices = {row["device"] for row in csv.DictReader(file)}
    elif form == "json":
        devices = {
            json.loads(line)["device"] for line in target.read_text("utf-8").split("\n")[:-1]
        }
    else:
        rows = duckdb.execute(
            "SELECT DISTINCT device FROM read_parquet(?)", [str(target)]
        ).fetchall()
        devices = {row[0] for row in rows}
    assert devices == {HOSTILE}


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
@pytest.mark.parametrize("name", ["k\udce9", "x" * 240, "a'b\nc", "-x"], ids=ascii)
def test_an_export_goes_where_it_is_told(log, tmp_path, form, name):
    """Folders and files of any name: bytes that are no UTF-8, the longest, quotes, line breaks."""
    folder = tmp_path / "d\udcfc"
    folder.mkdir()
    with Logs(log) as logs:
        count = export(logs, "health", form, folder / f"{name}.{form}")
    assert count > 0
    assert [path.name for path in folder.iterdir()] == [f"{name}.{form}"]


def test_an_export_that_fails_leaves_the_earlier_one(log, tmp_path):
    """The file is replaced whole or not at all, and nothing is left beside it."""
    target = tmp_path / "out.csv"
    target.write_text("earlier")
    next(path for path in log.iterdir() if path.suffix == ".gz").write_bytes(b"\x1f\x8bno")
    with Logs(log) as logs, pytest.raises(LogError):
        export(logs, "emotion", "csv", target)
    assert target.read_text() == "earlier"
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "log"}


class Page(HTMLParser):
    """Reads a page as a browser does: elements, their attributes, and the text between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def report_of(root: Path, tmp_path: Path) -> Page:
    target = tmp_path / "report.html"
    with Logs(root) as logs:
        write_report(logs, target, HOSTILE)
    return Page(target.read_text("utf-8"))


def test_a_report_shows_what_was_logged(log, tmp_path):
    """Shares, each track's timeline, confidence, health and losses are in it, as text and shape."""
    page = report_of(log, tmp_path)
    titles = [attributes["aria-label"] for name, attributes in page.elements if name == "svg"]
    assert titles == [
        "Share of the time of faces by emotion",
        "Emotions of each track over time",
        "Emotion records by confidence",
        "frames a second",
        "latency",
        "temperature",
        "memory",
        "dropped frames",
    ]
    for text in ("happiness: 46.2%, 6.0 s", "fear, 4.0 s", "#1", "#2", "80% to 85%: 2", "10 fps"):
        assert text in page.text
    assert page.elements.count(("rect", {})) == 0


def test_hostile_names_stay_text_in_a_report(tmp_path):
    """No name, label or reason becomes an element, an attribute, a style or an address."""
    write(tmp_path / "good", example("a name"))
    log = Writer(HOSTILE, HOSTILE)
    log.emotion(0, 1, HOSTILE)
    log.emotion(5, 1, HOSTILE)
    log.add("camera_lost", 6, reason=HOSTILE)
    log.health(7, 10.0, throttled=HOSTILE)
    write(tmp_path / "evil", log.lines)
    evil, good = (report_of(tmp_path / name, tmp_path) for name in ("evil", "good"))
    shapes = {name for name, _ in good.elements} | {"circle"}  # a series of one point
    assert {name for name, _ in evil.elements} <= shapes
    assert "script" not in {name for name, _ in evil.elements}
    for _, attributes in evil.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href")]
    assert "<script>alert(1)</script>&amp;" in evil.text
    assert "\x00" not in evil.text
    assert "\u202e" not in evil.text


def test_a_report_fetches_nothing(log, tmp_path):
    """It opens without a network, and forbids itself any script or address."""
    target = tmp_path / "report.html"
    with Logs(log) as logs:
        write_report(logs, target, "log")
    text = target.read_text("utf-8")
    assert "default-src &#x27;none&#x27;" in text
    assert not re.search(r"https?:|url\(|@import|<script|<img|<link", text)


@pytest.mark.parametrize("lines", [[], example()[1:2], example()[:1]])
def test_a_report_of_next_to_nothing_is_a_page(tmp_path, lines):
    """A log without faces, with one record, or with none has a report that says so."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / FILE_NAME).write_bytes(b"".join(lines))
    page = report_of(tmp_path / "log", tmp_path)
    assert "In numbers" in page.text


def test_a_long_log_makes_no_long_report(tmp_path):
    """Tracks, marks and points are bounded; what is left out is said."""
    log = Writer()
    for number in range(3000):
        log.emotion(number * 10.0, number // 3, ("fear", "anger")[number % 2])
        log.health(number * 10.0 + 1, 10.0)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / FILE_NAME).write_bytes(b"".join(log.lines))
    page = report_of(tmp_path / "log", tmp_path)
    assert "The newest 40 of 1,000 tracks." in page.text
    assert (tmp_path / "report.html").stat().st_size < 300_000


@given(st.text(), st.text())
def test_text_can_only_be_text(content, value):
    """Whatever it holds, it comes out of a browser's reader as one element's text and attribute."""
    page = Page(tag("p", content, title=value))
    (element,) = page.elements
    assert element[0] == "p"
    assert set(element[1]) == {"title"}
    assert page.text.replace("\ufffd", "") == "".join(
        char for char in content if char.isprintable() or char in "\n\t"
    ).replace("\ufffd", "")
    assert joined(Markup("<b>"), "<b>") == "<b>&lt;b&gt;"


@given(st.floats(0.001, 1e9), st.floats(0, 1e9))
def test_marks_are_round_few_and_in_range(high, value):
    """An axis has a mark at zero and a handful more; every value has a place on it."""
    found = marks(high)
    assert found[0] == 0
    assert len(found) <= 6
    assert found[-1] <= high * 1.01
    assert 10 <= Scale(0, high, 10, 90).at(value) <= 90
    assert math.isfinite(Scale(5, 5, 0, 9).at(value))


@given(st.integers(0, 2_000_000_000), st.integers(1, 100_000_000))
def test_moments_on_an_axis_are_few_and_in_range(low, length):
    """A time axis of a second or of years is readable."""
    found = list(time_marks(low, low + length))
    assert len(found) <= 7
    assert all(low <= at <= low + length for at, _ in found)


NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        ("2026-01-31T12:30", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30+02:00", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:01Z", datetime(2026, 1, 31, 12, 30, 1, tzinfo=UTC)),
        ("90min", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("24h", datetime(2026, 1, 31, 12, 0, tzinfo=UTC)),
        ("1.5d", datetime(2026, 1, 31, 0, 0, tzinfo=UTC)),
        ("30s", datetime(2026, 2, 1, 11, 59, 30, tzinfo=UTC)),
        ("86400s", datetime(2026, 1, 31, 12, 0, tzinfo=UTC)),
        ("90m", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("90 min", datetime(2026, 2, 1, 10, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 1, 18, 12, 0, tzinfo=UTC)),
    ],
)
def test_moments_are_read_as_people_write_them(text, expected):
    """Dates, times with and without a zone, and how long ago."""
    assert parse_span(text, None, NOW).since == expected


@pytest.mark.parametrize(
    ("since", "until", "part"),
    [("yesterday", None, "yesterday"), (None, "2026-13-01", "--until"), ("1h", "2h", "before"),
     ("999999d", "2026-01-01", "999999d"), (None, "1' OR '1", "1' OR")],
)  # fmt: skip
def test_what_is_no_moment_is_usage(since, until, part):
    """A wrong option is named, with what is accepted, and exits with 2."""
    with pytest.raises(ConfigError, match=re.escape(part)) as caught:
        parse_span(since, until, NOW)
    assert caught.value.exit_code == 2


def edgeemo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeemo", "logs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_commands_do_it(log, tmp_path):
    """From the command line: figures on the screen, files where they were asked for."""
    done = edgeemo("summary", log, "--json", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    assert "happiness 46%" in done.stdout
    assert json.loads((tmp_path / "s.json").read_text())["groups"][0]["lost"] == 3
    done = edgeemo("summary", log, "--by", "track", "--rows", 1)
    assert "1 more; --rows 2 shows all" in done.stdout
    assert edgeemo("export", log, "--format", "parquet", "-o", tmp_path / "e").returncode == 0
    assert edgeemo("report", log, "-o", tmp_path / "r.html").returncode == 0
    assert (tmp_path / "r.html").stat().st_size > 5_000


def test_hostile_names_stay_text_on_the_screen(tmp_path):
    """Neither the terminal nor the table's own markup acts upon what a log holds."""
    write(tmp_path / "log", example(HOSTILE))
    for by in ("device", "track"):
        done = edgeemo("summary", tmp_path / "log", "--by", by)
        assert done.returncode == 0, done.stderr
        assert all(row.isprintable() for row in done.stdout.splitlines())
        assert "a\\n\"'><script>" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["summary", "LOG", "--since", "soon"], 2, "soon"),
        (["summary", "LOG", "--by", "moon"], 2, "moon"),
        (
            ["report", "LOG", "-o", "/no/such/folder/r.html"],
            2,
            "there is no folder /no/such/folder",
        ),
        (["export", "LOG", "-o", "/no/such/folder/e.csv"], 2, "there is no folder /no/such/folder"),
        (["summary", "/no/such/folder"], 2, "no such folder, so it holds no log"),
    ],
)
def test_mistakes_are_told(log, arguments, code, part):
    """Wrong options, folders without a log, and files that cannot be written are clear errors."""
    done = edgeemo(*(str(log) if word == "LOG" else word for word in arguments))
    assert done.returncode == code
    assert part in done.stderr
    assert "Traceback" not in done.stderr
