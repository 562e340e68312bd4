"""A network stream that OpenCV decodes in a process of its own.

What its packets do not tell of a change, OpenCV's conversion would read foreign memory for. What
crashes is the child: to the run it is a camera that was lost.
"""

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError
from edge.records import Frame
from edge.sources.files.recording import ArrivalClock
from edge.text import without_secrets

_HEAD: Final = struct.Struct("=cIId")
"""What follows, two numbers of it, and the stream's rate: ``F`` a picture (height, width), ``E``
an error (its length, nothing)."""
_PATIENCE_S: Final = 20.0
"""OpenCV's own time-outs come first."""
_PIPE_BYTES: Final = 1 << 20
_SET_PIPE_SIZE: Final = 1031


class ContainedStream:
    """Frames of ``OpenCvStream``, from a child process; stamped on arrival.

    Raises:
        CameraError: it cannot be opened; the message never holds the address's password.
    """

    dropped = 0
    """None that OpenCV tells of."""

    def __init__(self, url: str) -> None:
        self._name = without_secrets(url)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "edge.sources.cameras.contained"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # a terminal's Ctrl-C is the parent's alone
        )
        self._clock = ArrivalClock()
        self.fps: float | None = None
        try:
            # Not among the arguments, which everybody can read: there may be a password in it.
            self._child.stdin.write(os.fsencode(url))  # type: ignore[union-attr]
            self._child.stdin.close()  # type: ignore[union-attr]
            self._pending: NDArray[np.uint8] | None = self._next()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that decodes."""
        return self._child.pid

    def read(self) -> Frame | None:
        """Wait for the next frame; see ``edge.protocols.FrameSource``."""
        image, self._pending = self._pending, None
        if image is None:
            image = self._next()
        return self._clock.frame(image)

    def close(self) -> None:
        """End the child; harmless when repeated."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _next(self) -> NDArray[np.uint8]:
        kind, first, second, fps = _HEAD.unpack(self._exactly(_HEAD.size))
        if kind == b"E":
            raise CameraError(self._exactly(first).decode("utf-8", "replace"))
        self.fps = fps or None
        return np.frombuffer(self._exactly(first * second * 3), np.uint8).reshape(first, second, 3)

    def _exactly(self, count: int) -> bytearray:
        data = bytearray(count)
        view, pipe = memoryview(data), self._child.stdout
        done = 0
        while done < count:
            ready = pipe is not None and select.select([pipe], [], [], _PATIENCE_S)[0]
            got = os.readv(pipe.fileno(), [view[done:]]) if pipe is not None and ready else 0
            if not got:
                raise self._lost(is_silent=not ready)
            done += got
        return data

    def _lost(self, *, is_silent: bool) -> CameraError:
        if is_silent:
            why = f"nothing came for {_PATIENCE_S:.0f} s"
        else:
            code = self._child.wait()
            name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            why = f"OpenCV crashed ({name})"
        return CameraError(
            f"{self._name}: gives no more frames (after {self._clock.index}: {why}); "
            "install the extra edgeemo[video]"
        )


def _main() -> None:
    """Decode the stream whose address comes on the standard input; pictures go to the output."""
    from edge.sources.cameras.opencv_stream import OpenCvStream

    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent ends it
    url = os.fsdecode(sys.stdin.buffer.read())
    output = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints is no picture
    with contextlib.suppress(OSError):
        import fcntl

        fcntl.fcntl(output, _SET_PIPE_SIZE, _PIPE_BYTES)
    try:
        stream = OpenCvStream(url)
        while (frame := stream.read()) is not None:
            height, width = frame.size_hw
            _send(output, _HEAD.pack(b"F", height, width, stream.fps or 0.0))
            _send(output, np.ascontiguousarray(frame.image).data)
    except CameraError as error:
        told = str(error).encode("utf-8", "backslashreplace")
        _send(output, _HEAD.pack(b"E", len(told), 0, 0.0) + told)


def _send(output: int, data: bytes | memoryview) -> None:
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(output, view) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the parent has seen enough
        _main()
