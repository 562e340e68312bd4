"""The files beside the code: in a checkout, in the wheel, and in what devices get."""

import tomllib
from pathlib import Path

import pytest

from deploy.release.systemd_files import packaged_file
from edgeemo.cli.deploy import gather_contents

CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["systemd", "constraints.txt"])
def test_what_a_push_needs_is_found_here_and_goes_into_the_wheel(name):
    """A checkout has it at its top, a wheel in the package, as pyproject.toml says."""
    assert packaged_file(name) == CHECKOUT / name
    build = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"][name] == f"deploy/{name}"


def test_the_wheels_own_files_come_first(tmp_path, monkeypatch):
    """An installed edgeemo brings what it was released with, whatever lies beside it."""
    (tmp_path / "deploy" / "systemd").mkdir(parents=True)
    (tmp_path / "systemd").mkdir()
    monkeypatch.setattr("importlib.resources.files", lambda _: tmp_path / "deploy")
    assert packaged_file("systemd") == tmp_path / "deploy" / "systemd"
    assert packaged_file("nothing") is None


def test_a_release_has_every_file_for_systemd():
    """Those in subfolders, too, under their own names: two of them are called the same."""
    units = gather_contents(None, None, None, with_service=True).units
    folder = CHECKOUT / "systemd"
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert set(units) == there
    assert {"edgeemo.service", "sysusers.d/edgeemo.conf", "tmpfiles.d/edgeemo.conf"} <= there
