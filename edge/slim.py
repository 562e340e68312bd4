"""Take out of a device's virtual environment what the device never loads.

    python -m edge.slim [--dry-run]

Wheels are made for every use: LiteRT's brings a GPU library and compilers for neural processors,
OpenCV's old face detectors, NumPy's its tests. ``CUTS`` names what goes, each with the reason.
Nothing is lost for good: `pip install --force-reinstall` of a package brings its files back.

What goes is first moved aside. `edgeemo doctor` must then find all well that it found well before,
else everything returns to its place; so it does when this is interrupted, or, after a power cut, at
the next call. pip's own list of a package's files (RECORD) is kept true, so that `pip uninstall`
and `pip check` go on as ever.
"""

import argparse
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from importlib import metadata, util
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import ConfigError, EdgeEmoError

HELD: Final = ".edgeemo-slim"
"""The folder in site-packages where files wait for the verdict."""
_WORKSTATION: Final = ("tensorflow", "keras")


class Cut(msgspec.Struct, frozen=True):
    """What goes of one distribution.

    Attributes:
        distribution: its name, as pip knows it.
        patterns: paths as in its RECORD; ``*`` stands for slashes, too.
        reason: why a device can do without.
        kept: patterns of what stays nevertheless.
    """

    distribution: str
    patterns: tuple[str, ...]
    reason: str
    kept: tuple[str, ...] = ()


CUTS: Final = (
    Cut(
        "ai-edge-litert",
        ("ai_edge_litert/libLiteRtWebGpuAccelerator.so",),
        "runs models on a GPU; edgeemo's run on the CPU",
    ),
    Cut(
        "ai-edge-litert",
        ("ai_edge_litert/libLiteRt.so",),
        "the compiled-model API; the interpreter is in another library, and LiteRT loads this one "
        "only where it is",
    ),
    Cut(
        "ai-edge-litert",
        ("ai_edge_litert/vendors/*", "ai_edge_litert/tools/*", "ai_edge_litert/aot/*"),
        "compilers for neural processors, and tools around them",
    ),
    Cut(
        "ai-edge-litert",
        ("ai_edge_litert/*schema_py_generated*", "ai_edge_litert/*_pb2*"),
        "writing and taking apart models, which the workstation does",
    ),
    Cut(
        "opencv-python-headless",
        ("cv2/data/haarcascade_*.xml",),
        "detectors of 2001; faces are found by BlazeFace",
    ),
    Cut("opencv-python-headless", ("cv2/*.pyi",), "types for editors"),
    Cut("numpy", ("numpy/*/tests/*", "numpy/tests/*", "numpy/_core/_simd.*"), "NumPy's own tests"),
    Cut(
        "numpy",
        (
            "numpy/f2py/*",
            "*/bin/f2py",
            "numpy/distutils/*",
            "numpy/_core/include/*",
            "numpy/_core/lib/*",
            "numpy/random/lib/*",
            "*/bin/numpy-config",
        ),
        "for building extensions in Fortran and C",
    ),
    Cut("numpy", ("numpy/*.pyi", "numpy/*.pxd"), "types for editors and for Cython"),
    Cut(
        "pygments",
        ("pygments/lexers/*",),
        "colours for the source code of 500 languages; rich asks for Python, pytest for diff",
        kept=(
            "pygments/lexers/*__init__.*",
            "pygments/lexers/*_mapping.*",
            "pygments/lexers/*python.*",
            "pygments/lexers/*special.*",
            "pygments/lexers/*diff.*",
        ),
    ),
)


class Finding(msgspec.Struct, frozen=True):
    """The files of one cut that are there, and their size."""

    cut: Cut
    files: tuple[Path, ...]
    size: int


def plan(site: Path, prefix: Path) -> list[Finding]:
    """Find what can go.

    Args:
        site: site-packages of the environment; distributions elsewhere are left alone.
        prefix: the environment; files of its distributions outside it are left alone.
    """
    findings: list[Finding] = []
    taken: set[Path] = set()
    for cut in CUTS:
        files = tuple(path for path in _files(cut, site, prefix) if path not in taken)
        taken.update(files)
        if files:
            findings.append(Finding(cut, files, sum(path.stat().st_size for path in files)))
    return findings


def slim(site: Path, findings: Sequence[Finding], is_well: Callable[[], bool]) -> bool:
    """Remove what was found, unless something turns out to miss it.

    Args:
        site: site-packages of the environment.
        findings: what ``plan`` found there.
        is_well: tells, with the files aside, whether all works that did.

    Returns:
        False where it did not, and everything is back.
    """
    files = [path for finding in findings for path in finding.files]
    done = False
    try:
        for path in files:
            held = _held(site, path)
            held.parent.mkdir(parents=True, exist_ok=True)
            path.rename(held)
        done = is_well()
        if done:
            for name in {finding.cut.distribution for finding in findings}:
                _update_record(site, name, frozenset(files))
    finally:
        if not done:
            restore(site)
    _discard(site, files)
    return done


