"""The same things give the same release, and a device gets nothing of the workstation."""

import io
import re
import subprocess
import sys
import zipfile

from deploy.edge_wheel import build_edge_wheel, requirements
from deploy.release import agent_program


def test_the_wheel_is_the_same_twice_and_holds_edge_only():
    """No date, no order, no cache file gets in; host packages stay at home."""
    name, content = build_edge_wheel()
    assert (name, content) == build_edge_wheel()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {entry.split("/")[0] for entry in names if ".dist-info" not in entry} == {"edge"}
    assert not [entry for entry in names if entry.endswith(".pyc")]
    assert "edge/models/default/model.tflite" in names


def test_a_device_needs_neither_extras_nor_their_packages():
    """What is required is the list of a lean device."""
    names = {re.split(r"[^a-z-]", line)[0] for line in requirements()}
    assert {"numpy", "ai-edge-litert", "opencv-python-headless"} <= names
    assert not names & {"tensorflow", "pyinfra", "pytest", "mediapipe"}


def test_the_agent_runs_on_a_bare_python(tmp_path):
    """The device's program needs the standard library only."""
    path = tmp_path / "agent.pyz"
    path.write_bytes(agent_program())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(path), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for verb in ("install", "activate", "watch", "rollback", "remove"):
        assert verb in done.stdout
