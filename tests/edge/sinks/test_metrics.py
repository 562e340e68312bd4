"""The text file for Prometheus, and the dashboard, alerts and page that speak of its metrics."""

import json
import re
from pathlib import Path

import pytest

from edge.config import Config, MetricsConfig
from edge.contract import logrecord
from edge.contract.logrecord import LogRecord
from edge.errors import SinkError
from edge.runtime.build import metrics_path
from edge.sinks.metrics import METRICS, MetricsSink

HEAD = {
    "time": "2026-01-31T12:00:00.500Z", "monotonic_s": 1.0, "seq": 1, "session": "s",
    "device": 'pi "1"\\\n',
}  # fmt: skip
HEALTH = {
    "fps": 9.5, "stage_ms": {"mesh": 12.5}, "frames": 100, "dropped_frames": 3,
    "dropped_records": 2, "dropped_faces": 1, "rss_mb": 101.5, "temperature_c": 55.0,
    "throttled": "0x50000", "disk_free_mb": 512.0,
}  # fmt: skip
SAMPLE = re.compile(r'(edgeemo_\w+)((?:\{(?:\w+="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (-?[0-9.e+-]+)')


def started() -> LogRecord:
    return logrecord.ServiceStarted(
        **HEAD, version="0.2", source="0", model="compact", model_sha256="0", mesher="litert",
        runtime="r", labels=(),
    )  # fmt: skip


def read(path: Path) -> dict[str, float]:
    """Read the file as Prometheus does: every line is a comment or a sample."""
    found = {}
    for line in path.read_text("utf-8").splitlines():
        if not line.startswith("# "):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1] + match[2]] = float(match[3])
    return found


def written(tmp_path: Path, *records: LogRecord) -> dict[str, float]:
    sink = MetricsSink(tmp_path / "edgeemo.prom")
    for record in records:
        sink.write(record)
    sink.close()
    return read(tmp_path / "edgeemo.prom")


def test_a_run_is_summed_up(tmp_path):
    """Gauges are those of the last health record, counters those of the whole run."""
    told = written(
        tmp_path,
        started(),
        logrecord.TrackStarted(**HEAD, track=1, box=(0, 0, 1, 1), frame=0),
        logrecord.TrackStarted(**HEAD, track=2, box=(0, 0, 1, 1), frame=0),
        logrecord.TrackEnded(**HEAD, track=1, duration_s=10, shares={"fear": 0.25, "anger": 0.75}),
        logrecord.Health(**HEAD, **HEALTH),
    )
    assert told["edgeemo_up"] == told["edgeemo_camera_up"] == told["edgeemo_throttled"] == 1
    assert told["edgeemo_frames_total"] == 100
    assert told["edgeemo_frames_per_second"] == 9.5
    assert told['edgeemo_stage_seconds{stage="mesh"}'] == 0.0125
    assert told["edgeemo_resident_memory_bytes"] == 101.5e6
    assert told["edgeemo_log_disk_free_bytes"] == 512e6
    assert (told["edgeemo_faces"], told["edgeemo_tracks_total"]) == (1, 2)
    assert told['edgeemo_face_seconds_total{label="anger"}'] == 7.5
    assert told['edgeemo_records_total{kind="track_started"}'] == 2
    assert "edgeemo_fps_limit" not in told
    assert told["edgeemo_last_record_time_seconds"] == 1769860800.5
    (info,) = (name for name in told if name.startswith("edgeemo_info"))
    assert 'model="compact"' in info
    assert {re.match(r"\w+", name)[0] for name in told} <= METRICS.keys()


