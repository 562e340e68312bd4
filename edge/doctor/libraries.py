"""Libraries that come from elsewhere: OpenCV's wheels, graphics."""

import ctypes
from importlib import metadata
from typing import Final

from edge.config import Config
from edge.doctor.report import Check

_OPENCV_WHEELS: Final = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
GRAPHICS: Final = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
"""What mediapipe's library is linked with, and Debian's package of it."""


def opencv() -> Check:
    """Tell which OpenCV there is; two wheels overwrite each other's files."""
    wheels = [name for name in _OPENCV_WHEELS if is_installed(name)]
    headless = "then `pip install opencv-python-headless`"
    remove = f"`pip uninstall -y {' '.join(wheels)}`"
    try:
        import cv2
    except ImportError as error:  # the one with windows lacks libGL on a system without a desktop
        return Check("OpenCV", "failure", f"{', '.join(wheels)}: {error}", f"{remove}, {headless}")
    windows = "without windows" if _is_headless(cv2.getBuildInformation()) else "with windows"
    detail = f"{cv2.__version__} ({', '.join(wheels) or 'not from a wheel'}), {windows}"
    if len(wheels) > 1:
        remedy = f"these wheels overwrite each other's cv2: {remove}, {headless}"
        return Check("OpenCV", "warning", detail, remedy)
    return Check("OpenCV", "ok", detail)


def graphics(config: Config) -> Check:
    """Tell whether the libraries are there that mediapipe, and only it, needs."""
    missing = [name for name in GRAPHICS if not _loads(name)]
    if not missing:
        return Check("graphics libraries", "ok", ", ".join(GRAPHICS))
    detail = f"no {', '.join(missing)}"
    if config.mesher.kind != "mediapipe":
        return Check("graphics libraries", "ok", f"{detail}; only --mesher mediapipe needs it")
    packages = " ".join(GRAPHICS[name] for name in missing)
    return Check("graphics libraries", "failure", detail, f"`sudo apt-get install {packages}`")


def _is_headless(build_information: str) -> bool:
    line = next((x for x in build_information.splitlines() if x.strip().startswith("GUI:")), "")
    return line.split(":")[-1].strip() in {"", "NONE"}


def is_installed(distribution: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
