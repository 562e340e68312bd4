"""V4L2 cameras by what they are, not by their number, which a new plugging-in may change."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import CameraError
from edge.protocols import FrameSource

_log = logging.getLogger(__name__)

NO_CAMERAS: Final = ("bcm2835-", "unicam", "rp1-", "pispbe", "rpi-", "rpivid")
"""Nodes of a Raspberry Pi that are codecs and stages of its own camera's pipeline (libcamera's)."""


class Places(msgspec.Struct, frozen=True):
    """Where the kernel and udev tell of cameras; tests have their own."""

    dev: Path = Path("/dev")
    sys: Path = Path("/sys/class/video4linux")


class Card(msgspec.Struct, frozen=True):
    """What stays of a camera when its node gets another number.

    Attributes:
        port: the device in sysfs: the USB socket it is in.
        name: the driver's name for it.
        index: which of the device's nodes it is; a webcam's second one is for metadata.
        link: its name below /dev/v4l/by-id, which udev makes a moment later; empty without one.
        serial: the USB device's serial number, empty without one. Cheap cameras have none, or all
            of a kind the same.
    """

    port: str
    name: str
    index: str
    link: str = ""
    serial: str = ""

    def __str__(self) -> str:
        return f"{self.name}, serial number {self.serial}" if self.serial else self.name


def read_card(node: Path, places: Places | None = None) -> Card | None:
    """Return the card behind a node (a link is followed); None where the kernel does not tell."""
    places = places or Places()
    entry = places.sys / node.resolve().name
    try:
        name = (entry / "name").read_text("utf-8", "replace").strip()
        index = (entry / "index").read_text("ascii", "replace").strip()
    except OSError:
        return None
    links = (link.name for link in _links(places) if link.resolve().name == entry.name)
    port = (entry / "device").resolve()
    return Card(str(port), name, index, next(links, ""), _serial(port))


def present(places: Places | None = None) -> Iterator[tuple[Path, Card]]:
    """Yield the nodes there are, by number, with their cards."""
    places = places or Places()
    for node in sorted(places.dev.glob("video[0-9]*"), key=_number):
        if (card := read_card(node, places)) is not None:
            yield node, card


def first_camera(places: Places | None = None) -> Path | None:
    """Return the first node that may be a camera, USB ones before others; None without any."""
    places = places or Places()
    candidates = [
        (not card.link, _number(node), node)
        for node, card in present(places)
        if card.index == "0" and not card.name.startswith(NO_CAMERAS)
    ]
    return min(candidates)[2] if candidates else None


class FollowedCamera:
    """Opens one camera, again and again, and finds it where it is by then.

    A link of udev's (/dev/v4l/by-id or by-path) is followed as it stands. A plain node is left for
    another one when the card that it had at first is there: in the same socket, or elsewhere with
    the same serial number, or, for a card without one, the only new one of that name. It is never
    exchanged for another camera: one with another serial number is not it, whatever socket it is
    in.

    Args:
        node: what the user named.
        open_node: opens a node.
    """

    def __init__(
        self,
        node: Path,
        open_node: Callable[[Path], FrameSource],
        places: Places | None = None,
    ) -> None:
        self._node = node
        self._open_node = open_node
        self._places = places or Places()
        self._card: Card | None = None
        self._others: frozenset[Card] = frozenset()

    def __call__(self) -> FrameSource:
        """Open the camera.

        Raises:
            CameraError: it is away, or its node is another camera's now.
        """
        node = self._where()
        source = self._open_node(node)
        if self._card is None:
            self._card = read_card(node, self._places)
            known = {card for _, card in present(self._places)}
            self._others = frozenset(known - {self._card})
        if node != self._node:
            _log.info("%s: found again as %s", self._node, node)
        return source

    def _where(self) -> Path:
        if self._card is None or self._node.is_symlink():
            return self._node
        there = list(present(self._places))
        for is_it in (self._is_same, self._has_its_serial, self._may_be_it):
            found = [node for node, card in there if is_it(card)]
            if len(found) == 1:
                return found[0]
        if others := [card for node, card in there if node == self._node]:
            raise CameraError(
                f"{self._node}: is another camera now ({others[0]}); waiting for {self._card}"
            )
        return self._node

    def _is_same(self, card: Card) -> bool:
        return card == self._card

    def _has_its_serial(self, card: Card) -> bool:
        mine = self._card
        if mine is None or (mine.name, mine.index) != (card.name, card.index):
            return False
        known = mine.serial and card.serial == mine.serial
        return bool(known or (mine.link and card.link == mine.link))

    def _may_be_it(self, card: Card) -> bool:
        mine = self._card
        return (
            mine is not None
            and (card.name, card.index) == (mine.name, mine.index)
            and card.serial == mine.serial
            and (not mine.link or (card.port == mine.port and card.link in {"", mine.link}))
            and card not in self._others
        )


def _serial(port: Path) -> str:
    """Return the serial number of the USB device whose interface this is."""
    try:
        return (port.parent / "serial").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _links(places: Places) -> list[Path]:
    return sorted((places.dev / "v4l" / "by-id").glob("*"))


def _number(node: Path) -> int:
    digits = node.name.removeprefix("video")
    return int(digits) if digits.isdecimal() else 1 << 16
