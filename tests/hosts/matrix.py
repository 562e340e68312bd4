"""Install the wheel with the oldest, the tested and the newest packages on each Python, and use it.

    matrix.py WHEEL FOLDER [--python 3.11]... [--packages oldest|constraints|newest]...

uv finds the oldest: the lower bounds of pyproject.toml, or the first version after them that has a
wheel for that Python. Nothing is built. Each environment does what the README shows (`dist.py`)
and answers the packaged model's golden inputs.
"""

import argparse
import shutil
import subprocess
import sys
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

from dist import run, try_out

TOP = Path(__file__).parents[2]
PACKAGES = {
    "oldest": ["--resolution", "lowest-direct"],
    "constraints": ["--constraint", str(TOP / "constraints.txt")],
    "newest": [],
}
SHOWN = ("numpy", "opencv-python-headless", "ai-edge-litert", "msgspec", "typer", "rich")


def main() -> None:
    """Try what was asked for; print a row of versions each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", action="append")
    parser.add_argument("--packages", action="append", choices=PACKAGES)
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run([sys.executable, "-m", "venv", "uv"], folder)
    run([folder / "uv/bin/pip", "install", "-q", "--disable-pip-version-check", "uv"], folder)
    print("| Python | packages | " + " | ".join(SHOWN) + " |", flush=True)
    print("|---" * (2 + len(SHOWN)) + "|")
    count = 0
    for version in asked.python or ["3.11", "3.12", "3.13"]:
        python = shutil.which(f"python{version}")
        if python is None or subprocess.run([python, "-c", ""], check=False).returncode:
            print(f"python{version} is not here: left out", file=sys.stderr)
            continue
        for packages in asked.packages or PACKAGES:
            row = use(asked.wheel.resolve(), folder / f"{version}-{packages}", python, packages)
            print(f"| {version} | {packages} | " + " | ".join(row) + " |", flush=True)
            count += 1
    if not count:
        sys.exit("no Python was found: nothing was tried")


def use(wheel: Path, folder: Path, python: str, packages: str) -> list[str]:
    """Return the versions of what is shown; ends the program when edgeemo does not work there."""
    folder.mkdir()
    inside = folder / "venv" / "bin" / "python"
    run([python, "-m", "venv", "--without-pip", "venv"], folder)
    uv = [folder.parent / "uv/bin/uv", "pip", "--quiet"]
    run([*uv, "install", "--python", inside, "--only-binary", ":all:", *PACKAGES[packages], wheel,
         *needs(wheel)], folder)  # fmt: skip
    try_out(folder)
    golden = run([inside, TOP / "tests/hosts/golden.py", TOP / "edge/models/default"], folder)
    print(f"{folder.name}: {golden.strip()}", file=sys.stderr)
    frozen = run([*uv, "freeze", "--python", inside], folder).splitlines()
    installed = dict(line.split("==") for line in frozen if "==" in line)
    shutil.rmtree(folder)
    return [installed[name] for name in SHOWN]


def needs(wheel: Path) -> list[str]:
    """Return what the wheel asks for: lowest are only those that are named beside it."""
    with ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        about = HeaderParser().parsestr(archive.read(name).decode())
    return [line for line in about.get_all("Requires-Dist") or [] if "extra ==" not in line]


if __name__ == "__main__":
    main()
