"""What is tracked is what is packaged."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_no_tracked_file_is_ignored():
    """A pattern in .gitignore that fits a package keeps it out of the wheel, without a word."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    asked = ["git", "-C", str(ROOT), "ls-files", "-ci", "--exclude-standard"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == ""
