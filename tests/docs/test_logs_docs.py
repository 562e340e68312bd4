"""The commands about the log that documents show are run here, as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENTS = ("README.md", "docs/logs.md")
TARGET = re.compile(r"^[a-z]+@[\w.-]+$")


def shown(document: str) -> list[str]:
    """Return the lines about logs in a document, without what goes on for ever."""
    text = Path(document).read_text("utf-8")
    console = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^\$ edgeemo (logs .*?)\s*(?:#.*)?$", console, re.MULTILINE)
    return [line for line in lines if "-f" not in line.split()]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeemo", *words]
    here = {"PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    return subprocess.run(
        command, cwd=folder, env=here, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log of a run on the demo, and an inventory."""
    folder = tmp_path_factory.mktemp("docs")
    done = run(["run", "--source", "demo", "--max-frames", "40"], folder)
    assert done.returncode == 0, done.stderr
    (folder / "lab.txt").write_text("@local\n")
    return folder


def adapted(line: str, folder: Path) -> list[str]:
    """Let this machine stand for the devices that a line names."""
    words = [word for word in shlex.split(line) if not TARGET.match(word)]
    if words[1] != "collect":
        return words
    target = [] if "--inventory" in words else ["@local"]
    return [*words, *target, "--log-dir", str(folder / "edgeemo-logs")]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_that_are_shown_work(document, folder):
    """Each one of them, in the order of the page, writes the file that it names."""
    lines = shown(document)
    assert len(lines) >= 5
    for line in lines:
        words = adapted(line, folder)
        done = run(words, folder)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        for option in ("-o", "--json", "--out"):
            if option in words:
                assert (folder / words[words.index(option) + 1]).exists(), line
