"""Libraries that come from elsewhere: OpenCV's wheels, graphics, libcamera."""

import ctypes
import importlib.util
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from edge import machine
from edge.config import Config
from edge.doctor.report import Check, Status

_OPENCV_WHEELS: Final = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
_GRAPHICS: Final = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}
"""What mediapipe's library is linked with, and Debian's package of it."""
_APT_PACKAGES: Final = Path("/usr/lib/python3/dist-packages")
_CHILD_TIMEOUT_S: Final = 30
_CSI_PROBE: Final = "from edge.sources.picamera import has_csi_camera as f; print(int(f()))"


def opencv() -> Check:
    """Tell which OpenCV there is; two wheels overwrite each other's files."""
    wheels = [name for name in _OPENCV_WHEELS if _is_installed(name)]
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
    missing = [name for name in _GRAPHICS if not _loads(name)]
    if not missing:
        return Check("graphics libraries", "ok", ", ".join(_GRAPHICS))
    detail = f"no {', '.join(missing)}"
    if config.mesher.kind != "mediapipe":
        return Check("graphics libraries", "ok", f"{detail}; only --mesher mediapipe needs it")
    packages = " ".join(_GRAPHICS[name] for name in missing)
    return Check("graphics libraries", "failure", detail, f"`sudo apt-get install {packages}`")


def libcamera(config: Config) -> Check:
    """Tell whether this environment sees picamera2 and libcamera, and these a ribbon camera."""
    spec = config.source.spec
    bad: Status = "failure" if spec == "picamera" else "warning"
    unseen = [name for name in ("picamera2", "libcamera") if not _is_importable(name)]
    if unseen:
        if spec != "picamera" and not machine.is_raspberry_pi():
            return Check(
                "libcamera", "ok", "not here; only a Raspberry Pi's ribbon camera needs it"
            )
        return Check("libcamera", bad, f"no {', '.join(unseen)} in {sys.prefix}", _remedy(unseen))
    child = subprocess.run(  # libcamera can hang, and end the process that asks it
        [sys.executable, "-c", _CSI_PROBE],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_S,
        check=False,
    )
    if child.stdout.strip() == "1":
        return Check("libcamera", "ok", "picamera2 sees a ribbon camera")
    detail = "picamera2 sees no ribbon camera"
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        detail = f"picamera2 ended with status {child.returncode}: {last}"
    if spec == "picamera":
        remedy = "check the ribbon cable, and `rpicam-hello --list-cameras`"
        return Check("libcamera", "failure", detail, remedy)
    return Check("libcamera", "ok", detail)


def _remedy(unseen: list[str]) -> str:
    """Say how to have them: they come from apt, and an environment must be let see them."""
    if all((_APT_PACKAGES / name).is_dir() for name in unseen):
        return (
            "apt's packages are there, but not seen: make the environment anew with "
            "`python3 -m venv --system-site-packages`"
        )
    return (
        "`sudo apt install python3-picamera2`, and an environment made by "
        "`python3 -m venv --system-site-packages`"
    )


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _is_headless(build_information: str) -> bool:
    line = next((x for x in build_information.splitlines() if x.strip().startswith("GUI:")), "")
    return line.split(":")[-1].strip() in {"", "NONE"}


def _is_installed(distribution: str) -> bool:
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
