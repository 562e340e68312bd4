"""Fixtures for tests that need a real bundle, whole or damaged."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import edge
from edge.contract.bundle import KNOWN, SUMS

DEFAULT = Path(edge.__file__).parent / "models" / "default"

AlterBundle = Callable[..., Path]


@pytest.fixture
def bundle_path(tmp_path: Path) -> Path:
    """A copy of the packaged bundle, to be damaged at will."""
    return shutil.copytree(DEFAULT, tmp_path / "bundle")


@pytest.fixture
def alter_bundle(bundle_path: Path) -> AlterBundle:
    """Replaces files of the copy and renews its sums, so that only the content is wrong."""

    def alter(**files: bytes) -> Path:
        for name, data in files.items():
            (bundle_path / f"{name}").write_bytes(data)
        sums = {name: hashlib.sha256((bundle_path / name).read_bytes()) for name in KNOWN}
        lines = [f"{digest.hexdigest()}  {name}\n" for name, digest in sums.items()]
        (bundle_path / SUMS).write_text("".join(lines))
        return bundle_path

    return alter
