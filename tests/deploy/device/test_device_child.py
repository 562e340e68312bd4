"""Child processes of the device's program: what they inherit, and how long they live."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.device.install import run_isolated
from deploy.device.layout import DeviceError

_PROGRAM = """
from deploy.device.child import run_child
run_child(["sh", "-c", "echo $$ > {file}.new; mv {file}.new {file}; exec sleep 60"], 60)
"""


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_child_does_not_outlive_the_program_that_is_killed(tmp_path):
    """Whoever takes the lock next must not meet a pip that still writes into the same folder."""
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", _PROGRAM.format(file=file)]) as program:
        while not file.exists():
            assert program.poll() is None
            time.sleep(0.01)
        child = int(file.read_text())
        assert is_alive(child)
        program.kill()
    deadline = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHOME", "PIP_INDEX_URL"])
def test_the_callers_python_does_not_reach_a_release(monkeypatch, name):
    """What its environment variables bring along would be taken for installed already."""
    monkeypatch.setenv(name, "/nowhere")
    run_isolated(["sh", "-c", f'test -z "${name}"'], f"{name} is not there")
    with pytest.raises(DeviceError, match="it can be seen"):
        run_isolated(["sh", "-c", 'test -z "$PIP_CONFIG_FILE"'], "it can be seen")