def restore(site: Path) -> int:
    """Bring back what an interrupted call has moved aside; return how many files."""
    root = site / HELD
    held = [path for path in root.rglob("*") if not path.is_dir()]
    for path in held:
        original = site / os.fsdecode(bytes.fromhex(path.parent.name)) / path.name
        original.parent.mkdir(parents=True, exist_ok=True)
        path.rename(original)
    shutil.rmtree(root, ignore_errors=True)
    return len(held)


def _files(cut: Cut, site: Path, prefix: Path) -> Iterator[Path]:
    for distribution in metadata.distributions(name=cut.distribution, path=[str(site)]):
        for entry in distribution.files or ():
            name = entry.as_posix()
            if any(fnmatchcase(name, pattern) for pattern in cut.kept):
                continue
            path = Path(os.path.normpath(site / name))
            is_wanted = any(fnmatchcase(name, pattern) for pattern in cut.patterns)
            if is_wanted and path.is_relative_to(prefix) and path.is_file():
                yield path


def _held(site: Path, path: Path) -> Path:
    """Return where a file waits: in one level of folders, named by the one that it comes from."""
    folder = os.path.relpath(path.parent, site)
    return site / HELD / os.fsencode(folder).hex() / path.name


def _discard(site: Path, files: Sequence[Path]) -> None:
    shutil.rmtree(site / HELD, ignore_errors=True)
    for folder in sorted({path.parent for path in files}, key=lambda path: -len(path.parts)):
        while folder.is_dir() and folder != site and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent  # noqa: PLW2901 - upwards while there is nothing


def _update_record(site: Path, name: str, gone: frozenset[Path]) -> None:
    """Strike the files that are gone off pip's list, in one step."""
    for distribution in metadata.distributions(name=name, path=[str(site)]):
        for entry in distribution.files or ():
            if entry.name != "RECORD" or not entry.parent.name.endswith(".dist-info"):
                continue
            record = site / entry
            rows = csv.reader(io.StringIO(record.read_text("utf-8")))
            left = [row for row in rows if Path(os.path.normpath(site / row[0])) not in gone]
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(left)
            temporary = record.with_name("RECORD.edgeemo")
            temporary.write_text(text.getvalue(), "utf-8")
            temporary.replace(record)


def _failures() -> set[str]:
    """Return what `edgeemo doctor` finds broken, asked in a process of its own."""
    command = [sys.executable, "-m", "edgeemo", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return {check["name"] for check in json.loads(done.stdout) if check["status"] == "failure"}
    except (ValueError, KeyError, TypeError):
        return {"edgeemo doctor"}


def _check_environment() -> tuple[Path, Path]:
    """Return site-packages and the environment's folder.

    Raises:
        ConfigError: this is not a device's virtual environment.
    """
    if sys.prefix == sys.base_prefix:
        raise ConfigError(
            f"{sys.executable} is not in a virtual environment, and the system's own packages are "
            "left alone; expected the python of the environment that edgeemo is in"
        )
    for name in _WORKSTATION:
        if util.find_spec(name) is not None:
            raise ConfigError(
                f"{sys.prefix}: {name} is installed: a workstation, which uses what would go; "
                "slim the environment of a device"
            )
    return Path(sysconfig.get_path("platlib")), Path(sys.prefix)


def _run(*, dry_run: bool) -> str:
    site, prefix = _check_environment()
    returned = restore(site)
    if returned:
        print(f"{returned} files of an interrupted call are back")  # noqa: T201
    findings = plan(site, prefix)
    for finding in findings:
        line = f"{finding.size / 1e6:7.1f} MB  {finding.cut.distribution}: {finding.cut.reason}"
        print(line)  # noqa: T201
    total = f"{sum(finding.size for finding in findings) / 1e6:.1f} MB"
    if dry_run or not findings:
        return f"{total} could be saved in {prefix}"
    before = _failures()
    if not slim(site, findings, lambda: _failures() <= before):
        raise EdgeEmoError(
            "edgeemo doctor finds something broken without these files: all are back in place; "
            "update edgeemo, which may know these versions better"
        )
    return f"{total} saved in {prefix}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m edge.slim",
        description="Take out of this virtual environment what a device never loads.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")
    options = parser.parse_args(arguments)
    try:
        print(_run(dry_run=options.dry_run))  # noqa: T201
    except EdgeEmoError as error:
        print(f"edge.slim: error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"edge.slim: error: {error}; nothing was removed", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
