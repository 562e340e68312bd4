"""How many may be connected, and for how long: a neighbour cannot take every place or descriptor.

Whoever has not shown the token yet is a stranger. A stranger has seconds for one whole request, and
makes room for the next one when places are short, the oldest first; who has shown it never does.
"""

import asyncio
import ipaddress
import os
import sys
import time
from collections import OrderedDict
from typing import Any, Final

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import ConfigError

MOST: Final = 128
"""Connections at a time."""
BACKLOG: Final = 16
"""Connections that wait to be accepted, and are accepted in one go."""
STRANGERS: Final = 32
"""Strangers of one address at a time."""
REQUEST_S: Final = 5.0
"""Within this time a stranger's whole request comes and is answered."""
IDLE_S: Final = 10.0
"""After an admitted request a connection stays for so long, whatever trickles in; a browser that
finds it closed opens another."""

_RESERVED: Final = 32
_FEWEST: Final = 8
_VISITOR: Final = "edgeemo.visitor"
_REFUSALS: Final = 100.0
_REFUSALS_PER_S: Final = 2.0
_ADDRESSES: Final = 1024


def places() -> int:
    """Return how many connections there is room for; the pipeline's descriptors are kept free.

    Raises:
        ConfigError: hardly any.
    """
    if sys.platform == "win32":  # where sockets are no files
        return MOST
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MOST
    room = limit - len(os.listdir("/dev/fd")) - _RESERVED - 2 * BACKLOG  # noqa: PTH208
    if room < _FEWEST:
        raise ConfigError(
            f"{limit} open files are allowed, which leaves no room for a page; "
            "raise the limit: ulimit -n 1024"
        )
    return min(MOST, room)


class Door:
    """Lets connections in; used in the server's thread alone.

    Args:
        most: connections at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: dict[Visitor, None] = {}  # the oldest first

    def enter(self, newcomer: "Visitor") -> bool:
        """Give a place to a connection; False: there is none."""
        strangers: dict[str, list[Visitor]] = {}
        for visitor in self._inside:
            if visitor.is_stranger:
                strangers.setdefault(visitor.address, []).append(visitor)
        same = strangers.get(newcomer.address, [])
        if len(same) >= STRANGERS:
            same[0].drop()
        elif len(self._inside) >= self._most:
            if not strangers:
                return False
            max(strangers.values(), key=len)[0].drop()
        self._inside[newcomer] = None
        return True

    def leave(self, visitor: "Visitor") -> None:
        """Take a place back."""
        self._inside.pop(visitor, None)


class Visitor(H11Protocol):
    """One connection, which ends when its time is over.

    Attributes:
        address: where it comes from; see ``network``.
        is_stranger: it has not shown the token yet.
    """

    def __init__(self, *args: Any, door: Door, **options: Any) -> None:
        super().__init__(*args, **options)
        self._door = door
        self._app = self.app
        self.app = self._introduced
        self._end: asyncio.TimerHandle | None = None
        self.address = ""
        self.is_stranger = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or go."""
        super().connection_made(transport)
        self.address = network(self.client)
        if self._door.enter(self):
            self.stay(REQUEST_S)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self.stay(None)
        self._door.leave(self)
        super().connection_lost(exc)

    def stay(self, seconds: float | None) -> None:
        """End so long from now; None: not by itself."""
        if self._end is not None:
            self._end.cancel()
        self._end = None if seconds is None else self.loop.call_later(seconds, self.drop)

    def drop(self) -> None:
        """End at once, whatever is on its way."""
        self._door.leave(self)
        self.transport.abort()

    async def _introduced(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), _VISITOR: self}
        await self._app(scope, receive, send)


def admit(scope: Scope) -> None:
    """Let the connection of an admitted request stay for the next one."""
    if visitor := _visitor(scope):
        visitor.is_stranger = False
        visitor.stay(IDLE_S)


def watch(scope: Scope, *, is_watching: bool) -> None:
    """Let a connection stay for as long as it is streamed to; who sends looks after it."""
    if visitor := _visitor(scope):
        visitor.stay(None if is_watching else IDLE_S)


def _visitor(scope: Scope) -> Visitor | None:
    visitor: Visitor | None = scope.get("extensions", {}).get(_VISITOR)
    return visitor


def network(client: tuple[str, int] | None) -> str:
    """Return what counts as one address: for IPv6 its /64, all of which one machine may use."""
    host = client[0].partition("%")[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4 or address.is_loopback:
        return host
    return str(ipaddress.ip_network((host, 64), strict=False))


class Refusals:
    """Counts the refused requests of each address: a hundred at once, then two a second."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def is_too_many(self, client: tuple[str, int] | None) -> bool:
        """Count one more, and tell whether it was one too many."""
        address, now_s = network(client), time.monotonic()
        left, since_s = self._left.pop(address, (_REFUSALS, now_s))
        left = min(_REFUSALS, left + (now_s - since_s) * _REFUSALS_PER_S)
        self._left[address] = max(0.0, left - 1.0), now_s
        if len(self._left) > _ADDRESSES:
            self._left.popitem(last=False)
        return left < 1.0
