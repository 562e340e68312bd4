"""Libraries that edgeemo gives its results to, but does not need."""

from importlib import import_module
from typing import Any

from edge.errors import MissingExtraError


def need(module: str, remedy: str, for_what: str) -> Any:
    """Import a library that is not one of edgeemo's own.

    Raises:
        MissingExtraError: it is not installed; the message has the remedy.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{for_what} needs {module}, which cannot be imported ({error}); {remedy}"
        ) from error


def first_of(modules: tuple[str, ...], for_what: str) -> Any:
    """Import the first of several libraries that is there.

    Raises:
        MissingExtraError: none is.
    """
    for module in modules:
        try:
            return import_module(module)
        except ImportError:
            continue
    names = " or ".join(modules)
    raise MissingExtraError(f"{for_what} needs {names}; pip install {modules[0]}")
