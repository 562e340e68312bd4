"""Whole messages between two workers, over a socket: numbers and bytes, never code."""

import socket
import struct
import threading
from typing import Final

import msgspec

_LENGTH: Final = struct.Struct("!Q")
_MOST_BYTES: Final = 4 << 30


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Who connects: its place in the cluster that it knows."""

    index: int
    addresses: tuple[str, ...]


class Beat(msgspec.Struct, frozen=True, tag=True):
    """A sign of life.

    Attributes:
        step: how often the worker has met the others.
        is_stepping: whether it comes to the next training step from one.
    """

    step: int
    is_stepping: bool


class Parcel(msgspec.Struct, frozen=True, tag=True):
    """What the workers exchange."""

    content: bytes


class End(msgspec.Struct, frozen=True, tag=True):
    """The last message: the run is done, or why it cannot go on."""

    reason: str | None = None


Message = Hello | Beat | Parcel | End
_DECODER: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(Message)


class Channel:
    """Messages over a connected socket; any thread may send.

    Args:
        connection: closed with the channel.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message, *, wait_s: float = -1) -> None:
        """Send a message; with ``wait_s`` it is left out if another is on its way for so long.

        Raises:
            OSError: the connection is lost.
        """
        data = msgspec.msgpack.encode(message)
        if not self._sending.acquire(timeout=wait_s):
            return
        try:
            self._connection.sendall(_LENGTH.pack(len(data)) + data)
        finally:
            self._sending.release()

    def receive(self) -> Message:
        """Wait for the next message.

        Raises:
            OSError: the connection is lost, or what comes is no message.
        """
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size))
        if length > _MOST_BYTES:
            raise ConnectionError("not a message of edgeemo")
        try:
            return _DECODER.decode(self._exactly(length))
        except msgspec.MsgspecError as error:
            raise ConnectionError("not a message of edgeemo") from error

    def limit(self, wait_s: float | None) -> None:
        """Let waiting end with an ``OSError`` after so long; None for never."""
        self._connection.settimeout(wait_s)

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        self._connection.close()

    def _exactly(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self._connection.recv(min(length - len(data), 1 << 20))
            if not part:
                raise ConnectionError("closed by the other side")
            data += part
        return bytes(data)
