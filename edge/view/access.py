"""Who may look: by the Host header, the origin and the token of a request.

A page of another site cannot read this one. A name that is made to point at this machine (DNS
rebinding) fails at the Host header, a request from another page at its origin, and everything
else at the token. Only a page without pictures, on the loopback address, needs none.
"""

import contextlib
import hashlib
import hmac
import ipaddress
import os
import platform
import secrets
import sys
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from edge.errors import ConfigError
from edge.files import open_regular

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_SHORTEST_TOKEN: Final = 16
_LONGEST_TOKEN: Final = 1000
_SAME_SITE: Final = frozenset({"", "same-origin", "none"})


class Access(msgspec.Struct, frozen=True):
    """The rules of one server.

    Attributes:
        hosts: names that a Host header may have, in lower case, without a port.
        any_address: any literal address is good, too: it cannot be rebound.
        token: what every request must know; None asks for none.
        cookie: the name of the cookie that shows it.
    """

    hosts: frozenset[str]
    any_address: bool
    token: str | None
    cookie: str

    def problem(self, headers: Mapping[str, str]) -> str:
        """Return why a request is refused whatever it knows, or nothing."""
        host = headers.get("host", "")
        if not self._knows(_hostname(host)):
            return "unknown Host header; open the page by its address, or give --allow-host NAME"
        origin = headers.get("origin")
        if origin is not None and (urlsplit(origin).netloc.lower() or origin) != host.lower():
            return "requests from other pages are refused"
        # Following a link to the page is no request of the other page's: it cannot read it.
        is_link = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == (
            "navigate",
            "document",
        )
        if headers.get("sec-fetch-site", "") not in _SAME_SITE and not is_link:
            return "requests from other pages are refused"
        return ""

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Tell whether a request knows the token: by its cookie or as a bearer."""
        if self.token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_token(bearer.strip()):
            return True
        with contextlib.suppress(CookieError):
            shown = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
            return shown is not None and _same(shown.value, self.proof())
        return False

    def is_token(self, text: str) -> bool:
        """Tell whether ``text`` is the token, in a time that does not depend on it."""
        return self.token is not None and _same(text, self.token)

    def proof(self) -> str:
        """Return the cookie's value, from which the token cannot be told."""
        key = (self.token or "").encode()
        return hmac.new(key, b"edgeemo view", hashlib.sha256).hexdigest()

    def _knows(self, name: str) -> bool:
        return bool(name) and (name in self.hosts or (self.any_address and _is_address(name)))


def rules(address: str, port: int, token: str | None, allowed: Iterable[str] = ()) -> Access:
    """Return the rules for a server that listens at a literal ``address``.

    Raises:
        ConfigError: others can reach it, and there is no token.
    """
    bound = _address(address)
    cookie = f"edgeemo-{port}"
    named = frozenset(name.lower() for name in allowed)
    if is_loopback(address):
        return Access(_LOOPBACK | {str(bound)} | named, False, token, cookie)
    if token is None:
        raise ConfigError(
            f"--bind {address}: others can reach this address, so the page must ask for a token; "
            "add --token-file FILE (it is made if there is none)"
        )
    device = platform.node().lower()
    hosts = _LOOPBACK | {str(bound), device, f"{device}.local"} | named
    return Access(hosts, bound.is_unspecified, token, cookie)


def is_loopback(address: str) -> bool:
    """Tell whether only this machine reaches a literal address."""
    return _address(address).is_loopback


def read_token(path: Path) -> str:
    """Return the token in a file, made with a random one if there is none.

    Raises:
        ConfigError: it cannot be read or made; it is a link or no file, belongs to another account,
            or others may read it; the token is too weak.
    """
    try:
        with contextlib.suppress(FileExistsError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                os.write(fd, secrets.token_urlsafe(18).encode("ascii") + b"\n")
            finally:
                os.close(fd)
        with os.fdopen(open_regular(path), "rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_LONGEST_TOKEN + 1)
    except OSError as error:
        raise ConfigError(f"token file {path}: {error.strerror}") from error
    _check_private(path, status)
    try:
        token = content.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"token file {path}: expected ASCII text") from error
    if (
        len(content) > _LONGEST_TOKEN
        or len(token) < _SHORTEST_TOKEN
        or not token.isprintable()
        or " " in token
    ):
        raise ConfigError(
            f"token file {path}: expected one word of at least {_SHORTEST_TOKEN} and at "
            f"most {_LONGEST_TOKEN} characters; remove the file to have one made"
        )
    return token


def own_token_file() -> Path:
    """Return where this account's token is kept: the same at every start, for a bookmark.

    Raises:
        ConfigError: its folder cannot be made.
    """
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        top = configured if configured.is_absolute() else Path.home() / ".local" / "state"
        folder = top / "edgeemo"
        folder.mkdir(0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # the latter: this account has no home
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"no place for the page's token ({reason}); give --token-file FILE, or --no-token"
        ) from error
    return folder / "view-token"


def _hostname(host: str) -> str:
    """Return the name or address in a Host header, in lower case; nothing if it makes no sense."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and not parts.username else ""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _check_private(path: Path, status: os.stat_result) -> None:
    if sys.platform == "win32":  # whose modes do not tell who may read it
        return
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"token file {path}: it belongs to another account, which knows the token; "
            "give a file of your own"
        )
    if status.st_mode & 0o077:
        raise ConfigError(f"token file {path}: others may read or change it; chmod 600 it")
