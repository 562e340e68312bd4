"""Many files into one table: in parallel, whatever single ones do, and from where it was left."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import cv2
import pytest

import edgeemo

EDGEEMO = [sys.executable, "-m", "edgeemo"]


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("setting", [{"workers": -1}, {"workers": 0}, {"every_n": 0}])
def test_a_count_that_is_none_is_refused_at_once(film, tmp_path, setting):
    """Before any file is looked at, and not once a film."""
    (name,) = setting
    with pytest.raises(edgeemo.ConfigError, match=f"{name}: expected a whole number from 1, got"):
        edgeemo.analyze(film, tmp_path / "table.csv", **setting)
    assert not list(tmp_path.iterdir())


def without_times(rows: list[dict]) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "latency_ms"} for row in rows]


@pytest.fixture
def folder(film, pixels, tmp_path):
    """A study: two films, two pictures in a folder inside, a film and a picture that are none."""
    study = tmp_path / "study"
    (study / "photos").mkdir(parents=True)
    shutil.copy2(film, study / "b2.avi")
    shutil.copy2(film, study / "b10.avi")
    cv2.imwrite(str(study / "photos" / "one.png"), pixels)
    cv2.imwrite(str(study / "photos" / "two.png"), pixels[60:190, 165:290])
    (study / "notes.txt").write_text("nothing of ours")
    return study


def test_a_folder_becomes_one_table(analyzer, folder, tmp_path):
    """Its rows are those of the API, file by file in natural order, over two processes."""
    told = []
    report = edgeemo.analyze(
        folder, tmp_path / "all.csv", workers=2, watch=lambda *n: told.append(n)
    )
    rows = rows_of(tmp_path / "all.csv")
    files = [folder / "b2.avi", folder / "b10.avi"]
    photos = [folder / "photos" / "one.png", folder / "photos" / "two.png"]
    expected = tmp_path / "expected.csv"
    alone = []
    for file in files:
        analyzer.video(file).to_csv(expected)
        alone += rows_of(expected)
    analyzer.images(photos).to_csv(expected)
    assert without_times(rows) == without_times(alone + rows_of(expected))
    assert (report.files, report.frames, report.rows) == (4, 34, len(rows))
    assert report.failures == ()
    assert told[-1] == (4, 4, 34)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "expected.csv", "study"]


def test_a_file_that_fails_fails_alone_and_is_tried_again(folder, tmp_path):
    """The others are in the table; the next call analyzes only the mended one."""
    broken, photo = folder / "b5.avi", folder / "photos" / "one.png"
    broken.write_bytes(b"RIFF\0\0\0\0AVI no film at all")
    whole, out = photo.read_bytes(), tmp_path / "all.csv"
    photo.write_bytes(whole[:2000])
    report = edgeemo.analyze(folder, out, workers=1)
    assert {Path(failure.file) for failure in report.failures} == {broken, photo}
    assert all(failure.reason for failure in report.failures)
    assert report.files == 3
    before = rows_of(out)
    assert {Path(row["file"]).name for row in before} == {"b2.avi", "b10.avi", "two.png"}
    photo.write_bytes(whole)
    broken.unlink()
    report = edgeemo.analyze(folder, out, workers=1)
    assert report.failures == ()
    assert (report.files, report.reused) == (4, 2)
    assert {Path(row["file"]).name for row in rows_of(out)} == {
        "b2.avi", "b10.avi", "one.png", "two.png",
    }  # fmt: skip
    assert not (tmp_path / "all.csv.parts").exists()


def test_what_kills_a_process_is_a_failure_of_its_file(folder, tmp_path, monkeypatch):
    """Each picture of a group that crashes a decoder fails alone; the films go on."""
    from edgeemo import batch_worker

    code = (
        "import os, edgeemo.pictures as p; real = p.open_picture\n"
        "p.open_picture = lambda path: os.abort() if path.name == 'two.png' else real(path)\n"
    )
    monkeypatch.setattr(batch_worker, "PROGRAM", code + batch_worker.PROGRAM)
    report = edgeemo.analyze(folder, tmp_path / "all.csv", workers=1)
    (failure,) = report.failures
    assert failure.file.endswith("two.png")
    assert "signal 6" in failure.reason
    files = {Path(row["file"]).name for row in rows_of(tmp_path / "all.csv")}
    assert files == {"b2.avi", "b10.avi", "one.png"}


def test_an_interrupted_call_is_gone_on_with(folder, tmp_path):
    """Ctrl-C ends the command and its processes; the same call does the rest."""
    command = [*EDGEEMO, "analyze", str(folder), "-o", "all.csv", "--workers", "1"]
    parts = tmp_path / "all.csv.parts"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 300
        while not list(parts.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=100)
    assert process.returncode == 1
    assert errors.strip() == ("edgeemo: error: interrupted; run the same command again to resume")
    assert not (tmp_path / "all.csv").exists()
    done = len(list(parts.glob("*.json")))
    assert done >= 1
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "by an earlier call" in shown.stdout
    assert len({row["file"] for row in rows_of(tmp_path / "all.csv")}) == 4
    assert not parts.exists()


def test_other_settings_are_not_gone_on_with(folder, tmp_path):
    """What was done with other settings is done again; so it is with ``restart``."""
    (folder / "photos" / "none.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    out = tmp_path / "all.csv"
    assert edgeemo.analyze(folder, out, workers=1).reused == 0
    assert edgeemo.analyze(folder, out, workers=1).reused == 2
    assert edgeemo.analyze(folder, out, workers=1, every_n=4).reused == 0
    assert edgeemo.analyze(folder, out, workers=1, every_n=4, restart=True).reused == 0


def test_parquet_has_the_types_of_its_columns(folder, tmp_path):
    """Written by DuckDB: numbers are numbers, times are times in UTC, and the rows the same."""
    duckdb = pytest.importorskip("duckdb")
    photos = folder / "photos"
    edgeemo.analyze(photos, tmp_path / "all.csv", workers=1)
    edgeemo.analyze(photos, tmp_path / "all.parquet", workers=1)
    table = duckdb.sql(f"FROM '{tmp_path / 'all.parquet'}'")
    kinds = dict(zip(table.columns, map(str, table.types), strict=True))
    assert kinds["frame"] == "BIGINT"
    assert kinds["confidence"] == "DOUBLE"
    assert kinds["time"] == "TIMESTAMP WITH TIME ZONE"
    rows = table.select("file, label, x1, score_happiness").fetchall()
    expected = rows_of(tmp_path / "all.csv")
    assert rows == [
        (row["file"], row["label"], float(row["x1"]), float(row["score_happiness"]))
        for row in expected
    ]


def test_names_that_are_no_utf8_are_analyzed(folder, tmp_path):
    """A file's name may hold any byte."""
    odd = os.fsdecode(os.fsencode(tmp_path) + b'/\xe9t\xe9, "x".png')
    shutil.copy(folder / "photos" / "one.png", odd)
    report = edgeemo.analyze([odd], tmp_path / "all.csv", workers=1)
    assert (report.rows, report.failures) == (1, ())
    if find_spec("duckdb"):
        out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9t\xe9.parquet"))
        assert edgeemo.analyze([odd], out, workers=1).rows == 1
        assert out.is_file()


@pytest.mark.parametrize(
    ("files", "out", "words"),
    [
        (["nowhere.mp4"], "all.csv", "nowhere.mp4: no such file or folder"),
        ([], "all.csv", "no film and no picture"),
        (["."], "all.xlsx", "expected a name that ends in .csv or .parquet"),
        (["."], "nowhere/all.csv", "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_before_the_work(tmp_path, monkeypatch, files, out, words):
    """In one line, with exit code 2; nothing is left behind."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(edgeemo.ConfigError) as told:
        edgeemo.analyze(files, out)
    assert words in str(told.value)
    assert list(tmp_path.iterdir()) == []
