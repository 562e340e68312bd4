"""The device's own wheel: ``edge``, and of ``edgeemo`` what a device can do.

Made by zipping, without a build tool or the network, and the same bytes for the same files, so
that a second push of the same thing is seen to be the same.
"""

import base64
import hashlib
import io
import zipfile
from importlib import metadata, resources
from pathlib import Path
from typing import Final

from deploy.errors import DeployError
from deploy.release.systemd_files import packaged_file

_DISTRIBUTION: Final = "edgeemo"
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
_WHEEL: Final = "Wheel-Version: 1.0\nGenerator: edgeemo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS: Final = "[console_scripts]\nedgeemo = edgeemo.cli.main:entry\n"
_SKIPPED: Final = frozenset({"__pycache__"})
_WORKSTATION: Final = (
    "edgeemo/analysis/",
    "edgeemo/batch.py",
    "edgeemo/batch_worker.py",
    "edgeemo/cli/analyze.py",
    "edgeemo/cli/convert.py",
    "edgeemo/cli/data.py",
    "edgeemo/cli/deploy.py",
    "edgeemo/cli/evaluate.py",
    "edgeemo/cli/fleet.py",
    "edgeemo/cli/fleet_status.py",
    "edgeemo/cli/log_analysis.py",
    "edgeemo/cli/log_store.py",
    "edgeemo/cli/options.py",
    "edgeemo/cli/runs.py",
    "edgeemo/cli/study.py",
    "edgeemo/cli/train.py",
    "edgeemo/remote_workers.py",
    "edgeemo/workstation.py",
)
"""What needs packages of ours that a device has not got."""
_EXAMPLE: Final = "edgeemo.example.toml"


def build_edge_wheel() -> tuple[str, bytes]:
    """Return file name and content of the wheel.

    Raises:
        DeployError: edgeemo is not installed, so that its version and needs are unknown.
    """
    try:
        about = metadata.distribution(_DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise DeployError("edgeemo is not installed in this Python; `pip install -e .`") from error
    folder = f"{_DISTRIBUTION}-{about.version}.dist-info"
    files = _package_files()
    files[f"{folder}/METADATA"] = _metadata(about)
    files[f"{folder}/WHEEL"] = _WHEEL.encode()
    files[f"{folder}/entry_points.txt"] = _ENTRY_POINTS.encode()
    files[f"{folder}/RECORD"] = _record(files, f"{folder}/RECORD")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _TIMESTAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
    return f"{_DISTRIBUTION}-{about.version}-py3-none-any.whl", buffer.getvalue()


def requirements() -> list[str]:
    """Return what a device needs besides edgeemo itself, as requirement lines."""
    try:
        lines = metadata.requires(_DISTRIBUTION) or []
    except metadata.PackageNotFoundError as error:
        raise DeployError("edgeemo is not installed in this Python; `pip install -e .`") from error
    # A device runs Linux: what only other systems need is left out.
    return sorted(line for line in lines if "extra ==" not in line and "sys_platform" not in line)


def _metadata(about: metadata.Distribution) -> bytes:
    """Name, version and needs; the long description and the extras are of no use there."""
    lines = ["Metadata-Version: 2.1", f"Name: {_DISTRIBUTION}", f"Version: {about.version}"]
    lines += [f"Requires-Dist: {line}" for line in requirements()]
    return ("\n".join(lines) + "\n").encode()


def _package_files() -> dict[str, bytes]:
    files: dict[str, Path] = {}
    for package in ("edge", "edgeemo"):
        top = Path(str(resources.files(package)))
        for path in top.rglob("*"):
            name = f"{package}/{path.relative_to(top).as_posix()}"
            if path.is_file() and not _SKIPPED & set(path.parts):
                files[name] = path
    if units := packaged_file("systemd"):
        # a checkout has it with the units only
        files.setdefault(f"edge/{_EXAMPLE}", units / _EXAMPLE)
    return {
        name: path.read_bytes()
        for name, path in sorted(files.items())
        if not name.startswith(_WORKSTATION)
    }


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return ("\n".join([*lines, f"{own},,"]) + "\n").encode()
