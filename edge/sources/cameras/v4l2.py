"""What the kernel tells of a V4L2 camera: its formats, and who holds it. Nothing is streamed.

Linux, include/uapi/linux/videodev2.h. A camera may be opened for questions while another program
streams from it.
"""

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

Ioctl = Callable[[int, int, bytearray], int]

_CAPABILITY: Final = struct.Struct("16s32s32sIII12x")
_FORMAT: Final = struct.Struct("III32sII12x")
_FRAME_SIZE: Final = struct.Struct("III6I8x")

_QUERY_CAPABILITY: Final = 0x80685600
_ENUM_FORMATS: Final = 0xC0405602
_ENUM_FRAME_SIZES: Final = 0xC02C564A

_CAN_CAPTURE: Final = 0x1
_HAS_NODE_CAPABILITIES: Final = 0x80000000
_DISCRETE: Final = 1
_MOST: Final = 256
"""A driver that never ends its list is not believed."""


class PixelFormat(msgspec.Struct, frozen=True):
    """A format that a camera gives: its four letters and its largest picture in pixels."""

    fourcc: str
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.fourcc} up to {self.width}x{self.height}"


class Holder(msgspec.Struct, frozen=True):
    """A process that has a device open."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def capture_formats(node: Path, ioctl: Ioctl | None = None) -> tuple[PixelFormat, ...] | None:
    """Return the formats of a camera, in the driver's order; None for a node that is no camera.

    Args:
        node: such as /dev/video0.
        ioctl: ``fcntl.ioctl``; tests have their own.

    Raises:
        OSError: the node cannot be opened or asked.
    """
    call = ioctl or _kernel
    fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    try:
        if not _can_capture(fd, call):
            return None
        return tuple(
            PixelFormat(fourcc, *_largest(fd, code, call)) for code, fourcc in _formats(fd, call)
        )
    finally:
        os.close(fd)


def holders(node: Path, proc: Path = Path("/proc")) -> list[Holder]:
    """Return the processes that have a device open, as far as one may look.

    Other users' processes can be looked into by root only.
    """
    real = str(node.resolve())
    found = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        with suppress(OSError):  # gone meanwhile, or not ours to look into
            if any(_target(link) == real for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text("utf-8", "replace").strip()
                found.append(Holder(int(process.name), name))
    return found


def _target(link: Path) -> str:
    with suppress(OSError):
        return str(link.readlink())
    return ""


def _kernel(fd: int, request: int, data: bytearray) -> int:
    import fcntl

    return int(fcntl.ioctl(fd, request, data, True))


def _can_capture(fd: int, ioctl: Ioctl) -> bool:
    data = bytearray(_CAPABILITY.size)
    try:
        ioctl(fd, _QUERY_CAPABILITY, data)
    except OSError as error:
        if error.errno in {errno.ENOTTY, errno.EINVAL}:  # not V4L2 at all
            return False
        raise
    *_, device, node = _CAPABILITY.unpack(data)
    return bool((node if device & _HAS_NODE_CAPABILITIES else device) & _CAN_CAPTURE)


def _formats(fd: int, ioctl: Ioctl) -> Iterator[tuple[int, str]]:
    """Yield each pixel format's code and its four letters."""
    for index in range(_MOST):
        data = bytearray(_FORMAT.size)
        _FORMAT.pack_into(data, 0, index, _CAN_CAPTURE, 0, b"", 0, 0)
        try:
            ioctl(fd, _ENUM_FORMATS, data)
        except OSError:  # EINVAL: that was the last
            return
        code = _FORMAT.unpack(data)[4]
        yield code, code.to_bytes(4, "little").decode("ascii", "replace").strip()


def _largest(fd: int, code: int, ioctl: Ioctl) -> tuple[int, int]:
    """Return width and height of the largest picture in a format; zeros where it is not told."""
    sizes = [(0, 0)]
    for index in range(_MOST):
        data = bytearray(_FRAME_SIZE.size)
        _FRAME_SIZE.pack_into(data, 0, index, code, 0, 0, 0, 0, 0, 0, 0)
        try:
            ioctl(fd, _ENUM_FRAME_SIZES, data)
        except OSError:
            break
        _, _, kind, *numbers = _FRAME_SIZE.unpack(data)
        if kind != _DISCRETE:  # one range for all: least, most and step of width, then of height
            return numbers[1], numbers[4]
        sizes.append((numbers[0], numbers[1]))
    return max(sizes, key=lambda size: size[0] * size[1])
