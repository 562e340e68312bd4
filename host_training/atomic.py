"""Files that appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from edge.files import replacing
from host_training.errors import TrainingError

CHECK: Final = "check that the folder exists, its permissions, and the free space"
"""What to do when any file cannot be written."""
RESUME: Final = "make room, and continue the run with --resume"
"""What to do when a run's file cannot be written."""


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], *, remedy: str = CHECK
) -> None:
    """Let ``write`` fill a file that appears under its name only when it is safe on the disk.

    Args:
        path: where the file shall appear, in place of an older one.
        write: fills the open binary file.
        remedy: the end of the message when that fails.

    Raises:
        TrainingError: the disk refuses; an older file of that name stays as it was.
    """
    try:
        with replacing(path) as file:
            write(file)
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"{path}: cannot be written ({reason}); {remedy}") from error
