"""The same things give the same release, and a device gets nothing of the workstation."""

import ast
import io
import re
import subprocess
import sys
import zipfile

from deploy.release.archive import agent_program
from deploy.release.device_wheel import build_edge_wheel, requirements

HOST = ("host_training", "converters", "deploy", "edgeemo.analysis")
"""What a device has not got."""
OVER_SSH = "edgeemo/cli/view.py"
"""The page of another device goes over ssh: a device asked for it names the workstation."""


def imported(code: bytes) -> set[str]:
    """Return every module that a file imports, wherever in it, but for its annotations."""
    found, nodes = set(), [ast.parse(code)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {str(node.module), *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def test_every_module_of_a_device_finds_what_it_imports():
    """Of edgeemo a device gets what works there: no module needs one that stayed at home."""
    archive = zipfile.ZipFile(io.BytesIO(build_edge_wheel()[1]))
    code = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    there = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in code}
    assert {"edgeemo.__main__", "edgeemo.cli.main", "edgeemo.cli.logs", "edgeemo.cli.view"} <= there
    assert not [name for name in there if name.startswith(HOST)]
    for name, text in code.items():
        names = imported(text)
        assert not [one for one in names if one.startswith(HOST) and name != OVER_SSH], name
        ours = [one for one in names if one.startswith(("edge.", "edgeemo."))]
        assert not [one for one in ours if not {one, one.rpartition(".")[0]} & there], name


def test_the_wheel_is_the_same_twice_and_holds_no_package_of_the_workstation():
    """No date, no order, no cache file gets in; host packages stay at home."""
    name, content = build_edge_wheel()
    assert (name, content) == build_edge_wheel()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert {entry.split("/")[0] for entry in names if ".dist-info" not in entry} == {
        "edge",
        "edgeemo",
    }
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
