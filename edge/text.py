"""Text of unknown origin, made fit for a line of a log or a terminal."""

import re
from datetime import UTC, datetime
from typing import Final

_UNDECODABLE: Final = re.compile("[\udc80-\udcff]")
_ESCAPE: Final = re.compile(r"\\(\\|x[0-9a-f]{2})")


def one_line(text: str, most: int = 1000) -> str:
    """Return ``text`` in one line of at most ``most`` characters, with nothing a terminal obeys."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def plain(text: object, limit: int = 60) -> str:
    """Return ``text`` on one line, with what a terminal would act upon written out as escapes.

    Newlines, escape sequences and characters that turn the direction of writing are not printable
    in Unicode's sense.
    """
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in str(text)[: limit + 1]
    )
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def without_secrets(url: str) -> str:
    """Return a stream's address without user, password and query, fit for logs and messages."""
    from urllib.parse import urlsplit, urlunsplit

    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def escaped(name: str) -> str:
    r"""Return a name as text that every JSON has room for; ``unescaped`` takes it back.

    A byte that is not UTF-8 (Python has it as a lone surrogate, PEP 383) becomes ``\xNN``, and a
    backslash two; all other names stay as they are.
    """
    return readable(name.replace("\\", "\\\\"))


def readable(message: str) -> str:
    """Return a message that may hold names as text for people; not to be taken back."""
    return _UNDECODABLE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", message)


def unescaped(text: str) -> str:
    """Return the name that ``escaped`` made ``text`` of, as Python's file functions take it."""

    def one(found: re.Match[str]) -> str:
        code = found[1]
        return "\\" if code == "\\" else chr(0xDC00 + int(code[1:], 16))

    return _ESCAPE.sub(one, text)


def utc_text(moment: datetime) -> str:
    """Return ``moment`` in UTC as ``2026-01-31T12:00:00.123Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
