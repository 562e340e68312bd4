"""A conversion that is killed leaves no bundle or a whole one, and is in nobody's way."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.contract.bundle import open_bundle
from edge.contract.labels import EMOTIONS

KILLS = int(os.environ.get("EDGEEMO_KILLS", "2"))
"""All but every fourth while the bundle is written, the last hundredth of a conversion."""
WAIT_S = 300.0


@pytest.fixture(scope="module")
def pictures(evaluation_rows, tmp_path_factory) -> Path:
    """The rows as folders of pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, (image, label) in enumerate(
        zip(evaluation_rows.images, evaluation_rows.labels, strict=True)
    ):
        place = folder / EMOTIONS[label]
        place.mkdir(exist_ok=True)
        assert cv2.imwrite(str(place / f"{index:04d}.png"), image)
    return folder


def conversion(run: Path, pictures: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "edgeemo", "convert", str(run), "--int8", "--data", str(pictures),
         "--out", str(out), "--max-drop", "100", "--min-agreement", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def until(is_time: Callable[[], bool], process: subprocess.Popen[bytes]) -> bool:
    """Wait for a moment; tell whether it came before the process ended."""
    give_up_s = time.monotonic() + WAIT_S
    while process.poll() is None:
        if is_time():
            return True
        assert time.monotonic() < give_up_s
        time.sleep(0.0005)
    return False


def test_a_killed_conversion_leaves_nothing_or_a_whole_bundle(
    run_directory, pictures, tmp_path
) -> None:
    """SIGKILL at moments over the whole conversion, and while the bundle is being written."""
    rng = np.random.default_rng(5)
    out = tmp_path / "bundle"
    killed = writing = 0
    for number in range(KILLS):
        process = conversion(run_directory, pictures, out)
        started_s = time.monotonic()
        pause_s = rng.uniform(0, 0.02)
        if number % 4 == 0:
            moment = started_s + rng.uniform(0, 8)
            is_killed = until(lambda moment=moment: time.monotonic() > moment, process)
        else:
            is_killed = until(lambda: any(tmp_path.glob(".bundle.*")), process)
            time.sleep(pause_s)
            writing += is_killed
        process.kill()
        _, said = process.communicate()
        assert process.returncode in (-9, 0), said
        killed += is_killed
        if out.exists():
            open_bundle(out)  # verifies every hash
            shutil.rmtree(out)
        left = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".bundle.")}
        assert left <= {"bundle.parity.png", "bundle.parity.json"}
    assert killed
    assert writing
    last = conversion(run_directory, pictures, out)
    _, said = last.communicate(timeout=WAIT_S)
    assert last.returncode == 0, said
    open_bundle(out)
    assert not list(tmp_path.glob(".bundle.*")), "an old attempt is still there"
