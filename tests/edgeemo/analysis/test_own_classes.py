"""Logs of a model with classes of one's own: every table has columns for them."""

import csv
import json
from pathlib import Path

import msgspec
import pytest

from edge.contract.logrecord import Emotion, LogRecord, ServiceStarted, TrackEnded, TrackStarted
from edgeemo.analysis.database import Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.log import open_log
from edgeemo.analysis.store import open_logs, update
from edgeemo.analysis.studies.sessions import sessions
from edgeemo.analysis.studies.tables import KEYS, measures_of, wide_rows

LABELS = ("neutral", "engaged", "not-sure")
BOX = (0, 0, 9, 9)


def records() -> list[LogRecord]:
    """One face that is engaged for two seconds, then neutral; never not-sure."""
    at = [
        {
            "time": f"2026-01-01T00:00:0{i}.000Z", "monotonic_s": float(i), "seq": i,
            "session": "s", "device": "pi",
        }
        for i in range(6)
    ]  # fmt: skip
    shown = {"head_pose": None, "box": BOX, "latency_ms": 1.0, "frame": 1, "track": 1}
    return [
        ServiceStarted(
            **at[0], version="1", source="demo", model="own", model_sha256="0" * 64,
            mesher="litert", runtime="r", labels=LABELS,
        ),
        TrackStarted(**at[1], track=1, box=BOX, frame=1),
        Emotion(
            **at[2], label="engaged", confidence=0.7, **shown,
            scores={"neutral": 0.2, "engaged": 0.7, "not-sure": 0.1},
        ),
        Emotion(
            **at[4], label="neutral", confidence=0.6, **shown,
            scores={"neutral": 0.6, "engaged": 0.3, "not-sure": 0.1},
        ),
        TrackEnded(
            **at[5], track=1, duration_s=3.0, shares={"engaged": 0.667, "neutral": 0.333},
        ),
    ]  # fmt: skip


@pytest.fixture(params=["raw", "stored"])
def log(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A log directory, with a store and without."""
    folder = tmp_path / "log"
    folder.mkdir()
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records())
    (folder / "edgeemo.jsonl").write_bytes(lines)
    if request.param == "stored":
        update(folder)
    return folder


def exported(log: Path, kind: str, target: Path) -> list[dict[str, str]]:
    """Return an export's rows."""
    with open_logs(log, own_scores=True) as logs:
        export(logs, kind, "csv", target)
    return list(csv.DictReader(target.read_text().splitlines()))


def test_exports_have_a_column_for_each_class(log: Path, tmp_path: Path) -> None:
    """Behind the emotions, by the alphabet; one that never led is there by the model's labels."""
    first, second = exported(log, "emotion", tmp_path / "e.csv")
    names = [name for name in first if name.startswith("score_")]
    assert names[-3:] == ["score_contempt", "score_engaged", "score_not-sure"]
    assert (first["score_engaged"], first["score_not-sure"]) == ("0.7", "0.1")
    assert (second["score_engaged"], second["score_happiness"]) == ("0.3", "")
    (ended,) = exported(log, "track_ended", tmp_path / "t.csv")
    names = [name for name in ended if name.startswith("share_")]
    assert names[-4:] == ["share_contempt", "share_engaged", "share_not-sure", "share_uncertain"]
    assert ended["share_engaged"] == "0.667"


def test_questions_in_python_have_them_too(log: Path) -> None:
    """Emotions, summary and segments."""
    with open_log(log) as opened:
        emotions = opened.emotions()
        assert {"score_engaged", "score_not-sure"} <= set(emotions.columns)
        row = dict(zip(opened.summary().columns, opened.summary().fetchall()[0], strict=True))
        assert row["seconds_engaged"] == pytest.approx(2.0)
        assert row["seconds_happiness"] == 0
        assert "share_engaged" in opened.segments().columns


def test_a_study_table_has_their_shares(log: Path) -> None:
    """Emotions and classes of one's own add up to the face's time."""
    with Logs(log) as logs:
        found = sessions(logs)
    (row,) = wide_rows(found)
    assert list(row) == [*KEYS, *measures_of(found)]
    assert row["share_engaged"] + row["share_neutral"] == pytest.approx(1)


def test_logs_of_emotions_only_have_the_columns_that_they_had(tmp_path: Path) -> None:
    """Nothing is added, and a hostile name makes no column."""
    (tmp_path / "log").mkdir()
    lines = [json.loads(msgspec.json.encode(record)) for record in records()]
    lines[0]["labels"] = ["neutral", "Robert'); DROP", 'a"b', "x" * 99]
    for line in lines[2:4]:
        line["label"], line["scores"] = "neutral", {"neutral": 1.0}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "log" / "edgeemo.jsonl").write_text(text)
    first, *_ = exported(tmp_path / "log", "emotion", tmp_path / "e.csv")
    assert [name for name in first if name.startswith("score_")][-1] == "score_contempt"
