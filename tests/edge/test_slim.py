"""edge.slim on an environment made here: small wheels, installed and removed by the real pip."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from edge import slim
from edge.slim import CUTS, HELD, plan, restore

pytestmark = pytest.mark.slow

GONE = {
    "cv2/data/haarcascade_eye.xml": b"<cascade>" * 100,
    "cv2/__init__.pyi": b"x: int\n",
}
KEPT = {
    "cv2/__init__.py": b"",
    "cv2/data/__init__.py": b"haarcascades = ''\n",
    "cv2/haarcascade_notes.txt": b"not in data\n",
}
INFO = "opencv_python_headless-4.11.0.dist-info"


def _pip(python: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """Make an environment with one wheel of the name that the cuts know."""
    wheel = tmp_path / "opencv_python_headless-4.11.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in (GONE | KEPT).items():
            archive.writestr(name, content)
        archive.writestr(
            f"{INFO}/METADATA",
            "Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: 4.11.0\n",
        )
        archive.writestr(
            f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{INFO}/RECORD", "")
    venv.create(tmp_path / "env", with_pip=False)
    interpreter = tmp_path / "env" / "bin" / "python"
    _pip(interpreter, "install", "--no-index", "--quiet", str(wheel))
    return interpreter


@pytest.fixture
def site(python: Path) -> Path:
    return next(python.parents[1].glob("lib/python*/site-packages"))


def _there(site: Path) -> set[str]:
    return {
        path.relative_to(site).as_posix()
        for path in site.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "dist-info" not in path.as_posix()
    }


def test_what_is_named_goes_and_pip_goes_on(python: Path, site: Path) -> None:
    """The named files go, no other; pip finds nothing broken and can remove the rest whole."""
    findings = plan(site, python.parents[1])
    assert sum(finding.size for finding in findings) == sum(map(len, GONE.values()))
    assert slim.slim(site, findings, lambda: True)
    assert _there(site) == set(KEPT)
    assert not (site / HELD).exists()
    assert plan(site, python.parents[1]) == []
    assert "No broken requirements" in _pip(python, "check")
    listed = (site / INFO / "RECORD").read_text("utf-8")
    assert not [name for name in GONE if f"{name}," in listed]
    assert all(f"{name}," in listed for name in KEPT)
    assert "Successfully uninstalled" in _pip(python, "uninstall", "-y", "opencv-python-headless")
    assert _there(site) == set()
    assert not (site / "cv2").exists()


def test_everything_returns_where_something_misses_it(python: Path, site: Path) -> None:
    """Where the check fails, every file is back, and pip's list is as it was."""
    record = (site / INFO / "RECORD").read_bytes()
    seen: list[set[str]] = []

    def is_well() -> bool:
        seen.append({name for name in _there(site) if not name.startswith(HELD)})
        return False

    assert not slim.slim(site, plan(site, python.parents[1]), is_well)
    assert seen == [set(KEPT)]  # it was asked with the files aside
    assert _there(site) == set(GONE | KEPT)
    assert (site / INFO / "RECORD").read_bytes() == record
    assert all((site / name).read_bytes() == content for name, content in GONE.items())


def test_a_check_that_is_interrupted_costs_nothing(python: Path, site: Path) -> None:
    """Ctrl-C while doctor runs brings everything back."""

    def is_well() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        slim.slim(site, plan(site, python.parents[1]), is_well)
    assert _there(site) == set(GONE | KEPT)


DYING = """
import os, sys
from pathlib import Path
from edge.slim import plan, slim
site, prefix = map(Path, sys.argv[1:])
slim(site, plan(site, prefix), lambda: os._exit(9))
"""


def test_a_power_cut_is_repaired_by_the_next_call(python: Path, site: Path) -> None:
    """Files that a process left aside when it died return to their places."""
    command = [sys.executable, "-c", DYING, str(site), str(python.parents[1])]
    assert subprocess.run(command, check=False).returncode == 9
    assert not any((site / name).exists() for name in GONE)
    assert restore(site) == len(GONE)
    assert all((site / name).read_bytes() == content for name, content in GONE.items())
    assert not (site / HELD).exists()


def test_what_lies_outside_the_environment_stays(python: Path, site: Path, tmp_path: Path) -> None:
    """A file that a distribution lists beyond the environment's folder is not touched."""
    outside = tmp_path / "cv2" / "data" / "haarcascade_far.xml"
    outside.parent.mkdir(parents=True)
    outside.write_text("<cascade>")
    record = site / INFO / "RECORD"
    up = Path("../" * (len(site.relative_to(tmp_path).parts)))
    row = f"{up.as_posix()}/cv2/data/haarcascade_far.xml,,\n"
    record.write_text(record.read_text("utf-8") + row, "utf-8")
    files = [path for finding in plan(site, python.parents[1]) for path in finding.files]
    assert {path.relative_to(site).as_posix() for path in files} == set(GONE)


def test_a_python_without_an_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system's own packages are never touched: one line says so, and the code is 2."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert slim.main([]) == 2
    assert "not in a virtual environment" in capsys.readouterr().err


def test_every_cut_has_its_reason_and_names_a_package_of_the_device() -> None:
    """The list is short, explicit and about the device's own packages."""
    device = {"ai-edge-litert", "opencv-python-headless", "numpy", "pygments"}
    assert {cut.distribution for cut in CUTS} == device
    for cut in CUTS:
        assert cut.reason
        assert all(pattern[0] != "*" or pattern.startswith("*/bin/") for pattern in cut.patterns)
