"""Real pictures and films: the demo's photo, and a film made of the demo's frames."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edgeemo
from edge.assets.store import ASTRONAUT, asset_path
from edge.sources.select import open_source


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
    source = open_source("demo")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 25, (640, 480))
    assert writer.isOpened()
    for _ in range(16):
        frame = source.read()
        assert frame is not None
        writer.write(frame.image)
    writer.release()
    source.close()
    return path


@pytest.fixture(scope="module")
def analyzer() -> Iterator[edgeemo.Analyzer]:
    with edgeemo.Analyzer() as analyzer:
        yield analyzer


def pytest_configure(config: pytest.Config) -> None:
    """Let Keras speak of its own use of NumPy 2; every other warning stays an error."""
    config.addinivalue_line(
        "filterwarnings", "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    )
