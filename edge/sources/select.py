"""From what a user calls a source to the source.

Each adapter is imported where it is opened: a run has one source, and a Pi starts sooner without
the others.
"""

import logging
import re
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from edge.config import SourceConfig
from edge.errors import CameraError, ConfigError, not_there
from edge.protocols import FrameSource

if TYPE_CHECKING:
    from datetime import datetime

    from edge.sources.cameras.picamera import RibbonCameraOpener

_log = logging.getLogger(__name__)

Kind = Literal["auto", "camera", "picamera", "stream", "file", "pictures", "demo"]

LIVE: Final = frozenset[Kind]({"auto", "camera", "picamera", "stream"})
"""Kinds whose frames come when they come; the others are as fast as they are read."""

_LIVE_DEMO: Final = "demo:live"
_MOODS_DEMO: Final = "demo:moods"
_EVENTS_DEMO: Final = "demo:events"
_WORDS: Final[dict[str, Kind]] = {
    "demo": "demo",
    _MOODS_DEMO: "demo",
    _EVENTS_DEMO: "demo",
    _LIVE_DEMO: "demo",
    "picamera": "picamera",
    "auto": "auto",
}
_SCHEMES: Final = ("rtsp", "rtsps", "http", "https")
_EXPECTED: Final = (
    "a camera's index (0) or path (/dev/v4l/by-id/...), picamera, auto, a video file, a picture or "
    "a folder of pictures, an rtsp:// or http:// address, demo, demo:moods (the face changes its "
    "expression), demo:events (it blinks, smiles and nods), or demo:live (moods, endless and in "
    "real time)"
)


def source_kind(spec: str) -> Kind:
    """Tell what ``spec`` names, without opening it.

    Raises:
        ConfigError: nothing that edgeemo knows.
        CameraError: it looks like a path, and there is nothing.
    """
    if spec in _WORDS:
        return _WORDS[spec]
    if re.fullmatch(r"[0-9]+", spec):
        return "camera"
    if "://" in spec:
        return _stream_kind(spec)
    try:
        return _path_kind(spec, _path(spec))
    except OSError as error:
        raise CameraError(f"{spec}: cannot be looked up ({error.strerror})") from error


def begin_source(config: SourceConfig) -> "RibbonCameraOpener | None":
    """Begin what takes long of opening a source, if anything does, while there is other work.

    Returns:
        What ``open_source`` takes, to be closed after it, or instead of it.
    """
    if sys.platform != "linux" or source_kind(config.spec) not in {"auto", "picamera"}:
        return None
    opener = _ribbon_camera(config)
    opener.begin()
    return opener


def open_source(
    config: SourceConfig,
    begun: "RibbonCameraOpener | None" = None,
    *,
    is_managed: bool = False,
) -> FrameSource:
    """Open the configured source; live ones give their newest frame.

    Args:
        config: which one, and what is asked of it.
        begun: what ``begin_source`` has begun of it.
        is_managed: a service manager started us; see ``is_reconnecting``.

    Raises:
        ConfigError: nothing that edgeemo knows.
        CameraError: it cannot be opened.
        AssetError: the demo's photo cannot be had.
    """
    kind = source_kind(config.spec)
    if kind in LIVE:
        reconnect = is_reconnecting(config, is_managed=is_managed)
        return _open_live(kind, config, begun, reconnect=reconnect)
    if config.spec == _LIVE_DEMO:
        return _open_live_demo(config)
    return _recorded(_open_recording(kind, config), config)


def is_reconnecting(config: SourceConfig, *, is_managed: bool) -> bool:
    """Tell whether a lost camera is tried again; ``auto``: when a service manager started us."""
    return config.reconnect == "always" or (config.reconnect == "auto" and is_managed)


def _size_hw(config: SourceConfig) -> tuple[int, int]:
    return config.height, config.width


