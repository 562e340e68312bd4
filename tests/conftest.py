"""What holds for every test, and what several packages test with: real bundles, pictures, films."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

import edge
from edge.assets.store import ASTRONAUT, asset_path
from edge.config import SourceConfig
from edge.contract.bundle import KNOWN, SUMS
from edge.sources.select import open_source

# Hypothesis fails an example that takes longer than 200 ms: on a busy machine that tells nothing
# about the code. Speed is measured in benchmarks/.
# Twenty-five examples of each property at a time, others each time; `make soak` tries more.
EXAMPLES = int(os.environ.get("EDGEEMO_EXAMPLES", "25"))
settings.register_profile("untimed", deadline=None, max_examples=EXAMPLES)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a name that holds an address: two processes would not collect the same tests."""
    if wrong := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"names that differ in each process; give ids=[...]: {wrong}")


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


@pytest.fixture(scope="session")
def photo() -> Path:
    """NASA's photo of Eileen Collins: one happy face."""
    return asset_path(ASTRONAUT)


@pytest.fixture(scope="session")
def pixels(photo: Path) -> NDArray[np.uint8]:
    """The same as OpenCV decodes it: BGR."""
    image = cv2.imread(str(photo))
    assert image is not None
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen frames of the moving face, without loss."""
    path = tmp_path_factory.mktemp("films") / "film.avi"
    source = open_source(SourceConfig("demo"))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (640, 480))
    assert writer.isOpened()
    for _ in range(16):
        frame = source.read()
        assert frame is not None
        writer.write(frame.image)
    writer.release()
    source.close()
    return path
