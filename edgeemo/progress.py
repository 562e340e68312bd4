"""Progress bars on the standard error."""

import os
from collections.abc import Iterable, Iterator, Sized
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edgeemo.pictures import Source


def shown(
    pictures: Iterable[Source], given: str | os.PathLike[str] | Iterable[Source]
) -> Iterator[Source]:
    """Return the pictures, with a bar that moves as they are taken.

    Args:
        pictures: what is taken.
        given: what they were made of; its length is theirs, where it has one.
    """
    chosen = list(pictures) if isinstance(given, str | os.PathLike) else pictures
    known = next((len(one) for one in (chosen, given) if isinstance(one, Sized)), None)
    with _progress() as progress:
        yield from progress.track(chosen, total=known, description="analyzing")


class FilesBar:
    """A bar of files that are done, with the frames that were analyzed; nothing off a terminal."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._task = self._progress.add_task("analyzing", total=None)

    def __call__(self, files: int, done: int, frames: int) -> None:
        """Show how many files there are, how many are done, and how many frames there were."""
        told = f"analyzing  {frames:,} frames"
        self._progress.update(self._task, total=files, completed=done, description=told)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
