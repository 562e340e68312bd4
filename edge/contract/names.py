"""File names as records carry them: text, whatever bytes a file system has in a name."""

import re
from typing import Final

_UNDECODABLE: Final = re.compile("[\udc80-\udcff]")
_ESCAPE: Final = re.compile(r"\\(\\|x[0-9a-f]{2})")


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
