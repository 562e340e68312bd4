"""`edgeemo bench` measures real runs, whole, and says so when there is nothing to measure."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.bench.report import Spread
from edge.bench.start_up import time_start_up

pytestmark = pytest.mark.slow


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeemo", "bench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> dict:
    """A short measurement of the demo, as JSON and as people see it."""
    for asset in (ASTRONAUT, FACE_LANDMARKER):
        asset_path(asset)  # a new machine fetches it, and says so on stderr
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    done = bench("--frames", 30, "--starts", 1, "--json", path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return {**json.loads(path.read_text()), "shown": done.stdout}


def test_every_stage_is_measured_and_they_add_up(report):
    """The stages stand in their order, and their means add up to that of the whole loop."""
    stages = report["throughput"]["stages"]
    assert list(stages) == [
        "read", "mesh", "track", "align", "classify", "smooth", "record", "all",
    ]  # fmt: skip
    for ms in stages.values():
        assert 0 < ms["p50"] <= ms["p95"] <= ms["p99"]
    parts = sum(ms["mean"] for stage, ms in stages.items() if stage != "all")
    # What is between the stages: signals, heartbeats, the stopwatch.
    assert 0.9 < parts / stages["all"]["mean"] <= 1.001


def test_frames_faces_memory_and_time_are_told(report):
    """The frames asked for were measured, with the demo's one face in each."""
    run = report["throughput"]
    assert (run["frames"], run["faces"], run["most_faces"]) == (30, 1.0, 1)
    assert run["fps"] == pytest.approx(1000 / run["stages"]["all"]["mean"], rel=0.02)
    assert 0.0005 < run["cpu_s_per_frame"] < 1
    assert 30 < run["rss_mb"] < 1000


def test_the_first_result_is_that_of_a_process_of_its_own(report):
    """The start-up is a real run's, and holds less memory than the process that measures."""
    start = report["start_up"]
    assert start["problem"] == ""
    (seconds,) = start["seconds"]
    assert 0.05 < seconds < 60
    assert start["rss_mb"] > 30


def test_people_see_the_same(report):
    """Percentiles, rate, CPU time, memory and start-up stand in the table."""
    for word in ("p50", "p95", "p99", "mesh", "frames/s", "CPU", "resident", "first result"):
        assert word in report["shown"]


def test_a_source_without_faces_has_no_first_result(tmp_path):
    """A picture of nobody gives no figure and says why, instead of waiting for ever."""
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((120, 160, 3), 128, np.uint8))
    start = time_start_up(["--source", str(tmp_path)], 2)
    assert start.seconds == ()
    assert "no face" in start.problem


def test_a_run_that_can_not_start_says_its_reason(tmp_path):
    """What the child said on stderr is the problem that is told."""
    start = time_start_up(["--source", str(tmp_path / "none.mp4")], 1)
    assert "none.mp4" in start.problem


@pytest.mark.parametrize(("name", "code"), [("short", 1), ("missing", 2)])
def test_too_little_to_measure_is_one_clear_line(tmp_path, name, code):
    """A source with fewer frames than the warm-up, or none, is refused by name."""
    source = tmp_path / f"{name}.png"
    if name == "short":
        cv2.imwrite(str(source), np.full((120, 160, 3), 128, np.uint8))
    done = bench("--source", source, "--starts", 0)
    assert done.returncode == code
    (line,) = done.stderr.splitlines()
    assert name in line


def test_json_can_be_printed_alone(tmp_path):
    """`--json -` prints nothing but the JSON."""
    done = bench("--frames", 1, "--starts", 0, "--json", "-")
    assert json.loads(done.stdout)["start_up"]["problem"] == "not measured"
    assert not list(Path(tmp_path).iterdir())


def test_percentiles_are_those_of_all_frames():
    """A spread is made of all values, the rare slow ones included."""
    spread = Spread.of([1.0] * 98 + [100.0] * 2, 100)
    assert (spread.p50, spread.p95) == (1.0, 1.0)
    assert spread.p99 > 50
    assert spread.mean == pytest.approx(2.98)
    rare = Spread.of([2.0], 4)  # a stage that three of four frames have no use for
    assert (rare.p50, rare.mean) == (2.0, 0.5)


def test_the_configuration_names_the_source(tmp_path):
    """Without --source the one in --config is measured, not the demo."""
    config = tmp_path / "c.toml"
    config.write_text(f'[source]\nspec = "{tmp_path / "no.mp4"}"\n')
    done = bench("--config", config, "--frames", 1, "--starts", 0)
    assert done.returncode == 2
    assert "no.mp4" in done.stderr
