"""Promises about what is loaded: the command must start fast on a small board."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "mediapipe", "duckdb", "pyinfra")
SERVER = ("starlette", "uvicorn", "anyio")
HOST_ONLY = ("host_training", "converters", "deploy")

PROBE = """
import sys
sys.argv = ["edgeemo", *{arguments!r}]
from edgeemo.cli.main import main
code = 0
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
    assert not loaded & {*HEAVY, *HOST_ONLY, *SERVER, "cv2", "ai_edge_litert"}


@pytest.mark.parametrize(
    "command", ["run", "bench", "doctor", "train", "evaluate", "convert", "inspect", "logs", "view"]
)
def test_a_commands_help_loads_nothing_heavy(command):
    """Nor does the help of a command, those of the workstation included."""
    loaded = loaded_by(command, "--help")
    assert not loaded & {*HEAVY, *HOST_ONLY, *SERVER}


def test_run_needs_nothing_of_the_workstation(tmp_path):
    """A run on the demo loads neither a training library nor mediapipe, installed or not."""
    loaded = loaded_by("run", "--source", "demo", "--max-frames", "2", "--log-dir", str(tmp_path))
    assert not loaded & {*HEAVY, *HOST_ONLY, *SERVER, "pydantic"}


def test_a_plain_run_loads_no_more_than_it_needs(tmp_path):
    """Nor what reads other command lines, draws tables, fetches files or writes bundles."""
    loaded = loaded_by("run", "--source", "demo", "--max-frames", "2", "--log-dir", str(tmp_path))
    assert not loaded & {"typer", "rich", "pygments", "click", "subprocess", "tempfile"}
    assert not loaded & {"statistics", "tomllib", "socket", "http", "email", "typing_extensions"}


LEAVING = """
import atexit, sys
from edgeemo.cli.main import entry
atexit.register(print, "torn down")
sys.argv = ["edgeemo", *{arguments!r}]
entry()
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["run", "--source", "/dev/video97"], 1), (["run", "--emit", "no"], 2)],
)
def test_the_process_leaves_with_its_code_and_all_it_said(arguments, code):
    """The command ends without a teardown, yet its exit code and its last words are there."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVING.format(arguments=arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert "edgeemo" in done.stdout + done.stderr
    assert "torn down" not in done.stdout


def test_a_run_collects_garbage_again(tmp_path):
    """Start-up goes without the collector; the frames do not, or months would fill the memory."""
    code = f"""
import gc
from edgeemo.cli.main import main
from edge.service.daemon import Service
inner = Service.run
def run(self, *arguments):
    print("enabled" if gc.isenabled() else "disabled", gc.get_freeze_count() > 10_000)
    return inner(self, *arguments)
Service.run = run
main(["run", "--source", "demo", "--max-frames", "2", "--log-dir", {str(tmp_path)!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("enabled True")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_page_without_its_extra_is_one_clear_line(package, tmp_path):
    """`edgeemo view` on a device that has no server says what to install."""
    code = f"""
import sys
sys.modules[{package!r}] = None  # as if it were not installed
from edgeemo.cli.main import main
main(["view", "--source", "demo", "--log-dir", {str(tmp_path / "logs")!r}])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "pip install 'edgeemo[view]'" in line
    assert not (tmp_path / "logs").exists()
