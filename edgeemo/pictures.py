"""Whatever a user has of a picture becomes an upright BGR array."""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, PictureError
from edge.media.pictures import decode_picture, is_meant_as_picture, open_picture

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]
"""A picture: the path of a file, the bytes of one, or its pixels."""

_ARRAY: Final = "array"
_EXPECTED: Final = (
    "expected uint8 (H, W, 3) in BGR, or in RGB with rgb=True, (H, W, 4) or grey (H, W)"
)


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """A picture to look at.

    Attributes:
        image: uint8 ``(H, W, 3)``, BGR, upright.
        file: what it is called: a path as it was given, else ``bytes`` or ``array``.
        name: the name of its file; None where there is none.
        captured_at: when its file was last written, or now.
    """

    image: NDArray[np.uint8]
    file: str
    name: str | None
    captured_at: datetime


def load(picture: Source, *, rgb: bool = False) -> Loaded:
    """Load a picture.

    Raises:
        PictureError: not a picture that can be read, or an array of another form.
        ConfigError: neither a path, bytes nor an array, an address, or ``rgb`` with a file.
    """
    if isinstance(picture, np.ndarray):
        return Loaded(as_bgr(picture, rgb=rgb), _ARRAY, None, _now())
    if not isinstance(picture, str | os.PathLike | bytes | bytearray | memoryview):
        raise ConfigError(
            f"a picture must be a path, bytes or a numpy array, got {type(picture).__name__}; "
            "numpy.asarray(picture) with rgb=True takes a Pillow image"
        )
    if rgb:
        raise ConfigError("rgb=True is for arrays; files say themselves how they are stored")
    if not isinstance(picture, str | os.PathLike):
        return Loaded(decode_picture(bytes(picture), "bytes").image, "bytes", None, _now())
    file = os.fsdecode(picture)
    if "://" in file:
        raise ConfigError(f"{file}: an address, expected a file; download it first")
    path = Path(file).expanduser()
    image = open_picture(path).image
    moment = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return Loaded(image, file, path.name, moment)


def as_bgr(pixels: NDArray[np.generic], *, rgb: bool = False) -> NDArray[np.uint8]:
    """Return pixels as contiguous BGR; what is that already is not copied.

    Args:
        pixels: uint8 ``(H, W, 3)``, ``(H, W, 4)`` whose last channel is left out, or grey
            ``(H, W)`` or ``(H, W, 1)``.
        rgb: the first channel is red.

    Raises:
        PictureError: another shape or dtype, or no pixel at all.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2] if pixels.ndim == 3 else 0
    if pixels.dtype != np.uint8 or channels not in {1, 3, 4} or pixels.size == 0:
        got = f"{pixels.dtype} {pixels.shape}"
        raise PictureError(_ARRAY, f"{got}; {_EXPECTED}")
    colors = np.repeat(pixels, 3, axis=2) if channels == 1 else pixels[:, :, :3]
    return np.ascontiguousarray(colors[:, :, ::-1] if rgb else colors, np.uint8)


def each(pictures: str | os.PathLike[str] | Iterable[Source]) -> Iterator[Source]:
    """Return the pictures of a folder in natural order, or those that were given one by one.

    Raises:
        ConfigError: a path that is no folder, or one picture instead of many.
    """
    if isinstance(pictures, bytes | bytearray | memoryview) or (
        isinstance(pictures, np.ndarray) and pictures.ndim < 4
    ):
        raise ConfigError("one picture, expected many; give a list, or take image()")
    if not isinstance(pictures, str | os.PathLike):
        return iter(pictures)
    from edge.sources.files.image_folder import natural_key

    folder = Path(os.fsdecode(pictures)).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such folder; expected a folder of pictures, or a list of pictures"
        )
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    found.sort(key=lambda path: natural_key(path.name))
    return (path for path in found if is_meant_as_picture(path))


def _now() -> datetime:
    return datetime.now(UTC)
