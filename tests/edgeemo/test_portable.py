"""Laptops are Macs and Windows machines, too: what needs nothing of POSIX works without it."""

import subprocess
import sys

import pytest

HIDDEN = ("fcntl", "grp", "pwd", "resource", "termios")
"""Modules that Windows has not."""
SHIM = f"""
import os, signal, socket, sys
import subprocess, tempfile, shutil, multiprocessing  # what is not ours knows its system
import numpy, cv2, msgspec, typer, rich.console
for name in {HIDDEN!r}:
    sys.modules[name] = None
for home, names in (
    (os, ("uname", "geteuid", "getuid", "memfd_create", "sched_getaffinity", "mkfifo", "fork")),
    (signal, ("SIGHUP", "SIGUSR1")),
    (socket, ("AF_UNIX",)),
):
    for name in names:
        if hasattr(home, name):
            delattr(home, name)
"""
"""And what its ``os``, ``signal`` and ``socket`` lack. Taken away before edgeemo is imported."""


def run_without(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{SHIM}\n{code}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


CASES = {
    "a photo": """
import edgeemo
(face,) = edgeemo.Analyzer().image(sys.argv[1])
assert face.label == "happiness"
""",
    "a film": """
import edgeemo
frames = list(edgeemo.Analyzer().video(sys.argv[2], max_frames=4))
assert len(frames) == 4 and frames[-1].faces
""",
    "many pictures into a table": """
import edgeemo, pathlib
out = pathlib.Path(sys.argv[3]) / "all.csv"
assert edgeemo.analyze([sys.argv[1]], out, workers=1).rows == 1
""",
    "the live page's modules": "import edge.view.session, edge.view.access",
    "training's modules": """
import host_training.data.load, host_training.data.prepare, host_training.config
import host_training.runs.directory, edgeemo.workstation
import edgeemo.cli.train, edgeemo.cli.evaluate, edgeemo.cli.convert
""",
    "help": """
from edgeemo.cli.main import main
try:
    main(["--help"])
except SystemExit as stop:
    assert not stop.code
""",
}


@pytest.mark.parametrize("case", CASES)
def test_it_works_without_posix(case, photo, film, tmp_path):
    """No module that only POSIX has is needed for it."""
    done = run_without(CASES[case], str(photo), str(film), str(tmp_path))
    assert done.returncode == 0, done.stderr
