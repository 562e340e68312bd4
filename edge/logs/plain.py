"""Strings from a log, safe to show on a terminal: they may hold anything."""


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
