"""What the kernel tells of cameras is read as it stands, from drivers of every kind."""

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from edge.sources.cameras.v4l2 import Holder, PixelFormat, capture_formats, holders

CAPTURE, METADATA, NODE_CAPABILITIES = 0x1, 0x00800000, 0x80000000
STEPWISE = 3


def fourcc(text: str) -> int:
    return int.from_bytes(text.encode("ascii"), "little")


class Driver:
    """Answers ioctls as a driver does, from the layouts of videodev2.h.

    Args:
        capabilities: of the device; device_caps: of the node.
        formats: by four letters, either sizes or one range ``(least, most)`` of them.
    """

    def __init__(self, capabilities: int, device_caps: int, formats: dict) -> None:
        self._caps = capabilities, device_caps
        self._formats = formats

    def __call__(self, fd: int, request: int, data: bytearray) -> int:
        """Fill in the answer; EINVAL past the end of a list, as the kernel says it."""
        os.fstat(fd)  # the node is open
        assert request >> 16 & 0x3FFF == len(data)
        number = request & 0xFF
        {0: self._capability, 2: self._format, 74: self._size}[number](data)
        return 0

    def _capability(self, data: bytearray) -> None:
        struct.pack_into("16s32s32s3I", data, 0, b"uvc", b"Camera", b"usb-1", 0x60000, *self._caps)

    def _format(self, data: bytearray) -> None:
        index, kind = struct.unpack_from("II", data)
        if kind != CAPTURE or index >= len(self._formats):
            raise OSError(errno.EINVAL, "Invalid argument")
        name = list(self._formats)[index]
        struct.pack_into("32sI", data, 12, b"described", fourcc(name))

    def _size(self, data: bytearray) -> None:
        index, code = struct.unpack_from("II", data)
        sizes = next(sizes for name, sizes in self._formats.items() if fourcc(name) == code)
        if isinstance(sizes, tuple) and index == 0:
            (least_w, least_h), (most_w, most_h) = sizes
            struct.pack_into("7I", data, 8, STEPWISE, least_w, most_w, 2, least_h, most_h, 2)
        elif isinstance(sizes, list) and index < len(sizes):
            struct.pack_into("3I", data, 8, 1, *sizes[index])
        else:
            raise OSError(errno.EINVAL, "Invalid argument")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    path = tmp_path / "video0"
    path.write_bytes(b"")
    return path


def test_formats_come_with_their_largest_size(node):
    """Listed sizes, in whatever order, and ranges: the largest is told, formats in their order."""
    formats = {
        "MJPG": [(640, 480), (1920, 1080), (320, 240)],
        "YUYV": ((32, 32), (1280, 720)),
        "GREY": [],
    }
    told = capture_formats(node, Driver(CAPTURE, CAPTURE, formats))
    assert told == (
        PixelFormat("MJPG", 1920, 1080), PixelFormat("YUYV", 1280, 720), PixelFormat("GREY", 0, 0),
    )  # fmt: skip
    assert str(told[0]) == "MJPG up to 1920x1080"


@pytest.mark.parametrize(
    ("capabilities", "device_caps", "is_camera"),
    [
        (CAPTURE, 0, True),  # an old driver, without capabilities of the node
        (CAPTURE | METADATA | NODE_CAPABILITIES, CAPTURE, True),
        (CAPTURE | METADATA | NODE_CAPABILITIES, METADATA, False),  # a webcam's second node
        (0x2, 0, False),  # an output
    ],
)
def test_a_node_that_gives_no_pictures_is_no_camera(node, capabilities, device_caps, is_camera):
    """The node's own capabilities count, where the driver tells them."""
    told = capture_formats(node, Driver(capabilities, device_caps, {"YUYV": [(640, 480)]}))
    assert (told is not None) == is_camera


def test_a_file_that_is_no_device_is_no_camera(node):
    """The real kernel refuses the question, and that is the answer."""
    assert capture_formats(node) is None


def test_a_driver_that_never_ends_its_list_does_not_hang(node):
    """A list without end is cut off."""

    class Endless(Driver):
        def _format(self, data: bytearray) -> None:
            struct.pack_into("32sI", data, 12, b"", fourcc("YUYV"))

    told = capture_formats(node, Endless(CAPTURE, CAPTURE, {"YUYV": [(640, 480)]}))
    assert 0 < len(told) < 1000


def test_a_missing_node_is_an_error_of_the_system(tmp_path):
    """What cannot be opened is told as the system says it."""
    with pytest.raises(FileNotFoundError):
        capture_formats(tmp_path / "video9")


def test_the_process_that_holds_a_device_is_found(node, tmp_path):
    """A real process that has the node open, by a link to it, is named with its number."""
    link = tmp_path / "by-id"
    link.symlink_to(node)
    code = f"f = open({str(node)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "open\n"
        (holder,) = holders(link)
        assert holder.pid == child.pid
        assert "python" in holder.name
        assert str(holder) == f"{holder.name} (process {child.pid})"
        child.communicate("\n")
    assert holders(link) == []


def test_processes_that_can_not_be_looked_into_are_passed_over(tmp_path, node):
    """Those of other users, and those that end meanwhile, hide nobody else."""
    (tmp_path / "proc/7").mkdir(parents=True)  # no fd folder: gone
    (tmp_path / "proc/12/fd").mkdir(parents=True)
    (tmp_path / "proc/12/comm").write_text("motion\n")
    (tmp_path / "proc/12/fd/3").symlink_to(node)
    (tmp_path / "proc/self").mkdir()
    assert holders(node, tmp_path / "proc") == [Holder(12, "motion")]