def _recorded(source: FrameSource, config: SourceConfig) -> FrameSource:
    recording = _with_frame_skip(source, config)
    if not config.realtime:
        return recording
    from edge.sources.wrappers.newest_frame import LatestFrame
    from edge.sources.wrappers.real_time import Paced

    return LatestFrame(Paced(recording))


def _open_live_demo(config: SourceConfig) -> FrameSource:
    from edge.sources.demo.live import DemoCamera
    from edge.sources.demo.source import DemoSource
    from edge.sources.wrappers.newest_frame import LatestFrame

    camera = DemoCamera(DemoSource(size_hw=_size_hw(config), moods=True))
    return LatestFrame(camera, every_n=config.every_n)


def _open_recording(kind: Kind, config: SourceConfig) -> FrameSource:
    if config.spec == _EVENTS_DEMO:
        from edge.sources.demo.events import EventsDemo

        return EventsDemo(size_hw=_size_hw(config))
    if kind == "demo":
        from edge.sources.demo.source import DemoSource

        return DemoSource(size_hw=_size_hw(config), moods=config.spec == _MOODS_DEMO)
    if kind == "pictures":
        from edge.sources.files.image_folder import ReplaySource

        return ReplaySource(_path(config.spec), config.image_fps)
    return open_film(_path(config.spec))


def open_film(path: Path, shown: str = "", recorded: "datetime | None" = None) -> FrameSource:
    """Open a film with the best decoder that there is.

    Args:
        path: the file.
        shown: what it is called in messages; by default as ``path``.
        recorded: when it was; by default when the file was last changed.

    Raises:
        CameraError: it is no film, or not one frame of it can be decoded.
    """
    if has_av():
        from edge.sources.files.av_film import AvFilm

        return AvFilm(path, shown, recorded)
    from edge.sources.files.opencv_film import OpenCvFilm

    return OpenCvFilm(path, shown, recorded)


def _open_live(
    kind: Kind, config: SourceConfig, begun: "RibbonCameraOpener | None", *, reconnect: bool
) -> FrameSource:
    from edge.sources.wrappers.newest_frame import LatestFrame

    camera: FrameSource
    if kind == "stream" and not reconnect:
        stream, is_live = _open_stream(config.spec)
        if not is_live:
            return _recorded(stream, config)
        camera = _watched(_turned(stream, config), config)
        return LatestFrame(camera, every_n=config.every_n)
    opener = _opener(kind, config.spec, config, begun)
    if reconnect:
        from edge.sources.wrappers.reconnect import ReconnectingSource

        camera = ReconnectingSource(opener, config)
    else:
        camera = _watched(opener(), config)
    return LatestFrame(camera, every_n=config.every_n)


def _watched(source: FrameSource, config: SourceConfig) -> FrameSource:
    from edge.sources.wrappers.frame_health import WatchedSource

    return WatchedSource(source, config)


def _with_frame_skip(source: FrameSource, config: SourceConfig) -> FrameSource:
    if config.every_n == 1:
        return source
    from edge.sources.wrappers.frame_skip import EveryNth

    return EveryNth(source, config.every_n)


def _opener(
    kind: Kind, spec: str, config: SourceConfig, begun: "RibbonCameraOpener | None" = None
) -> Callable[[], FrameSource]:
    """Return what opens a live source, as often as needed."""
    if kind == "auto":
        return (
            _FirstCamera(config, begun)
            if sys.platform == "linux"
            else _opener("camera", "0", config)
        )
    if kind == "picamera":
        return begun or _ribbon_camera(config)
    if kind == "stream":
        return lambda: _turned(_open_stream(spec)[0], config)
    if sys.platform != "linux":
        return lambda: _turned(_open_webcam(spec, config), config)
    from edge.sources.cameras.identity import FollowedCamera

    node = Path(f"/dev/video{spec}") if spec.isdecimal() else _path(spec)
    return FollowedCamera(node, lambda at: _turned(_open_node(at, config), config))


