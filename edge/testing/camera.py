"""A camera that fails in every way cameras do, on cue; ``edge.testing.fakes`` offers it."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, CameraStuckError
from edge.records import Frame
from edge.sources.cameras.identity import Places
from edge.sources.wrappers.reconnect import Pauser

Scene = Literal["good", "absent", "busy", "frozen", "black", "garbage", "blocked", "stuck", "moved"]

_EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
_SIZE_HW: Final = (48, 64)
_GARBAGE_HW: Final = (31, 17)
_PATIENCE_S: Final = 60.0


class FakeCamera:
    """Plays scenes; ``open`` and ``open_node`` are for ``ReconnectingSource`` and its like.

    A scene is a word and a count. ``good``, ``frozen``, ``black`` and ``garbage`` (another size)
    are so many pictures. ``absent`` and ``busy`` end an open capture and refuse so many attempts to
    open it. ``moved`` ends it, too; the camera is at the next node then. ``blocked`` holds ``read``
    until ``release``. ``stuck`` never comes back. After the last scene the camera ends.

    Time is the camera's own: each picture is ``1 / fps`` later than the one before.

    Args:
        scenes: what happens, in order.
        fps: pictures per second of ``Frame.t_s``.
        start_s: ``t_s`` of the first picture.
        root: a folder where /dev and sysfs shall be played, see ``places``.

    Attributes:
        fps: pictures per second.
        node: where the camera is now, below ``places.dev``.
        opened: how often it was opened.
        open_captures: how many captures are open; a device allows one.
    """

    def __init__(
        self,
        scenes: Sequence[tuple[Scene, int]],
        fps: float = 10.0,
        start_s: float = 100.0,
        root: Path | None = None,
    ) -> None:
        self._scenes = [[kind, count] for kind, count in scenes]
        self.fps = fps
        self._start_s = start_s
        self._shown = 0
        self._released = threading.Event()
        self.places = Places(*(root / "dev", root / "sys") if root else ())
        self._root = root
        self._number = 0
        self.opened = 0
        self.open_captures = 0
        self.blocked = threading.Event()
        self._plug()

    @property
    def node(self) -> Path:
        """The device file of the moment."""
        return self.places.dev / f"video{self._number}"

    def open(self) -> "FakeCapture":
        """Open the camera wherever it is.

        Raises:
            CameraError: it is absent or busy, or open already.
        """
        kind = self.scene
        if kind in {"absent", "busy"}:
            self._pass()
            raise CameraError("no such camera" if kind == "absent" else "busy")
        if self.open_captures:
            raise CameraError("busy: it was not closed")
        self.opened += 1
        self.open_captures += 1
        return FakeCapture(self)

    def open_node(self, node: Path) -> "FakeCapture":
        """Open the camera if it is at ``node``.

        Raises:
            CameraError: it is elsewhere, absent or busy.
        """
        if node.resolve() != self.node.resolve():
            raise CameraError(f"{node}: no such camera")
        return self.open()

    def release(self) -> None:
        """Let a blocked ``read`` go on."""
        self._released.set()

    @property
    def scene(self) -> str:
        """What is being played; empty after the end."""
        return str(self._scenes[0][0]) if self._scenes else ""

    def show(self) -> Frame | None:
        """Return the next picture; for ``FakeCapture``."""
        kind = self.scene
        if not kind:
            return None
        if kind in {"absent", "busy"}:
            raise CameraError("gives no more frames")
        if kind == "stuck":
            raise CameraStuckError("does not stop")
        if kind == "moved":
            self._pass()
            self._move()
            raise CameraError("gives no more frames")
        if kind == "blocked":
            self._pass()
            self.blocked.set()
            self._released.wait(_PATIENCE_S)
            return self.show()
        frame = self._frame(kind)
        self._pass()
        return frame

    def _pass(self) -> None:
        self._scenes[0][1] = int(self._scenes[0][1]) - 1
        if self._scenes[0][1] == 0:
            self._scenes.pop(0)

    def _frame(self, kind: str) -> Frame:
        t_s = self._start_s + self._shown / self.fps
        frame = Frame(
            _picture(kind, self._shown), self._shown, t_s, _EPOCH + timedelta(seconds=t_s)
        )
        self._shown += 1
        return frame

    def _plug(self) -> None:
        if self._root is not None:
            play_card(self.places, self._number, "Fake Camera", "usb1/1-1")

    def _move(self) -> None:
        if self._root is not None:
            unplug_card(self.places, self._number)
        self._number += 1
        self._plug()


class FakeCapture:
    """An opened ``FakeCamera``, as a frame source."""

    def __init__(self, camera: FakeCamera) -> None:
        self._camera = camera
        self._is_open = True

    @property
    def fps(self) -> float | None:
        """The camera's rate."""
        return self._camera.fps

    @property
    def dropped(self) -> int:
        """None is left out."""
        return 0

    def read(self) -> Frame | None:
        """Return the next picture of the play."""
        return self._camera.show() if self._is_open else None

    def close(self) -> None:
        """Free the device."""
        self._camera.open_captures -= self._is_open
        self._is_open = False


class FakePauser(Pauser):
    """Pauses in no time.

    Attributes:
        pauses: the seconds of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        """Note the pause."""
        self.pauses.append(seconds)


def play_card(
    places: Places, number: int, name: str, port: str, link: str = "", serial: str = ""
) -> Path:
    """Make a camera's node and what sysfs and udev tell of it; return the node.

    Args:
        places: ``Places`` of a temporary folder.
        number: N of /dev/videoN.
        name: the card's name.
        port: which device it is, below sysfs.
        link: its name below /dev/v4l/by-id, if it has one.
        serial: its serial number, if it has one.
    """
    node, entry = places.dev / f"video{number}", places.sys / f"video{number}"
    device = places.sys.parent / "devices" / port / "interface"
    for folder in (places.dev / "v4l" / "by-id", entry, device):
        folder.mkdir(parents=True, exist_ok=True)
    node.touch()
    (entry / "name").write_text(name + "\n", "utf-8")
    (entry / "index").write_text("0\n", "ascii")
    (entry / "device").symlink_to(device)
    (device.parent / "serial").unlink(missing_ok=True)
    if serial:
        (device.parent / "serial").write_text(serial + "\n", "ascii")
    if link:
        (places.dev / "v4l" / "by-id" / link).symlink_to(node)
    return node


def unplug_card(places: Places, number: int) -> None:
    """Take a camera made by ``play_card`` away."""
    node, entry = places.dev / f"video{number}", places.sys / f"video{number}"
    for link in (places.dev / "v4l" / "by-id").glob("*"):
        if link.readlink() == node:
            link.unlink()
    for name in ("name", "index", "device"):
        (entry / name).unlink()
    entry.rmdir()
    node.unlink()


def _picture(kind: str, number: int) -> NDArray[np.uint8]:
    """Return noise as of a sensor, or what is shown instead."""
    if kind == "black":
        return np.zeros((*_SIZE_HW, 3), np.uint8)
    size = _GARBAGE_HW if kind == "garbage" else _SIZE_HW
    seed = 0 if kind == "frozen" else number + 1
    return np.random.default_rng(seed).integers(60, 200, (*size, 3), np.uint8)
