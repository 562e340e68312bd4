"""Keeping libraries from loading others that nobody here needs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


@contextmanager
def hidden(*names: str, stand_ins: dict[str, ModuleType] | None = None) -> Iterator[None]:
    """Make modules look absent, or empty, to what is imported inside the block.

    For optional imports only, which start-up time and a hundred megabytes may hang on. What is
    loaded already stays as it is, and after the block everything can be imported as ever.

    Args:
        *names: packages whose import shall fail as if they were not installed.
        stand_ins: modules to be found instead of the real ones, for an importer that insists.
    """
    wanted: dict[str, Any] = dict.fromkeys(names) | (stand_ins or {})
    absent = {name: module for name, module in wanted.items() if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)
