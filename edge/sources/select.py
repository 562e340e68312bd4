"""From what a user calls a source to the source."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edge.errors import CameraError, ConfigError
from edge.protocols import FrameSource
from edge.sources.demo import DEMO_FRAMES, DemoSource
from edge.sources.latest import LatestFrame
from edge.sources.opencv import OpenCvCamera, OpenCvFile, OpenCvStream
from edge.sources.replay import SUFFIXES, ReplaySource

Kind = Literal["camera", "stream", "file", "pictures", "demo"]

LIVE: Final = frozenset[Kind]({"camera", "stream"})
"""Kinds whose frames come when they come; the others are as fast as they are read."""

_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_EXPECTED: Final = (
    "a camera's index (0) or path (/dev/v4l/by-id/...), a video file, a picture or a folder of "
    "pictures, an rtsp:// or http:// address, or demo"
)


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What is asked of a source beside its name.

    Attributes:
        size_hw: wanted of a camera, in pixels; the demo's own size.
        fps: wanted of a camera, in frames per second; the demo keeps its own.
        image_fps: a folder's pictures are a sequence at this rate; None, each stands alone.
        endless: the demo repeats until it is closed.
    """

    size_hw: tuple[int, int] = (480, 640)
    fps: float = 30.0
    image_fps: float | None = None
    endless: bool = False


def source_kind(spec: str) -> Kind:
    """Tell what ``spec`` names, without opening it.

    Raises:
        ConfigError: nothing that edgeemo knows.
        CameraError: it looks like a path, and there is nothing.
    """
    if spec == "demo":
        return "demo"
    if re.fullmatch(r"[0-9]+", spec):
        return "camera"
    if "://" in spec:
        return _stream_kind(spec)
    try:
        return _path_kind(spec, _path(spec))
    except OSError as error:
        raise CameraError(f"{spec}: can not be looked up ({error.strerror})") from error


def open_source(spec: str, options: SourceOptions | None = None) -> FrameSource:
    """Open the source that ``spec`` names; live ones give their newest frame.

    Raises:
        ConfigError: nothing that edgeemo knows.
        CameraError: it can not be opened.
        AssetError: the demo's photo can not be had.
    """
    options = options or SourceOptions()
    kind = source_kind(spec)
    if kind == "demo":
        frames = sys.maxsize if options.endless else DEMO_FRAMES
        return DemoSource(frames, size_hw=options.size_hw)
    path = _path(spec)
    if kind == "pictures":
        return ReplaySource(path, options.image_fps)
    if kind == "file":
        return OpenCvFile(path)
    if kind == "stream":
        return LatestFrame(OpenCvStream(spec))
    device = int(spec) if spec.isdecimal() else str(path)
    return LatestFrame(OpenCvCamera(device, options.size_hw, options.fps))


def _stream_kind(spec: str) -> Kind:
    scheme = spec.partition("://")[0].lower()
    if scheme not in _SCHEMES:
        raise ConfigError(f"unknown source {scheme}://...; expected {_EXPECTED}")
    try:
        host = urlsplit(spec).hostname
    except ValueError:
        host = None
    if not host:
        raise ConfigError(f"{scheme}://: an address without a host; expected {scheme}://HOST/PATH")
    return "stream"


def _path(spec: str) -> Path:
    try:
        return Path(spec).expanduser()
    except RuntimeError:  # "~nobody": there is no such user
        return Path(spec)


def _path_kind(spec: str, path: Path) -> Kind:
    if path.is_char_device() or (spec.startswith("/dev/") and not path.exists()):
        return "camera"
    if spec and path.is_dir():
        return "pictures"
    if spec and path.exists():
        return "pictures" if path.suffix.lower() in SUFFIXES else "file"
    if "/" in spec or path.suffix:
        raise CameraError(f"{spec}: no such file or folder; expected {_EXPECTED}")
    raise ConfigError(f"unknown source {spec!r}; expected {_EXPECTED}")
