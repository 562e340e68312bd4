"""A USB camera in software, for a kernel with vhci_hcd and uvcvideo: it sees a real one plugged in.

python usb_camera.py PORT SERIAL LEVEL     MJPEG, 640x480, 15 pictures a second of that grey level

SIGTERM unplugs it. USB/IP over a socket pair, so nothing listens anywhere (Linux,
Documentation/usb/usbip_protocol.rst); descriptors as in "USB Device Class Definition for Video
Devices" 1.1. Pictures go over a bulk endpoint: emulated isochronous ones do not keep time.
"""

import socket
import struct
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FPS, PAYLOAD = 640, 480, 15, 16_384
INTERVAL, BIGGEST = 10_000_000 // FPS, WIDTH * HEIGHT * 2
SUBMIT, UNLINK, DONE, UNLINKED = 1, 2, 3, 4
STALL, UNLINKED_IN_TIME = -32, -104


def descriptor(kind: int, *parts: int | bytes) -> bytes:
    """Put a descriptor's length and kind before its parts."""
    body = b"".join(bytes([part]) if isinstance(part, int) else part for part in parts)
    return bytes([len(body) + 2, kind]) + body


def word(value: int) -> bytes:
    """Return 16 bits, as USB has them."""
    return struct.pack("<H", value)


def long(value: int) -> bytes:
    """Return 32 bits, as USB has them."""
    return struct.pack("<I", value)


UNITS = (
    descriptor(0x24, 2, 1, word(0x0201), 0, 0, word(0), word(0), word(0), 3, bytes(3))  # a camera
    + descriptor(0x24, 5, 2, 1, word(0), 2, word(0), 0)  # its processing unit, without controls
    + descriptor(0x24, 3, 3, word(0x0101), 0, 2, 0)  # its output
)
CONTROL = descriptor(0x24, 1, word(0x0100), word(13 + len(UNITS)), long(48_000_000), 1, 1) + UNITS
FORMATS = (
    descriptor(0x24, 6, 1, 1, 1, 1, 0, 0, 0, 0)  # MJPEG
    + descriptor(
        0x24, 7, 1, 0, word(WIDTH), word(HEIGHT), long(BIGGEST * 8), long(BIGGEST * 8 * FPS),
        long(BIGGEST), long(INTERVAL), 1, long(INTERVAL),
    )
    + descriptor(0x24, 13, 1, 1, 4)
)  # fmt: skip
STREAM = descriptor(0x24, 1, 1, word(14 + len(FORMATS)), 0x81, 0, 3, 0, 0, 0, 1, 0) + FORMATS
INTERFACES = (
    descriptor(11, 0, 2, 14, 3, 0, 2)
    + descriptor(4, 0, 0, 0, 14, 1, 0, 2) + CONTROL
    + descriptor(4, 1, 0, 1, 14, 2, 0, 0) + STREAM
    + descriptor(5, 0x81, 2, word(512), 0)
)  # fmt: skip
DEVICE = descriptor(
    1, word(0x0200), 0xEF, 2, 1, 64, word(0x1D6B), word(0x0102), word(0x0100), 1, 2, 3, 1
)
CONFIGURATION = descriptor(2, word(9 + len(INTERFACES)), 2, 1, 0, 0x80, 250) + INTERFACES
QUALIFIER = descriptor(6, word(0x0200), 0xEF, 2, 1, 64, 1, 0)
PROBE = word(0) + bytes([1, 1]) + long(INTERVAL) + word(0) * 5 + long(BIGGEST) + long(PAYLOAD)


def answer(setup: bytes, serial: str) -> bytes | None:
    """Return what a control request reads; None is a stall."""
    kind, request, value, index, length = struct.unpack("<BBHHH", setup)
    if (kind, request) == (0x80, 6):  # a descriptor
        texts = [t.encode("utf-16le") for t in ("edgeemo", "Played Camera", serial)]
        strings = [descriptor(3, word(0x0409)), *(descriptor(3, text) for text in texts)]
        found = {1: DEVICE, 2: CONFIGURATION, 6: QUALIFIER}.get(value >> 8)
        if value >> 8 == 3:
            found = strings[value & 255] if value & 255 < len(strings) else None
        return None if found is None else found[:length]
    if (kind, request) == (0x80, 0):  # the status
        return bytes(2)
    if kind == 0xA1 and index & 255 == 1 and value >> 8 in {1, 2}:  # probe and commit
        return {0x85: word(26), 0x86: b"\3"}.get(request, PROBE)[:length]
    if kind == 0xA1:  # the power mode, an error's code
        return b"\2"[:length] if index >> 8 == 0 else None
    return b""


class Camera:
    """Answers the kernel, and sends pictures while it asks for some."""

    def __init__(self, link: socket.socket, serial: str, level: int) -> None:
        self._link, self._serial = link, serial
        self._asked = threading.Condition()
        self._waiting: list[int] = []
        rng = np.random.default_rng(level)
        grey = rng.integers(level - 8, level + 8, (20, HEIGHT, WIDTH), np.uint8)
        self._pictures = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in grey]

    def serve(self) -> None:
        """Answer until the kernel lets go."""
        threading.Thread(target=self._film, daemon=True).start()
        while True:
            head = self._read(48)
            command, number, _, inward, endpoint, target, length = struct.unpack(">6Ii", head[:28])
            if command == UNLINK:
                with self._asked:
                    in_time = target in self._waiting
                    self._waiting = [one for one in self._waiting if one != target]
                    status = UNLINKED_IN_TIME if in_time else 0
                    self._link.sendall(struct.pack(">5Ii24x", UNLINKED, number, 0, 0, 0, status))
                continue
            sent = self._read(length) if not inward and length > 0 else b""
            if endpoint:
                with self._asked:
                    self._waiting.append(number)
                    self._asked.notify()
                continue
            said = answer(head[40:48], self._serial)
            if said is None:
                self._give(number, status=STALL)
            elif inward:
                self._give(number, said)
            else:
                self._give(number, length=len(sent))

    def _film(self) -> None:
        number, due_s = 0, time.monotonic()
        while True:
            picture, parity = self._pictures[number % len(self._pictures)], number & 1
            number += 1
            due_s = max(due_s + 1 / FPS, time.monotonic())
            step = PAYLOAD - 2
            pieces = [picture[at : at + step] for at in range(0, len(picture), step)]
            for i, piece in enumerate(pieces):
                with self._asked:
                    while not self._waiting:
                        self._asked.wait()
                    request = self._waiting.pop(0)
                if i == 0:
                    time.sleep(max(0.0, due_s - time.monotonic()))
                is_last = 2 if i == len(pieces) - 1 else 0
                self._give(request, bytes([2, 0x80 | parity | is_last]) + piece)

    def _give(self, number: int, data: bytes = b"", status: int = 0, length: int = -1) -> None:
        told = len(data) if length < 0 else length
        head = struct.pack(">5I5i8x", DONE, number, 0, 0, 0, status, told, 0, 0, 0)
        with self._asked:
            self._link.sendall(head + data)

    def _read(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            try:
                more = self._link.recv(size - len(got))
            except ConnectionResetError:
                more = b""
            if not more:
                raise SystemExit("unplugged by the kernel")
            got += more
        return got


def main() -> None:
    """Plug it in."""
    port, serial, level = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    mine, the_kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    camera = Camera(mine, serial, level)
    with Path("/sys/devices/platform/vhci_hcd.0/attach").open("w", encoding="ascii") as attach:
        attach.write(f"{port} {the_kernels.fileno()} {0x10001 + port} 3")
    the_kernels.close()
    camera.serve()


if __name__ == "__main__":
    main()
