"""What code and data are, in so many hexadecimal digits, to be compared between machines."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edge
import host_training


def code_fingerprint() -> str:
    """Return a hash of the Python code that a training run depends on: edgeemo's own."""
    hasher = hashlib.sha256()
    for package in (edge, host_training):
        for folder in map(Path, package.__path__):
            for path in sorted(folder.rglob("*.py")):
                hasher.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return hasher.hexdigest()[:16]


def digest(array: NDArray[Any] | None) -> str:
    """Return a hash of an array's bytes; ``none`` for none."""
    if array is None:
        return "none"
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
