"""The command's own diagnostics: stdlib logging on stderr, hence in the journal."""

import logging
import sys


def set_up_logging(*, debug: bool) -> None:
    """Send diagnostics to stderr, with their origin where somebody looks for a bug."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s" if debug else "%(message)s",
        stream=sys.stderr,
    )


def is_debugging() -> bool:
    """Tell whether errors shall come with their traceback."""
    return logging.getLogger().level == logging.DEBUG
