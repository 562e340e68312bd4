"""Where a command is asked to write: looked at before it begins, for some take hours."""

from pathlib import Path
from typing import Final

from edge.errors import ConfigError

STDOUT: Final = Path("-")


def in_a_folder(path: Path | None) -> Path | None:
    """Return the path of a file to write, of an option that may be left out.

    Raises:
        ConfigError: the folder that it should lie in is not there.
    """
    if path not in {None, STDOUT} and not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it, or name another")
    return path
