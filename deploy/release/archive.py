"""A release: every file that a device gets, by its hash; the same files give the same name."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from deploy.facts import Facts
from deploy.release.device_wheel import build_edge_wheel
from edge.contract.bundle import SUMS, open_bundle

_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
_MAIN: Final = "import sys\nfrom device.command import main\n\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a release: where it goes, and its content or where that is."""

    path: str
    sha256: str
    size: int
    source: Path | bytes

    def content(self) -> bytes:
        """Return the bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(frozen=True, slots=True)
class Release:
    """What a device gets.

    Attributes:
        items: the files, by path.
        manifest: their list as JSON; its SHA-256 is the identity of the release.
        agent: SHA-256 of the program that installs it.
        model: name of the model.
    """

    items: tuple[Item, ...]
    manifest: bytes
    agent: str
    model: str

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest."""
        return hashlib.sha256(self.manifest).hexdigest()

    @property
    def name(self) -> str:
        """The name of its folder on the device."""
        return self.digest[:16]


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into releases besides the wheels, whatever the device.

    Attributes:
        bundle: the model.
        assets: pinned files, by name.
        units: files for systemd, by name.
        config: replaces the device's configuration, if given.
    """

    bundle: Path
    assets: Mapping[str, Path]
    units: Mapping[str, Path]
    config: Path | None = None


def build_release(contents: Contents, wheels: list[Path], facts: Facts) -> Release:
    """Put a release together for a device.

    Raises:
        BundleError: the model's bundle is damaged.
        DeployError: edgeemo is not installed here.
    """
    bundle = open_bundle(contents.bundle)
    name, wheel = build_edge_wheel()
    agent = _item("agent.pyz", agent_program())
    items = [agent, _item(f"wheels/{name}", wheel)]
    items += [_item(f"wheels/{path.name}", path) for path in wheels]
    items += [_item(f"model/{file}", contents.bundle / file) for file in (*bundle.sha256, SUMS)]
    items += [_item(f"assets/{file}", path) for file, path in contents.assets.items()]
    items += [_item(f"units/{file}", path) for file, path in contents.units.items()]
    if contents.config is not None:
        items.append(_item("config/edgeemo.toml", contents.config))
    items.sort(key=lambda item: item.path)
    manifest = {
        "schema": 1,
        "version": name.split("-")[1],
        "model": bundle.metadata.name,
        "python": facts.python_version,
        "files": [{"path": item.path, "sha256": item.sha256, "size": item.size} for item in items],
    }
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    return Release(tuple(items), text, agent.sha256, bundle.metadata.name)


def _item(path: str, source: Path | bytes) -> Item:
    if isinstance(source, bytes):
        return Item(path, hashlib.sha256(source).hexdigest(), len(source), source)
    about = source.stat()
    return Item(path, _file_hash(source, about.st_mtime_ns, about.st_size), about.st_size, source)


@lru_cache(maxsize=256)
def _file_hash(path: Path, changed_ns: int, size: int) -> str:  # noqa: ARG001 - of the cache's key
    """Hash a file once for a whole fleet, not anew for every device."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def agent_program() -> bytes:
    """Return the device's program as a zipapp, the same bytes every time."""
    folder = resources.files("deploy.device")
    files = {"__main__.py": _MAIN.encode()}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".py"):
            files[f"device/{entry.name}"] = entry.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIMESTAMP), content)
    return buffer.getvalue()
