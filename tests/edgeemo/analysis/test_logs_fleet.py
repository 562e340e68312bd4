"""`edgeemo logs fleet`: one line a device, the worst first, from raw files and from a store."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from edge.contract.logfiles import FILE_NAME
from edge.contract.logrecord import LogRecord, encode_record
from edge.errors import ConfigError
from edgeemo.analysis.fleet import Device, Rules, fleet, read_rules
from edgeemo.analysis.report import write_report
from edgeemo.analysis.store import open_logs, update
from edgeemo.analysis.summary import summarise
from edgeemo.cli.app import app

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = "pi\x1b[2J\n[bold]\u202e'; DROP TABLE records; --"


class Log:
    """Writes a device's log, an hour a record of health."""

    def __init__(self, root: Path, log: str, device: str | None = None) -> None:
        self.file = root / log / FILE_NAME
        self.file.parent.mkdir(parents=True)
        self.log, self.device = log, device or log
        self.seq = self.sessions = 0
        self.ahead = timedelta()

    def add(self, kind: str, hours_ago: float, **fields: Any) -> None:
        """Append a record."""
        time = NOW - timedelta(hours=hours_ago) + self.ahead
        header = {
            "kind": kind, "time": f"{time:%Y-%m-%dT%H:%M:%S}.000Z", "seq": self.seq,
            "monotonic_s": round(3.6e6 - 3600 * hours_ago, 3),
            "session": f"{self.log}-{self.sessions}", "device": self.device,
        }  # fmt: skip
        self.seq += 1
        with self.file.open("ab") as file:
            file.write(encode_record(msgspec.convert(header | fields, LogRecord)))

    def start(self, hours_ago: float, model: str = "default") -> None:
        """Begin a session."""
        self.sessions += 1
        self.add(
            "service_started", hours_ago, version="0.2.0", source="0", model=model,
            model_sha256="0" * 64, mesher="litert", runtime="r", labels=["neutral"],
        )  # fmt: skip

    def health(self, *hours_ago: float, **fields: Any) -> None:
        """Append how it does at some hours."""
        usual = {
            "fps": 10.0, "stage_ms": {}, "frames": 1, "dropped_frames": 0, "dropped_records": 0,
            "rss_mb": 100.0, "temperature_c": 50.0, "throttled": "0x0", "disk_free_mb": 20_000.0,
        }  # fmt: skip
        for one in hours_ago:
            self.add("health", one, **(usual | fields))

    def day(self) -> "Log":
        """Run for a day, without anything amiss."""
        self.start(24)
        self.health(*range(23, 1, -1))
        return self


def judged(root: Path, rules: Rules | None = None) -> dict[str, Device]:
    """Judge from the raw files and from a store: it must come to the same."""
    found = []
    for _ in range(2):
        with open_logs(root) as logs:
            found.append(fleet(logs, rules or Rules(), NOW))
        update(root)
    assert found[0] == found[1]
    return {one.log: one for one in found[0]}


def slow(log: Log) -> None:
    log.health(0.1, fps=4.0)


def hot(log: Log) -> None:
    log.health(0.1, temperature_c=85.0)


def throttled(log: Log) -> None:
    log.health(0.1, throttled="0x50005")


def full(log: Log) -> None:
    log.health(0.1, disk_free_mb=120.0)


def lossy(log: Log) -> None:
    log.seq += 7
    log.health(0.1)


def blind(log: Log) -> None:
    log.add("camera_lost", 3, reason="unplugged")


def stopped(log: Log) -> None:
    log.add("service_stopped", 0.1, reason="signal", frames=1, tracks=0, records=1)


def other(log: Log) -> None:
    log.start(0.2, model="another")
    log.health(0.1)


def ahead(log: Log) -> None:
    log.ahead = timedelta(hours=5)
    log.start(0.2)
    log.health(0.1)


def never_set(log: Log) -> None:
    log.ahead = datetime(1970, 1, 2, tzinfo=UTC) - NOW
    log.start(0.2)
    log.health(0.1)