def _ribbon_camera(config: SourceConfig) -> "RibbonCameraOpener":
    if sys.platform != "linux":
        raise CameraError("picamera: only a Raspberry Pi has one; expected a webcam, --source 0")
    from edge.sources.cameras.picamera import PiCameraView, RibbonCameraOpener
    from edge.sources.files.upright import Turn

    turn = Turn.of_camera(config.rotation, config.flip)
    view = PiCameraView(config.field_of_view, turn, config.focus_m)
    return RibbonCameraOpener(_size_hw(config), config.fps, view)


def _turned(source: FrameSource, config: SourceConfig) -> FrameSource:
    if config.rotation == 0 and config.flip == "none":
        return source
    from edge.sources.files.upright import Turn
    from edge.sources.wrappers.turned import Turned

    return Turned(source, Turn.of_camera(config.rotation, config.flip))


def _open_stream(url: str) -> tuple[FrameSource, bool]:
    """Open what is at an address with the best decoder that there is; tell whether it is live."""
    if url.lower().startswith("http"):
        from edge.sources.cameras.web import open_web

        if (web := open_web(url)) is not None:
            return web
    if has_av():
        from edge.sources.files.av_film import AvStream

        return AvStream(url), True
    if sys.platform == "win32":  # where the process that may crash cannot be listened to
        raise CameraError("a stream needs PyAV on Windows; install the extra edgeemo[video]")
    from edge.sources.cameras.contained import ContainedStream

    return ContainedStream(url), True


def has_av() -> bool:
    """Tell whether PyAV is installed: the extra ``edgeemo[video]``."""
    return find_spec("av") is not None


def _open_node(node: Path, config: SourceConfig) -> FrameSource:
    from edge.sources.cameras.opencv import OpenCvCamera

    size_hw = _size_hw(config)[::-1] if config.rotation % 180 else _size_hw(config)
    return OpenCvCamera(str(node), size_hw, config.fps)


def _open_webcam(spec: str, config: SourceConfig) -> FrameSource:
    """Open a camera where there is no V4L2: by its number, which is all that OpenCV tells."""
    if not spec.isdecimal():
        raise CameraError(f"{spec}: cameras are named on Linux only; expected a number, --source 0")
    from edge.sources.cameras.webcam import Webcam

    return Webcam(int(spec), _size_hw(config), config.fps)


class _FirstCamera:
    """Opens the CSI camera or, without one, the first V4L2 camera; then always the same one."""

    def __init__(self, config: SourceConfig, begun: "RibbonCameraOpener | None") -> None:
        self._config = config
        self._begun = begun
        self._chosen: Callable[[], FrameSource] | None = None

    def __call__(self) -> FrameSource:
        if self._chosen is not None:
            return self._chosen()
        opener, source = self._first()
        self._chosen = opener
        return source

    def _first(self) -> tuple[Callable[[], FrameSource], FrameSource]:
        from edge.sources.cameras.identity import first_camera
        from edge.sources.cameras.ribbon import NoRibbonCameraError

        ribbon = _opener("picamera", "picamera", self._config, self._begun)
        node = first_camera()
        try:
            return ribbon, ribbon()
        except NoRibbonCameraError as error:
            if node is None:
                raise CameraError(
                    f"auto: no camera found, neither CSI ({error}) nor V4L2 (/dev/video*); plug "
                    "one in, or try `--source demo`"
                ) from error
            if error.why == "broken":
                _log.warning(
                    "auto: using %s, for the ribbon camera is out of reach: %s", node, error
                )
        opener = _opener("camera", str(node), self._config)
        return opener, opener()


def _stream_kind(spec: str) -> Kind:
    from urllib.parse import urlsplit

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
        from edge.media.pictures import is_film, is_meant_as_picture

        return "pictures" if is_meant_as_picture(path) and not is_film(path) else "file"
    if "/" in spec or path.suffix:
        raise not_there(CameraError(f"{spec}: no such file or folder; expected {_EXPECTED}"))
    raise ConfigError(f"unknown source {spec!r}; expected {_EXPECTED}")
