"""Promises about what is loaded: the command must start fast on a small board."""

import json
import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "mediapipe", "duckdb", "pyinfra")
HOST_ONLY = ("host_training", "converters", "deploy")

PROBE = """
import sys
sys.argv = ["edgeemo", *{arguments!r}]
from edge.cli import main
try:
    main()
except SystemExit as stop:
    code = stop.code
import json
print("LOADED " + json.dumps([code or 0, sorted(set(m.partition(".")[0] for m in sys.modules))]))
"""


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(arguments=list(arguments))],
        capture_output=True,
        text=True,
        check=True,
    )
    code, names = json.loads(done.stdout.rpartition("LOADED ")[2])
    assert code == 0, done.stderr
    return set(names)


def test_help_loads_nothing_heavy():
    """`edgeemo --help` lists every command without one heavy library, OpenCV included."""
    loaded = loaded_by("--help")
    assert not loaded & {*HEAVY, *HOST_ONLY, "cv2", "ai_edge_litert"}


@pytest.mark.parametrize("command", ["run", "doctor", "train", "evaluate", "convert", "inspect"])
def test_a_commands_help_loads_nothing_heavy(command):
    """Nor does the help of a command, those of the workstation included."""
    loaded = loaded_by(command, "--help")
    assert not loaded & {*HEAVY, *HOST_ONLY}


def test_run_needs_nothing_of_the_workstation(tmp_path):
    """A run on the demo loads neither a training library nor mediapipe, installed or not."""
    loaded = loaded_by("run", "--source", "demo", "--max-frames", "2", "--log-dir", str(tmp_path))
    assert not loaded & {*HEAVY, *HOST_ONLY, "pydantic"}
