"""Ask pip whether edgeemo and all of its extras can be installed on machines that are not here.

    resolve.py WHEEL [3.11 3.13]      prints a table; exit code 1 when something cannot

Nothing is installed and nothing built: ``pip install --dry-run --only-binary=:all: --report``, all
extras at once. pip reads a requirement's markers (``sys_platform``) by the machine that it runs on,
whatever ``--platform`` says; so they are made those of the other machine here. Indexes without
metadata of wheels have them downloaded: two gigabytes.
"""

import json
import re
import subprocess
import sys
import tempfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile


class Machine(NamedTuple):
    """A kind of machine: its name, pip's tag, and what its Python says of itself."""

    name: str
    tag: str
    markers: dict[str, str]


_MAC = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}
_WINDOWS = {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"}
MACHINES = (
    Machine("macOS 13 arm64", "macosx_13_0_arm64", {**_MAC, "os_name": "posix"}),
    Machine("Windows x86-64", "win_amd64", {**_WINDOWS, "os_name": "nt"}),
)
LINUX_ONLY = ("tflite-runtime",)
"""Extras that have no wheels there, and need none: LiteRT has."""
PIP = """
import json, sys
from pip._vendor.packaging import markers
usual, other = markers.default_environment, json.loads(sys.argv.pop(1))
markers.default_environment = lambda: usual() | other
from pip._internal.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def resolve(wheel: Path, extras: list[str], machine: Machine, version: str) -> dict[str, str]:
    """Return the version of every package that would be installed; ends the program without."""
    markers = machine.markers | {"python_version": version, "python_full_version": f"{version}.9"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable, "-c", PIP, json.dumps(markers), "install", "--dry-run", "--quiet",
            "--ignore-installed", "--disable-pip-version-check", "--only-binary=:all:",
            "--python-version", version, "--implementation", "cp", f"--platform={machine.tag}",
            "--target", folder, "--report", str(report), f"{wheel}[{','.join(extras)}]",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{machine.name}, Python {version}:\n{done.stderr[-2000:]}")
        found = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    return {canonical(one["name"]): one["version"] for one in found}


def canonical(name: str) -> str:
    """Return a package's name as the index has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needs(about: Message, extra: str) -> list[str]:
    """Return the names of what an extra brings, or of what is always there."""
    names = []
    for line in about.get_all("Requires-Dist") or []:
        named = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if (named[1] if named else "") == extra:
            names.append(canonical(re.match(r"[\w.-]+", line)[0]))  # type: ignore[index]
    return names


def main(wheel: Path, versions: list[str]) -> None:
    """Print a row for each extra."""
    with ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        about = HeaderParser().parsestr(archive.read(name).decode())
    extras = [one for one in about.get_all("Provides-Extra") or [] if one not in LINUX_ONLY]
    columns = [(machine, version) for machine in MACHINES for version in versions]
    found = [resolve(wheel.resolve(), extras, *column) for column in columns]
    print("| extra | " + " | ".join(f"{machine.name}, {version}" for machine, version in columns))
    print("|---" * (1 + len(columns)) + "|")
    for extra in ["", *extras]:
        cells = [", ".join(f"{name} {there[name]}" for name in needs(about, extra) if name in there)
                 for there in found]  # fmt: skip
        print(f"| {extra or 'none'} | " + " | ".join(cells) + " |")
    print("| packages in all | " + " | ".join(str(len(there)) for there in found) + " |")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["3.11", "3.13"])
