"""HTML and SVG in which text can only be text: whatever is not ``Markup`` is escaped."""

from html import escape
from typing import Final

VOID: Final = frozenset({"meta", "line", "rect", "polyline", "circle"})


class Markup(str):
    """Text that is HTML or SVG already; made by ``tag`` and ``joined`` only."""

    __slots__ = ()


Content = str | int | float
Attribute = str | int | float


def tag(name: str, /, *content: Content, **attributes: Attribute) -> Markup:
    """Return an element; a trailing underscore is dropped from attributes, others become hyphens.

    Characters that HTML does not allow, such as NUL, are replaced by a visible sign.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
    )
    if name in VOID and not content:
        return Markup(f"<{name}{told}/>")
    return Markup(f"<{name}{told}>{joined(*content)}</{name}>")


def joined(*content: Content) -> Markup:
    """Return parts one after the other, escaped where they are plain text."""
    return Markup("".join(part if isinstance(part, Markup) else _text(part) for part in content))


def _text(value: Content) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    shown = "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)
    return escape(shown)
