"""Count the house: packages, modules and lines, and what a run loads of them, at two commits.

    python benchmarks/house.py [BEFORE [AFTER]]

By default version 0.1 and HEAD. Prints a table in Markdown. A module is a file of Python; the
``__init__.py`` of a package counts as the package. What a run loads is counted in its process, at
its end: ``edgeemo run --source demo --max-frames 3 --log-dir DIR``, from the commit's own files.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections import Counter
from pathlib import Path

BEFORE = "bedd22a"
"""Version 0.1."""
TOP = ("edgeemo", "edge", "host_training", "converters", "deploy")
RUN = """
import os, sys
from importlib import import_module
module, _, name = sys.argv[1].partition(":")
tops = sys.argv[2].split(",")
sys.argv = ["edgeemo", "run", "--source", "demo", "--max-frames", "3", "--log-dir", sys.argv[3]]

def end(code):
    for name, loaded in sys.modules.items():
        if name.partition(".")[0] in tops and getattr(loaded, "__file__", None):
            os.write(2, f"LOADED {loaded.__file__}\\n".encode())
    leave(code)

leave, os._exit = os._exit, end
getattr(import_module(module), name)()
os._exit(0)
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", nargs="?", default=BEFORE)
    parser.add_argument("after", nargs="?", default="HEAD")
    options = parser.parse_args()
    before, after = (counted(commit) for commit in (options.before, options.after))
    print(f"| | {options.before} | {options.after} |\n|---|---|---|")
    for row in dict.fromkeys((*before, *after)):
        print(f"| {row} | {before[row]:,} | {after[row]:,} |")


def counted(commit: str) -> Counter[str]:
    """Return the rows of one commit."""
    rows: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        content = subprocess.run(["git", "archive", commit], capture_output=True, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(root, filter="data")
        for top in TOP:
            count(rows, top, list((root / top).rglob("*.py")))
        total = [path for top in TOP for path in (root / top).rglob("*.py")]
        count(rows, "all", total)
        rows["edge: packages and modules at its top"] = sum(
            path.suffix == ".py" or (path / "__init__.py").is_file()
            for path in (root / "edge").iterdir()
        )
        count(rows, "a run loads", loaded(root))
    return rows


def count(rows: Counter[str], name: str, paths: list[Path]) -> None:
    """Add the rows of some files."""
    packages = [path for path in paths if path.name == "__init__.py"]
    rows[f"{name}: packages"] = len(packages)
    rows[f"{name}: modules"] = len(paths) - len(packages)
    rows[f"{name}: lines"] = sum(path.read_text("utf-8").count("\n") for path in paths)


def loaded(root: Path) -> list[Path]:
    """Return the files that a run loads."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    words = [settings["project"]["scripts"]["edgeemo"], ",".join(TOP), str(root / "log")]
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = ran.stderr.splitlines()
    return [Path(line[7:]) for line in lines if line.startswith("LOADED ")]


if __name__ == "__main__":
    main()
