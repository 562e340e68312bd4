"""Ask the package index whether edgeemo and its extras can be installed on macOS and Windows.

    resolve.py WHEEL FOLDER [3.11 3.12 3.13]      prints a table; exit code 1 when something cannot

FOLDER gets an environment with uv, once.

All extras at once, wheels only; nothing is installed or built. uv evaluates markers
(``sys_platform``) for the other machine, and reads a wheel's metadata without downloading it. pip
evaluates them for the machine that it runs on, and downloads gigabytes.
"""

import os
import re
import subprocess
import sys
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from zipfile import ZipFile

MACHINES = {
    "macOS 13 arm64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
LINUX_ONLY = ("tflite-runtime",)
"""Extras that have no wheels there, and need none: LiteRT has."""
LIMIT_S = 600


def resolve(uv: Path, wheel: Path, extras: list[str], machine: str, version: str) -> dict[str, str]:
    """Return the version of every package that would be installed; ends the program without."""
    done = subprocess.run(
        [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:",
         "--python-platform", MACHINES[machine], "--python-version", version, "-"],
        input=f"edgeemo[{','.join(extras)}] @ {wheel.resolve().as_uri()}\n",
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "13.0"},
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{machine}, Python {version}:\n{done.stderr[-2000:]}")
    return dict(line.split("==") for line in done.stdout.split() if "==" in line)


def needs(about: Message, extra: str) -> list[str]:
    """Return the normalised names of what an extra brings, or of what is always there."""
    names = []
    for line in about.get_all("Requires-Dist") or []:
        named = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if (named[1] if named else "") == extra:
            name = re.match(r"[\w.-]+", line)[0]  # type: ignore[index]
            names.append(re.sub(r"[-_.]+", "-", name).lower())
    return list(dict.fromkeys(names))  # of a package that markers tell apart, once


def main(wheel: Path, folder: Path, versions: list[str]) -> None:
    """Print a row for each extra."""
    uv = folder / "bin" / "uv"
    if not uv.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", "uv"], check=True)
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        about = HeaderParser().parsestr(archive.read(name).decode())
    extras = [one for one in about.get_all("Provides-Extra") or [] if one not in LINUX_ONLY]
    found = {machine: [resolve(uv, wheel, extras, machine, version) for version in versions]
             for machine in MACHINES}  # fmt: skip
    print(f"Python {', '.join(versions)}. Where these get different versions, both are named.\n")
    print(f"| extra | {' | '.join(MACHINES)} |\n|---|---|---|")
    for extra in ["", *extras]:
        cells = [", ".join(filter(None, (chosen(name, there) for name in needs(about, extra))))
                 for there in found.values()]  # fmt: skip
        print(f"| {extra or 'none'} | {' | '.join(cells)} |")
    counts = [" / ".join(str(len(one)) for one in there) for there in found.values()]
    print(f"| packages in all | {' | '.join(counts)} |")


def chosen(name: str, there: list[dict[str, str]]) -> str:
    """Return a package and the versions of it that the Pythons of a machine get."""
    versions = dict.fromkeys(packages[name] for packages in there if name in packages)
    return f"{name} {' or '.join(versions)}" if versions else ""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["3.11", "3.12", "3.13"])