def jumped(log: Log) -> None:
    log.ahead = timedelta(minutes=-40)
    log.health(0.1)


@pytest.mark.parametrize(
    ("what", "problem", "rule"),
    [
        (None, "silent for 2 h", "silent_min"),
        (slow, "4.0 frames/s, usually 10.0", "fps_share"),
        (hot, "85 °C", "temperature_c"),
        (throttled, "throttled 0x50005", "throttled"),
        (full, "120 MB of disk left", "disk_free_mb"),
        (lossy, "7 records lost", "lost_records"),
        (blind, "camera lost for 3 h", "camera_lost_h"),
        (stopped, "stopped (signal)", "stopped"),
        (other, "model another", "model_differs"),
        (ahead, "clock 4 h ahead", "clock_off_min"),
        (never_set, "clock says 1970", "clock_off_min"),
        (jumped, "clock jumped by 40 min", "clock_off_min"),
    ],
)
def test_each_rule_finds_its_trouble_and_can_be_turned_off(tmp_path, what, problem, rule):
    """One device is well, the other one has one trouble; without the rule it has none."""
    silent = {"silent_min": 130} if rule != "silent_min" else {}
    Log(tmp_path, "well").day().health(0.1)
    Log(tmp_path, "well-too").day().health(0.1)
    log = Log(tmp_path, "pi").day()
    if what is not None:
        what(log)
    found = judged(tmp_path, Rules(**silent))
    assert found["well"].problems == found["well-too"].problems == []
    assert problem in found["pi"].problems
    assert next(iter(found)) == "pi"
    with open_logs(tmp_path) as logs:
        off = fleet(logs, msgspec.structs.replace(Rules(silent_min=False), **{rule: False}), NOW)
    assert all(problem not in one.problems for one in off)


def test_a_line_says_how_a_device_does(tmp_path):
    """What it runs, its speed against its usual, its losses, and the outages of this week."""
    log = Log(tmp_path, "pi")
    log.start(24 * 10, model="old")
    log.add("camera_lost", 24 * 9, reason="long ago")
    log.add("camera_restored", 24 * 9 - 1, outage_s=3600)
    log.start(48, model="new")
    log.health(*range(40, 2, -1))
    log.add("camera_lost", 2, reason="unplugged")
    log.add("camera_restored", 1.5, outage_s=1800)
    log.health(0.1, fps=9.0, temperature_c=61.0, disk_free_mb=1500.0)
    one = judged(tmp_path)["pi"]
    assert (one.state, one.version, one.model) == ("running", "0.2.0", "new")
    assert (one.fps, one.usual_fps, one.temperature_c) == (9.0, 10.0, 61.0)
    assert (one.outages, one.outage_s, one.restarts) == (1, 1800.0, 0)
    assert (one.lost, one.disk_free_mb, one.problems) == (0, 1500.0, [])
    assert one.last == NOW - timedelta(hours=0.1)


@pytest.mark.parametrize("ahead", [timedelta(days=400), timedelta(days=-3000)])
def test_a_clock_that_was_wrong_for_a_day_is_forgotten(tmp_path, ahead):
    """It was put right two days ago: what came since counts, nothing is lost, nobody is called."""
    log = Log(tmp_path, "pi")
    log.start(24 * 4)
    log.health(*range(24 * 4 - 1, 24 * 3, -1))
    log.ahead = ahead
    log.start(24 * 3)
    log.health(*range(24 * 3 - 1, 24 * 2, -1), fps=1.0)
    log.ahead = timedelta()
    log.start(24 * 2)
    log.health(*range(24 * 2 - 1, 0, -1), 0.1)
    one = judged(tmp_path)["pi"]
    assert one.last == NOW - timedelta(hours=0.1)
    assert (one.lost, one.restarts, one.problems) == (0, 2, [])
    # Long after, that day is none of this week's, whatever it called itself.
    log.health(*[-hours for hours in range(24, 24 * 30, 24)])
    with open_logs(tmp_path) as logs:
        (later,) = fleet(logs, Rules(), NOW + timedelta(days=29))
    assert (later.restarts, later.lost) == (0, 0)


