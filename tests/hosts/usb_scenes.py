"""What happens to USB cameras, on a real kernel: run by usb_camera.sh in the emulated PC."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from edge.config import Config
from edge.doctor.cameras import cameras
from edge.errors import CameraError
from edge.sources.cameras.identity import FollowedCamera, first_camera, present
from edge.sources.cameras.opencv import OpenCvCamera
from edge.sources.wrappers.reconnect import ReconnectingSource

PATIENCE_S = 300.0
BY_ID = Path("/dev/v4l/by-id")
DARK, LIGHT, OTHER = 60, 180, 120
Found = TypeVar("Found")


class Plugged:
    """A camera in a socket; leaving the block unplugs it."""

    def __init__(self, port: int, serial: str, level: int) -> None:
        self._options = [str(port), serial, str(level)]
        self._serial = serial
        self.link = Path()

    def __enter__(self) -> "Plugged":
        program = str(Path(__file__).with_name("usb_camera.py"))
        self._process = subprocess.Popen([sys.executable, program, *self._options])
        self.link = until(self._found, f"udev knows {self._serial}")
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """Pull it out, and wait until udev has seen it."""
        self._process.terminate()
        self._process.wait()
        until(lambda: self._found() is None, f"{self._serial} is gone")

    def _found(self) -> Path | None:
        links = BY_ID.glob(f"*_{self._serial}-video-index0")
        return next((link for link in links if link.exists()), None)


def until(look: Callable[[], Found], what: str) -> Found:
    """Return the first answer that is not empty."""
    end_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < end_s:
        if answer := look():
            return answer
        time.sleep(0.2)
    raise SystemExit(f"waited {PATIENCE_S:.0f} s in vain until {what}")


def must(is_so: bool, what: str) -> None:
    """End everything where something is not as it should be."""
    print(f"  {'as it should be' if is_so else 'WRONG'}: {what}", flush=True)
    if not is_so:
        raise SystemExit(1)


def refused(make: Callable[[], object]) -> str:
    """Return what a camera is refused with."""
    try:
        make()
    except CameraError as error:
        return str(error)
    return ""


def level_of(camera: OpenCvCamera | ReconnectingSource) -> float:
    """Return a picture's mean grey level: the cameras differ in it."""
    frame = camera.read()
    return float(np.mean(frame.image)) if frame is not None else -1.0


def is_level(camera: OpenCvCamera | ReconnectingSource, level: int) -> bool:
    """Tell whether a camera's pictures are those of the device of that level."""
    return abs(level_of(camera) - level) < 10


def two_at_once() -> None:
    """Both give their own pictures; metadata nodes are no cameras; a busy one is named."""
    print("two cameras at once, their metadata nodes, and a busy one", flush=True)
    with Plugged(0, "0001", DARK) as dark, Plugged(1, "0002", LIGHT) as light:
        nodes = dict(present())
        second = [node for node, card in nodes.items() if card.index != "0"]
        must(len(nodes) == 4 and len(second) == 2, "each has two nodes, one of them for metadata")
        must({card.serial for card in nodes.values()} == {"0001", "0002"}, "serial numbers")
        must(first_camera() in {dark.link.resolve(), light.link.resolve()}, "auto takes a camera")
        lines = list(cameras(Config()))
        must([line.status for line in lines] == ["ok", "ok"], "doctor lists two")
        must(all("MJPG up to 640x480" in line.detail for line in lines), "and what they give")
        one, other = OpenCvCamera(str(dark.link)), OpenCvCamera(str(light.link))
        must(one.mode.size_hw == (480, 640) and one.mode.fourcc == "MJPG", f"mode {one.mode}")
        must(is_level(one, DARK) and is_level(other, LIGHT), "each gives its own pictures")
        told = refused(lambda: OpenCvCamera(str(dark.link)))
        must(f"busy (python (process {os.getpid()}) holds it)" in told, f"busy: {told}")
        told = refused(lambda: OpenCvCamera(str(second[0])))
        must("second node, for metadata" in told, f"metadata: {told}")
        one.close()
        other.close()


def exchanged() -> None:
    """Another camera in the same socket is not taken; the first one is, in another socket."""
    print("a camera that is exchanged in its socket", flush=True)
    with Plugged(0, "0001", DARK) as first:
        node = first.link.resolve()
        followed = FollowedCamera(node, lambda path: OpenCvCamera(str(path)))
        camera = followed()
        must(is_level(camera, DARK), "the first one gives pictures")
        camera.close()
        first.unplug()
        with Plugged(0, "0003", OTHER) as second:
            must(second.link.resolve() == node, "the other one has its node")
            told = refused(followed)
            must("another camera now" in told and "number 0003" in told, f"refused: {told}")
            with Plugged(1, "0001", DARK):
                camera = followed()
                must(is_level(camera, DARK), "the first one is found in another socket")
                camera.close()


def unplugged() -> None:
    """It is noticed, and the camera comes back."""
    print("a camera that is unplugged while it is read", flush=True)
    camera = Plugged(0, "0001", DARK)
    with camera:
        node = camera.link.resolve()
        source = ReconnectingSource(FollowedCamera(node, lambda path: OpenCvCamera(str(path))))
        must(is_level(source, DARK), "it gives pictures")
        camera.unplug()
        told = ""
        while not told:
            told = refused(source.read)
        must(str(node) in told, f"lost: {told}")
    with Plugged(0, "0001", DARK):
        for _ in range(20):
            with suppress(CameraError):
                if is_level(source, DARK):
                    break
        else:
            must(False, "it is back")
        must(True, "it is back")
        source.close()


if __name__ == "__main__":
    for scene in (two_at_once, exchanged, unplugged):
        scene()
