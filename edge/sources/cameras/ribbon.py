"""A ribbon camera in a process of its own, and what is said between the two."""

import contextlib
import importlib.util
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, CameraStuckError
from edge.text import one_line

_log = logging.getLogger(__name__)

BUFFERS: Final = 3
"""One being filled, one queued, one being copied: 2.8 MB at 640x480. picamera2's six, and a raw
stream of the sensor's size, would be tens: of CMA memory, which is scarce on a 512 MB board."""

PROGRAM: Final = Path(__file__).with_name("ribbon_process.py")
_SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
_SYSTEM_PACKAGES: Final = ("lib/python3/dist-packages", "local/lib/python3*/dist-packages")
KILL_TIMEOUT_S: Final = 1.0
_MOST_BYTES: Final = 65_536
_MOST_LINES: Final = 20
"""Of a library's own messages, for each opening; then they are for `--debug` only."""
_INSTALL: Final = "install it with `sudo apt install python3-picamera2`"


class NoRibbonCameraError(CameraError):
    """There is no ribbon camera, or nothing to reach it with.

    Args:
        message: what was looked for, and the remedy.
        why: the camera is ``absent``; picamera2 is ``missing``; or it is there and ``broken``, so
            that nobody knows what it would have found.
    """

    def __init__(self, message: str, why: Literal["absent", "missing", "broken"]) -> None:
        super().__init__(message)
        self.why = why


class RibbonBusyError(CameraError):
    """Another program has the camera."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """What the camera and picamera2 agreed on. Sizes are width and height in pixels.

    Attributes:
        model: the sensor's name.
        size: of the pictures.
        format: picamera2's name for how pixels lie in memory.
        stride: bytes from one row to the next, in the camera's own memory.
        fps: pictures per second.
        mode: size of the sensor's mode.
        mode_fps: the most that it can do.
        seen: what of the sensor's pixels the picture shows.
        pixels: all of the sensor's pixels.
        turn: how the camera turns pictures itself: transposed, mirrored in x, in y.
        has_focus: the lens can be moved.
    """

    model: str
    size: tuple[int, int]
    format: str
    stride: int
    fps: float
    mode: tuple[int, int] | None
    mode_fps: float | None
    seen: tuple[int, int] | None
    pixels: tuple[int, int] | None
    turn: tuple[bool, bool, bool]
    has_focus: bool

    def __str__(self) -> str:
        told = f"{self.model}, {self.size[0]}x{self.size[1]} at {self.fps:.3g} fps"
        if self.mode:
            most = f" (up to {self.mode_fps:.3g} fps)" if self.mode_fps else ""
            told += f", sensor mode {self.mode[0]}x{self.mode[1]}{most}"
        if self.seen and self.pixels and all(self.pixels):
            width, height = (s / p for s, p in zip(self.seen, self.pixels, strict=True))
            told += f", sees {width:.0%} of the sensor's width and {height:.0%} of its height"
        return told


class Picture(msgspec.Struct, frozen=True, tag="picture"):
    """A picture lies in the shared memory.

    Attributes:
        exposed_ns: when its first row was exposed, on the kernel's clock since the boot.
        missed: frames between the one before and this: faulty ones, and those nobody asked for.
    """

    exposed_ns: int
    missed: int


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The camera cannot be had, or has failed; it is the last message."""

    kind: str
    reason: str


class Logged(msgspec.Struct, frozen=True, tag="logged"):
    """A message of picamera2's log."""

    level: int
    text: str


_Message = TypeVar("_Message", Opened, Picture)
_MESSAGES: Final = msgspec.json.Decoder(Opened | Picture | Refused | Logged)