def test_a_renamed_device_is_one_device(tmp_path):
    """By its last name, with all that it did under the earlier one."""
    log = Log(tmp_path, "pi-3.lab", "lab")
    log.start(48)
    log.health(*range(47, 24, -1))
    log.device = "kitchen"
    log.start(24)
    log.seq += 2
    log.health(*range(23, 0, -1), 0.1)
    (one,) = judged(tmp_path).values()
    assert (one.device, one.lost, one.restarts) == ("kitchen", 2, 1)
    with open_logs(tmp_path) as logs:
        groups = {group.key[0]: group.records for group in summarise(logs, "device").groups}
    assert groups == {"lab": 24, "kitchen": 25}


def test_two_devices_of_one_name_are_two_lines(tmp_path):
    """Each is judged by its own log, and the table says which is which."""
    Log(tmp_path, "a", "pi").day().health(0.1)
    second = Log(tmp_path, "b", "pi").day()
    second.health(0.1)
    lossy(second)
    found = judged(tmp_path)
    assert (found["a"].problems, found["b"].problems) == ([], ["7 records lost"])
    text = run(tmp_path)[1]
    assert "pi in a" in text
    assert "pi in b" in text


def run(root: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["logs", "fleet", str(root), *words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_command_is_made_for_cron(tmp_path):
    """Exit 1 while one needs attention; quiet says nothing when none does; JSON has all."""
    Log(tmp_path / "fleet", "old").day()
    rules, told = tmp_path / "rules.toml", tmp_path / "fleet.json"
    code, text = run(tmp_path / "fleet", "--json", str(told))
    assert code == 1
    assert "1 of 1 need attention" in text
    assert json.loads(told.read_text())[0]["state"] == "silent"
    rules.write_text("[rules]\nsilent_min = false\n")
    assert run(tmp_path / "fleet", "--quiet", "--rules", str(rules)) == (0, "")
    for content, said in (
        ("[rules]\nsilent = 3\n", "silent_min"),
        ("[rules]\nsilent_min = -3\n", "silent_min"),
        ("rules = [", "expected a \\[rules\\] table"),
    ):
        rules.write_text(content)
        with pytest.raises(ConfigError, match=said) as caught:
            read_rules(rules)
        assert "\n" not in str(caught.value)


def test_a_hostile_device_is_a_line_of_text(tmp_path):
    """Whatever it calls itself, the terminal obeys none of it, and the others are seen."""
    Log(tmp_path, "pi").day().health(0.1)
    evil = Log(tmp_path, "evil", HOSTILE)
    evil.start(1, model=HOSTILE)
    evil.add("camera_lost", 0.9, reason=HOSTILE)
    evil.health(0.5, fps=1e12, temperature_c=-1e12, throttled=HOSTILE, disk_free_mb=-1.0)
    evil.ahead = timedelta(days=60_000)
    evil.health(0.4)
    assert set(judged(tmp_path)) == {"pi", "evil"}
    _, text = run(tmp_path)
    assert not set("\x1b\u202e\x07") & set(text)
    assert "2 of 2 need attention" in text


def test_the_report_of_a_fleet_begins_with_all_and_ends_with_each(tmp_path):
    """One page: every device in a line, the worst first; then each by itself, as text."""
    root, page = tmp_path / "fleet", tmp_path / "report.html"
    Log(root, "pi").day()
    evil = Log(root, "evil", f"<b>{HOSTILE}</b>").day()
    hot(evil)
    with open_logs(root) as logs:
        write_report(logs, page, "fleet")
    text = page.read_text("utf-8")
    sections = [text.index(title) for title in (">The fleet<", ">In numbers<", ">Each device<")]
    assert sections == sorted(sections)
    assert text.count('<section class="device">') == 2
    assert "2 of 2 need attention" in text
    assert "<b>" not in text
    assert "\x1b" not in text
    with open_logs(root / "pi") as logs:
        write_report(logs, page, "pi")
    assert ">The fleet<" not in page.read_text("utf-8")