def test_outages_reloads_and_the_end(tmp_path):
    """A lost camera shows, a new session sets no counter back, and the last word is 0."""
    lost = logrecord.CameraLost(**HEAD, reason="unplugged")
    told = written(tmp_path, started(), logrecord.Health(**HEAD, **HEALTH), lost)
    assert (told["edgeemo_camera_up"], told["edgeemo_camera_outages_total"]) == (0, 1)
    told = written(
        tmp_path, started(), lost, logrecord.CameraRestored(**HEAD, outage_s=4.5),
        logrecord.Health(**HEAD, **HEALTH), started(), logrecord.Health(**HEAD, **HEALTH),
        logrecord.ServiceStopped(**HEAD, reason="signal", frames=1, tracks=1, records=1),
    )  # fmt: skip
    assert told["edgeemo_camera_outage_seconds_total"] == 4.5
    assert told["edgeemo_frames_total"] == 200
    assert told["edgeemo_dropped_faces_total"] == 2
    assert told["edgeemo_dropped_frames_total"] == 3
    assert told["edgeemo_up"] == 0


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    """It names the file and the remedy; nothing else is left behind."""
    sink = MetricsSink(tmp_path / "missing" / "edgeemo.prom")
    with pytest.raises(SinkError, match=r"docs/metrics\.md") as caught:
        sink.write(started())
    assert "\n" not in str(caught.value)


def test_a_link_in_its_place_is_replaced_not_followed(tmp_path):
    """Whoever may write in the folder leads the service nowhere."""
    other = tmp_path / "other"
    other.write_text("mine")
    for name in ("edgeemo.prom", ".edgeemo.prom.part"):
        (tmp_path / name).symlink_to(other)
    written(tmp_path, started())
    assert other.read_text() == "mine"
    assert not (tmp_path / "edgeemo.prom").is_symlink()


def test_where_the_file_is(monkeypatch):
    """A service has it in its folder below /run, a run by hand none, unless it is named."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert metrics_path(Config().metrics) is None
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/edgeemo:/run/other")
    assert metrics_path(Config().metrics) == Path("/run/edgeemo/edgeemo.prom")
    assert metrics_path(MetricsConfig("")) is None
    assert metrics_path(MetricsConfig("/x/y.prom")) == Path("/x/y.prom")


def test_the_dashboard_asks_for_metrics_that_are(tmp_path):
    """It is JSON that Grafana imports, each panel has its question, and all names are known."""
    dashboard = json.loads(Path("docs/grafana-dashboard.json").read_text("utf-8"))
    assert dashboard["schemaVersion"] >= 30
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= len(dashboard["panels"])
    for question in asked:
        names = re.findall(r"edgeemo_\w+", question)
        assert names, question
        assert set(names) <= METRICS.keys(), question
        assert question.count("(") == question.count(")")


def test_the_alerts_ask_for_metrics_that_are():
    """Every rule has a name, a question about known metrics, and a sentence."""
    text = Path("docs/prometheus-alerts.yml").read_text("utf-8")
    rules = re.split(r"^      - alert: ", text, flags=re.MULTILINE)[1:]
    assert len(rules) >= 6
    for rule in rules:
        (question,) = re.findall(r"^        expr: (.+)$", rule, re.MULTILINE)
        names = re.findall(r"edgeemo_\w+", question)
        assert names, question
        assert set(names) <= METRICS.keys(), question
        assert re.search(r'^          summary: ".+"$', rule, re.MULTILINE)


def test_the_page_lists_every_metric():
    """With its type and what it says, as the file has them."""
    page = Path("docs/metrics.md").read_text("utf-8")
    for name, (kind, text) in METRICS.items():
        assert f"| `{name}` | {kind} | {text} |" in page


def test_the_drop_in_opens_the_folder_that_the_page_names():
    """What may be written is where the file is said to be."""
    page = Path("docs/metrics.md").read_text("utf-8")
    (path,) = re.findall(r'textfile = "(/.+?)"', page)
    drop_in = Path("systemd/edgeemo-metrics.conf").read_text("utf-8")
    settings = dict(
        line.split("=", 1) for line in drop_in.splitlines() if "=" in line and line[0] != "#"
    )
    assert settings["ReadWritePaths"] == f"-{Path(path).parent}"
    assert settings["ExecStartPre"].endswith(str(Path(path).parent))
    assert path in drop_in
