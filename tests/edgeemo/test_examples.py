"""Every program of examples/ runs, on a real face."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import edge

EXAMPLES = Path(edge.__file__).parents[1] / "examples"


def run(name: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(EXAMPLES.parent), "PATH": "", "HOME": str(Path.home())},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_photo(photo, tmp_path):
    assert run("photo.py", photo, tmp_path / "seen.png").startswith("happiness 100% at ")
    assert cv2.imread(str(tmp_path / "seen.png")) is not None


def test_film_timeline(film, tmp_path):
    pytest.importorskip("matplotlib")
    if not any(map(has, ("pandas", "polars"))):
        pytest.skip("neither pandas nor Polars is installed")
    assert "score_happiness" in run("film_timeline.py", film, tmp_path / "timeline.png")
    assert cv2.imread(str(tmp_path / "timeline.png")) is not None


def has(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def test_webcam_overlay(tmp_path):
    out = run("webcam_overlay.py", "demo:live", tmp_path / "seen.avi", 5)
    assert "happiness" in out
    assert len(out.splitlines()) == 5
    assert cv2.VideoCapture(str(tmp_path / "seen.avi")).read()[0]


def test_many_films(film, tmp_path):
    out = run("many_films.py", film.parent, tmp_path / "films.csv")
    assert str(film) in out
    assert "happiness" in out


def test_fleet_logs(analyzer, film, tmp_path):
    pytest.importorskip("duckdb")
    list(analyzer.video(film, log_dir=tmp_path / "pi-1"))
    out = run("fleet_logs.py", tmp_path)
    assert "1 tracks, 0 lost" in out
    assert "track 1 stayed for" in out


def test_own_classifier(photo):
    assert "mouth " in run("own_classifier.py", photo)


def test_every_example_is_in_the_list_and_is_tried():
    """The README of the folder has each program, and so has this file."""
    listed = (EXAMPLES / "README.md").read_text()
    for program in EXAMPLES.glob("*.py"):
        assert f"[{program.name}]({program.name})" in listed
        assert f'"{program.name}"' in Path(__file__).read_text()
