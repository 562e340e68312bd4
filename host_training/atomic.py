"""Files that appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

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
    # Beside the target: a rename is atomic within one file system only.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"{path}: cannot be written ({reason}); {remedy}") from error
