"""The tutorial "a small study", from recording to a table: its files are made, its commands run."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.contract.logrecord import EVENTS
from edgeemo.analysis.studies.tables import KEYS, measures_of

TUTORIAL = Path("docs/tutorials/small-study.md").read_text("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole tutorial has been followed."""
    folder = tmp_path_factory.mktemp("study")
    for name, content in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.M | re.S):
        (folder / name).write_text(content)
    console = "".join(re.findall(r"```console\n(.*?)```", TUTORIAL, re.DOTALL))
    lines = [line.removeprefix("$ ") for line in console.splitlines()]
    wrapper = folder / "bin" / "edgeemo"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgeemo "$@"\n')
    wrapper.chmod(0o755)
    done = subprocess.run(
        ["bash", "-e"], input="\n".join(lines), cwd=folder, text=True, capture_output=True,
        env={"PYTHONPATH": str(Path.cwd()), "PATH": f"{wrapper.parent}:{os.environ['PATH']}",
             "HOME": str(Path.home())}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_table_has_each_task(folder):
    """A row for the face in each task, with who it was and every measure."""
    rows = list(csv.DictReader((folder / "wide.csv").read_text().splitlines()))
    assert list(rows[0]) == [*KEYS, *measures_of([])]
    assert {row["segment"] for row in rows} == {"task A", "task B"}
    assert {(row["study"], row["participant"], row["condition"]) for row in rows} == {
        ("smiles-1", "p07", "video")
    }
    for row in rows:
        shares = [float(value) for name, value in row.items() if name.startswith("share_")]
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_every_file_is_there(folder):
    """What the tutorial names, it makes."""
    for name in re.findall(r"(?:-o|--picture|--json) (\S+)", TUTORIAL):
        assert (folder / name).stat().st_size > 100, name


def test_the_film_agrees(folder):
    """On the demo's film the log has what the table has: all events and no other."""
    found = json.loads((folder / "agree.json").read_text())
    assert set(found["events"]) <= {*EVENTS, "all"}
    assert found["events"]["all"]["f1"] >= 0.98
    assert found["emotions"]["accuracy"] > 0.9


def test_the_participant_is_forgotten(folder):
    """After the last step no file of the logs has the code."""
    for directory in ("log", "film"):
        assert all(b"p07" not in path.read_bytes() for path in (folder / directory).iterdir())
