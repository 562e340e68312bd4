"""The files beside the code: units for systemd, and the versions that were tested together."""

from importlib import resources
from pathlib import Path


def packaged_file(name: str) -> Path | None:
    """Return ``systemd`` or ``constraints.txt``: the wheel's own, else the checkout's, else None.

    ``pyproject.toml`` puts them into the wheel.
    """
    package = Path(str(resources.files("deploy")))
    candidates = (package / name, package.parent / name)
    return next((path for path in candidates if path.exists()), None)
