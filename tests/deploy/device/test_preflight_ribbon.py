"""What a preflight asks of a device whose configuration names the ribbon camera."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.device.preflight import RIBBON_PROBE, configured_source

ROOT = Path(__file__).parents[3]
FAKE = ROOT / "tests/edge/sources/cameras/fake_picamera2"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ('[source]\nspec = "picamera"\n', "picamera"),
        ('[source]\nspec = "0"\n', "0"),
        ("[source]\nwidth = 640\n", ""),
        ("source = 3\n", ""),
        ("[source\n", ""),
        ("a = " + "[" * 5_000, ""),
        (None, ""),
    ],
)
def test_only_who_wants_the_ribbon_camera_is_asked(tmp_path: Path, text, spec) -> None:
    """A configuration that is damaged, or not there, names none."""
    config = tmp_path / "edgeemo.toml"
    if text is not None:
        config.write_text(text, "utf-8")
    assert configured_source(config) == spec


@pytest.mark.parametrize(
    ("fault", "told"),
    [("", ""), ("absent", ""), ("raises", "numpy.dtype size changed")],
)
def test_a_picamera2_that_does_not_work_stops_a_release(tmp_path: Path, fault, told) -> None:
    """Packages that do not fit each other are told; a cable that is out is no release's fault."""
    if fault:
        (tmp_path / fault).write_text("numpy.dtype size changed", "ascii")
    done = subprocess.run(
        [sys.executable, "-c", RIBBON_PROBE],
        env=os.environ | {"PLAY_CSI": str(tmp_path), "PYTHONPATH": f"{FAKE}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == bool(told)
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == bool(told)


def test_a_missing_picamera2_stops_a_release() -> None:
    """A configuration that asks for the ribbon camera cannot work without it."""
    done = subprocess.run(
        [sys.executable, "-c", RIBBON_PROBE],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "sudo apt install python3-picamera2" in done.stderr