class RibbonProcess:
    """picamera2 and libcamera, in a child of this process; every wait has an end.

    The child begins at once, and ``finish`` waits for it: meanwhile there is other work to do.

    Args:
        wanted: what ``ribbon_process.py`` is to ask of the camera.
    """

    def __init__(self, wanted: dict[str, Any]) -> None:
        self._wanted = wanted
        self._pythons = candidate_pythons()
        self._failed: CameraError | None = None
        self._is_begun = False
        self._begin()

    def finish(self, open_timeout_s: float) -> None:
        """Wait until the camera is open.

        Args:
            open_timeout_s: how long that may take, from now on.

        Raises:
            NoRibbonCameraError: there is none, or no picamera2 that works.
            CameraError: it is busy, refuses, or does not answer.
        """
        failed: _OtherPythonError | None = None
        while self._is_begun:
            try:
                self._finish(open_timeout_s)
            except _OtherPythonError as error:
                failed = failed or error
                self._begin()
                continue
            return
        if self._failed is not None:
            raise self._failed
        if failed is not None:
            raise NoRibbonCameraError(str(failed), "broken") from failed
        raise NoRibbonCameraError(f"picamera: picamera2 is missing; {_INSTALL}", "missing")

    def abandon(self) -> None:
        """End a child that nobody waits for any more."""
        if self._is_begun:
            self._is_begun = False
            self._kill()
            self._release()

    def _begin(self) -> None:
        """Start a child in the next Python that may do; what is wrong with it is told later."""
        self._is_begun = False
        python = next(self._pythons, None)
        if python is None:
            return
        try:
            self._start(python)
        except CameraError as error:
            self._failed = error
            return
        self._is_begun = True

    def _start(self, python: str) -> None:
        self._python = python
        self._is_open = self._is_asked = False
        self._lines = 0
        self._last = ""
        self._memory = os.memfd_create("edgeemo-picture")
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        said, their_said = os.pipe()
        os.set_blocking(said, False)
        os.set_blocking(their_said, False)  # a full pipe loses messages, and holds nobody up
        self._said = said
        try:
            self._child = subprocess.Popen(
                [python, "-s", "-P", PROGRAM, str(theirs.fileno()), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=their_said,
                stderr=their_said,
                env={"LIBCAMERA_LOG_LEVELS": "*:ERROR", **os.environ},
                pass_fds=(theirs.fileno(), self._memory),
                start_new_session=True,  # a terminal's Ctrl-C is the parent's alone
            )
        except OSError as error:
            self._release()
            raise CameraError(
                f"picamera: {python} cannot be started ({error.strerror}); free some memory"
            ) from error
        finally:
            theirs.close()
            os.close(their_said)
        with contextlib.suppress(OSError):  # it has ended: ``finish`` says why
            self._line.send(msgspec.json.encode(self._wanted))

    def _finish(self, timeout_s: float) -> None:
        try:
            self.opened = self._await_opening(timeout_s)
        except BaseException:
            self.abandon()
            raise
        self._is_open = True

    def _await_opening(self, timeout_s: float) -> Opened:
        opened = self._expect(Opened, timeout_s)
        if opened is None:
            raise CameraError(
                f"picamera: picamera2 did not open the camera within {timeout_s:g} s; "
                "`rpicam-hello --list-cameras` shows whether the system sees it, and a reboot "
                "helps where that hangs, too"
            )
        return opened

    def ask(self) -> None:
        """Ask for the next picture."""
        if not self._is_asked:
            with contextlib.suppress(OSError):  # it has ended: ``wait`` says why
                self._line.send(b"next")
        self._is_asked = True

    def wait(self, timeout_s: float) -> Picture | None:
        """Wait for the picture that was asked for; None when it does not come in time.

        Raises:
            CameraError: the camera failed.
        """
        picture = self._expect(Picture, timeout_s)
        self._is_asked = picture is None
        return picture

    def copy_to(self, image: NDArray[np.uint8]) -> None:
        """Copy the picture, uint8 ``(height, width, 3)``, out of the shared memory.

        Raises:
            CameraError: it is not there.
        """
        if os.preadv(self._memory, [image.data], 0) != image.nbytes:
            raise CameraError("picamera: the shared memory holds no whole picture")

    def close(self, timeout_s: float) -> None:
        """Stop the camera and end the process.

        Raises:
            CameraStuckError: the camera did not stop in time. Its process was killed, and the
                camera can be opened again, unless the error says otherwise.
        """
        try:
            with contextlib.suppress(OSError):
                self._line.send(b"stop")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout_s)
                return
            self._kill()
            raise CameraStuckError(
                f"picamera: does not stop within {timeout_s:g} s; its process was ended",
                is_ended=True,
            )
        finally:
            self._release()

    def _kill(self) -> None:
        self._child.kill()
        try:
            self._child.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise CameraStuckError(
                "picamera: its process cannot be killed: the kernel's driver hangs; "
                "restart the Raspberry Pi, and check the camera's cable"
            ) from error

    def _release(self) -> None:
        self._line.close()
        for fd in (self._memory, self._said):
            os.close(fd)
        child: subprocess.Popen[bytes] | None = getattr(self, "_child", None)
        if child is not None and child.stdin is not None:
            child.stdin.close()  # and with it the process, should it still be there

    def _expect(self, kind: type[_Message], timeout_s: float) -> _Message | None:
        """Wait for a message of a kind; others are logged, or raised."""
        deadline_s = time.monotonic() + timeout_s
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.register(self._said, select.POLLIN)
        while (rest_s := deadline_s - time.monotonic()) > 0:
            ready = {fd for fd, _ in poll.poll(rest_s * 1000)}
            if self._said in ready and not self._hear():
                poll.unregister(self._said)
            if self._line.fileno() not in ready:
                continue
            packet = self._line.recv(_MOST_BYTES)
            if not packet:
                raise self._ended()
            message = _MESSAGES.decode(packet)
            if isinstance(message, kind):
                return message
            if isinstance(message, Refused):
                raise self._refusal(message)
            if isinstance(message, Logged):
                self._pass_on(message.text, message.level)
        return None

    def _hear(self) -> bool:
        """Log what the libraries wrote to the standard error; return whether more may come."""
        try:
            text = os.read(self._said, _MOST_BYTES)
        except BlockingIOError:
            return True
        for line in text.decode("utf-8", "replace").splitlines():
            if line.strip():
                self._last = line
                self._pass_on(line, logging.WARNING)
        return bool(text)

    def _pass_on(self, text: str, level: int) -> None:
        """Log a library's message: what it says while it opens is part of the reason, if any."""
        self._lines += 1
        if not self._is_open or self._lines > _MOST_LINES:
            level = logging.DEBUG
        _log.log(level, "picamera2: %s", one_line(text))

    def _ended(self) -> CameraError:
        self._hear()
        code = self._child.wait(KILL_TIMEOUT_S)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        last = f": {one_line(self._last)}" if self._last else ""
        return CameraError(
            f"picamera: picamera2 crashed ({name}){last}; update it with "
            "`sudo apt full-upgrade`, and report what it says"
        )

    def _refusal(self, refused: Refused) -> CameraError:
        reason = one_line(refused.reason)
        match refused.kind:
            case "missing":
                return _OtherPythonError(
                    f"picamera: {self._python} cannot import picamera2 ({reason}); {_INSTALL}"
                )
            case "broken":
                return _OtherPythonError(
                    f"picamera: picamera2 cannot be loaded by {self._python} ({reason}); "
                    "`sudo apt install --reinstall python3-picamera2 python3-simplejpeg "
                    "python3-numpy` puts packages back that fit each other"
                )
            case "absent":
                return NoRibbonCameraError(
                    "picamera: no CSI camera found; check its ribbon cable, and with "
                    "`rpicam-hello --list-cameras` whether the system sees it",
                    "absent",
                )
            case "busy":
                return RibbonBusyError(
                    f"picamera: another program is using the camera ({reason}); end that program, "
                    "or choose another --source"
                )
            case "refuses":
                return CameraError(
                    f"picamera: the camera cannot be opened ({reason}); check with "
                    "`rpicam-hello` whether it works at all"
                )
        return CameraError(
            f"picamera: failed ({reason}); check with `rpicam-hello` whether the camera works"
        )


class _OtherPythonError(CameraError):
    """This Python has no picamera2 that works; another one may have."""


def candidate_pythons() -> Iterator[str]:
    """Yield the Pythons that have a picamera2: the system's, with which apt's packages fit."""
    places = (p for pattern in _SYSTEM_PACKAGES for p in _SYSTEM_PYTHON.parents[1].glob(pattern))
    has_it = any((place / "picamera2").is_dir() for place in places)
    if has_it and _SYSTEM_PYTHON.exists():
        yield str(_SYSTEM_PYTHON)
    with contextlib.suppress(ImportError, ValueError):
        if importlib.util.find_spec("picamera2") is not None:
            yield sys.executable
