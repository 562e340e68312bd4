"""One process at a time in a run directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import ConfigError
from edge.files import lock_alone, open_to_lock
from host_training.errors import TrainingError


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run directory for as long as the block takes; a killed process lets go of it, too.

    Raises:
        ConfigError: another process trains in it.
        TrainingError: it cannot be opened.
    """
    try:
        handle = open_to_lock(path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be opened ({error.strerror})") from error
    try:
        try:
            lock_alone(handle)
        except OSError as error:
            raise ConfigError(
                f"{path}: another process is training in it; wait for it, or choose another --out"
            ) from error
        yield
    finally:
        os.close(handle)
