"""Which devices: ``user@host[:port]``, ``@local``, or a file of them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from deploy.errors import DeployError

LOCAL: Final = "@local"
# Names end up in ssh's command line and in ProxyCommand lines of the user's ssh configuration,
# which a shell reads: nothing but these characters is let in.
_TARGET: Final = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_PREFIX: Final = re.compile(r"(?:/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, slots=True)
class Target:
    """One device; what is None is left to the user's ssh configuration."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether it is this machine itself, reached without ssh."""
        return self.host == LOCAL

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{user}{self.host}{port}"


def parse_target(text: str) -> Target:
    """Read one target.

    Raises:
        DeployError: no target, or one with characters that no host name has.
    """
    if text == LOCAL:
        return Target(LOCAL)
    match = _TARGET.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise DeployError(f"{text!r} is no target; expected user@host, user@host:port or {LOCAL}")
    return Target(match["host"].strip("[]"), match["user"], port)


def check_prefix(text: str) -> str:
    """Return a prefix that can stand in a unit file and a command.

    Raises:
        DeployError: not an absolute path of plain characters.
    """
    if not _PREFIX.fullmatch(text) or {".", ".."} & set(PurePosixPath(text).parts):
        raise DeployError(
            f"{text!r} cannot be a prefix; expected an absolute path of letters, digits, and ._-"
        )
    return text
