"""Reads the events of a stream, as a browser does."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


class Events:
    """Iterating gives ``(kind, content)`` of the events in a stream's lines.

    Args:
        lines: of bytes, as they come.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        kind = ""
        for line in self._lines:
            name, _, value = line.rstrip(b"\n").partition(b": ")
            if name == b"event":
                kind = value.decode()
            elif name == b"data":
                yield kind, json.loads(value)

    def next(self, wanted: str) -> Any:
        """Return the content of the next event of a kind."""
        return next(content for kind, content in self if kind == wanted)
