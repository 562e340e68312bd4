"""A progress bar on the standard error."""

import os
from collections.abc import Iterable, Iterator, Sized

from edgeemo.pictures import Source


def shown(
    pictures: Iterable[Source], given: str | os.PathLike[str] | Iterable[Source]
) -> Iterator[Source]:
    """Return the pictures, with a bar that moves as they are taken.

    Args:
        pictures: what is taken.
        given: what they were made of; its length is theirs, where it has one.
    """
    from rich.console import Console
    from rich.progress import track

    chosen = list(pictures) if isinstance(given, str | os.PathLike) else pictures
    total = len(chosen) if isinstance(chosen, Sized) else len(given) if isinstance(given, Sized) else None
    yield from track(chosen, "analyzing", total=total, console=Console(stderr=True))
