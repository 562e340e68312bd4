"""Text of unknown origin, made fit for a line of a log or a terminal."""


def one_line(text: str, most: int = 1000) -> str:
    """Return ``text`` in one line of at most ``most`` characters, with nothing a terminal obeys."""
    line = " ".join(text.split())
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."
