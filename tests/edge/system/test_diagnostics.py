"""What is printed on stderr: our own news, and of libraries what is wrong."""

import subprocess
import sys

import pytest

SCRIPT = """
import logging, sys
from edge.system.diagnostics import set_up_logging
set_up_logging(debug=sys.argv[1] == "debug")
logging.getLogger(sys.argv[2]).log(getattr(logging, sys.argv[3]), "heard")
"""


@pytest.mark.parametrize(
    ("name", "level", "debug", "is_heard"),
    [
        *((f"{ours}.part", "INFO", "", True) for ours in ("edge", "edgeemo", "deploy")),
        *((f"{ours}.part", "INFO", "", True) for ours in ("host_training", "converters")),
        ("edge.part", "DEBUG", "", False),
        ("edge.part", "DEBUG", "debug", True),
        ("fontTools.subset", "INFO", "", False),
        ("fontTools.subset", "WARNING", "", True),
        ("fontTools.subset", "INFO", "debug", True),
        ("edgeless", "INFO", "", False),
    ],
)
def test_libraries_are_heard_from_warnings_on(
    name: str, level: str, debug: str, is_heard: bool
) -> None:
    """Progress of a library, as of fontTools in each PDF, is no news; ours is, and all in debug."""
    command = [sys.executable, "-c", SCRIPT, debug, name, level]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ("heard" in ran.stderr) is is_heard
