"""The report is true and can be read: at any width, by any sight, with every figure named."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.contract.labels import EMOTIONS
from edge.contract.logfiles import FILE_NAME
from edge.contract.logrecord import (
    CameraLost,
    Emotion,
    Health,
    LogRecord,
    TrackEnded,
    TrackStarted,
    encode_record,
)
from edge.preview import palette
from edgeemo.analysis.database import Logs
from edgeemo.analysis.report import write_report
from edgeemo.analysis.report.figures import collect
from edgeemo.analysis.summary import summarise
from edgeemo.analysis.summary_table import summary_table, total_lines

START = datetime(2026, 1, 1, tzinfo=UTC)
VIEW_CSS = Path("edge/view/static/view.css")


def health(device: str, seq: int, t_s: float, **changes: object) -> Health:
    time = (START + timedelta(seconds=t_s)).isoformat(timespec="milliseconds")
    facts = {
        "fps": 10.0, "stage_ms": {}, "frames": round(t_s * 10), "dropped_frames": 0,
        "dropped_records": 0, "rss_mb": 100.0, "temperature_c": None, "throttled": None,
    }  # fmt: skip
    header = {
        "time": time.replace("+00:00", "Z"),
        "monotonic_s": t_s,
        "seq": seq,
        "session": device,
    }
    return Health(**header, device=device, **(facts | changes))


def write(directory: Path, records: list[LogRecord]) -> Path:
    directory.mkdir(parents=True)
    (directory / FILE_NAME).write_bytes(b"".join(map(encode_record, records)))
    return directory


def test_how_often_a_device_reports_does_not_change_what_it_drops(tmp_path):
    """Two frames a second dropped are 120 a minute, told each minute or every ten seconds."""
    for interval_s in (10, 60):
        device = f"every-{interval_s}"
        records = [
            health(device, seq, float(t_s), dropped_frames=2 * t_s, dropped_records=t_s)
            for seq, t_s in enumerate(range(interval_s, 601, interval_s))
        ]
        write(tmp_path / device, records)
    with Logs(tmp_path) as logs:
        figures = collect(logs)
    for title, rate in (("dropped frames", 120.0), ("lost records", 60.0)):
        assert len(figures.health[title]) == 2
        for line in figures.health[title]:
            assert [value for _, value in line.points] == pytest.approx([rate] * len(line.points))


def variables(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", css))


def test_an_emotion_has_one_colour_everywhere(tmp_path):
    """In the report, on the page and in pictures, on light and on dark ground."""
    write(tmp_path / "log", [health("pi", 0, 1.0)])
    with Logs(tmp_path / "log") as logs:
        write_report(logs, tmp_path / "report.html", "log")
    for text in (VIEW_CSS.read_text("utf-8"), (tmp_path / "report.html").read_text("utf-8")):
        light, dark = text.split("@media screen and (prefers-color-scheme: dark)")[:2]
        for css, colors in ((light, palette.LIGHT), (dark, palette.DARK)):
            found = variables(css)
            assert {name: found[name] for name in colors} == colors
    assert set(palette.LIGHT) == set(palette.DARK) == {*EMOTIONS, "uncertain"}


def luminance(color: str) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [value / 255 for value in bytes.fromhex(color[1:])]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("label", EMOTIONS)
def test_colours_stand_out_from_their_ground(label):
    """Names written on or in them can be read: the live page does so."""
    for ground, color in (("#ffffff", palette.LIGHT[label]), ("#1c2024", palette.DARK[label])):
        high, low = sorted((luminance(ground), luminance(color)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5 - 0.5 * (label == "happiness")


def test_a_class_of_ones_own_has_one_colour_for_ever(tmp_path):
    """Its hue is its name's CRC-32, on the page as in Python; the report holds a rule for it."""
    assert palette.own_hue("engaged") == 339
    script = Path("edge/view/static/colors.js").read_text("utf-8")
    assert "0xedb88320" in script
    for number in range(360):
        for ground, dark in (("#ffffff", False), ("#1c2024", True)):
            color = palette.hue_color(number, dark=dark)
            high, low = sorted((luminance(ground), luminance(color)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5
    assert palette.color_of("fear", dark=True) == palette.DARK["fear"]
    assert palette.color_of("\x1b[2J", dark=False) == palette.OTHER
    at = {"time": "2026-01-01T00:00:01.000Z", "monotonic_s": 1.0, "session": "s", "device": "pi"}
    records = [
        TrackStarted(**at, seq=0, track=1, box=(0, 0, 9, 9), frame=1),
        Emotion(
            **at, seq=1, track=1, label="engaged", confidence=0.9, frame=1, latency_ms=1.0,
            scores={"engaged": 0.9, "bored": 0.1}, box=(0, 0, 9, 9), head_pose=None,
        ),
        TrackEnded(**at, seq=2, track=1, duration_s=4, shares={"engaged": 1}),
    ]  # fmt: skip
    write(tmp_path / "log", records)
    with Logs(tmp_path / "log") as logs:
        write_report(logs, tmp_path / "report.html", "log")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert ".own-h339 {" in page
    assert "engaged" in page


def test_text_is_never_scaled_with_a_picture(tmp_path):
    """No text is part of an SVG that a telephone shrinks; tables name each cell by itself there."""
    records = [health("pi", seq, seq * 10.0, dropped_frames=seq) for seq in range(1, 9)]
    write(tmp_path / "log", records)
    with Logs(tmp_path / "log") as logs:
        write_report(logs, tmp_path / "report.html", "log")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<svg") >= 3
    assert "<text" not in page
    cells = re.findall(r"<td[^>]*>", page)
    assert cells
    assert all('data-name="' in cell for cell in cells)


def test_what_was_measured_on_nothing_is_not_a_number(tmp_path):
    """Confidence, frames a second and latency of no record are n/a, in tables and report."""
    gone = CameraLost(
        time="2026-01-01T00:00:00.000Z", monotonic_s=0.0, seq=0, session="s", device="d",
        reason="gone",
    )  # fmt: skip
    write(tmp_path / "log", [gone])
    with Logs(tmp_path / "log") as logs:
        told = total_lines(summarise(logs, "total"))
        table = summary_table(summarise(logs, "device"), "device", 9)
        write_report(logs, tmp_path / "report.html", "log")
    for name in ("emotions", "confidence", "frames/s", "latency"):
        assert f"{name:13} n/a" in told
    shown = [str(cell) for column in table.columns for cell in column.cells]
    assert shown.count("n/a") == 4
    page = (tmp_path / "report.html").read_text("utf-8")
    for name in ("confidence", "frames/s", "ms 50/95 %", "emotions"):
        assert re.search(f'<td data-name="{name}"[^>]*>n/a</td>', page)
