"""Small data sets in the forms in which the real ones circulate."""

import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.contract.labels import FERPLUS_COLUMNS
from host_training.data.load import one_hot
from host_training.data.samples import Samples

Row = tuple[int, NDArray[np.uint8], str]


def picture(kind: int, seed: int) -> NDArray[np.uint8]:
    """Make a picture that shows its kind (0..7) plainly: stripes of a direction and a width."""
    generator = np.random.default_rng((kind, seed))
    y, x = np.mgrid[0:48, 0:48]
    angle = np.pi * (kind % 4) / 4
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * (0.4 if kind < 4 else 1.2))
    noisy = 128 + 70 * wave + generator.normal(0, 12, (48, 48))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def pixels(image: NDArray[np.uint8]) -> str:
    """Write a picture as FER2013 does."""
    return " ".join(map(str, image.ravel()))


@pytest.fixture
def write_csv() -> Callable[..., Path]:
    """Return a function that writes a FER2013 CSV."""

    def write(path: Path, rows: Sequence[Row], header: str = "emotion,pixels,Usage") -> Path:
        text = "".join(f"{emotion},{pixels(image)},{usage}\n" for emotion, image, usage in rows)
        data = f"{header}\n{text}".encode()
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return write


@pytest.fixture
def write_votes() -> Callable[..., Path]:
    """Return a function that writes FER+ votes: pairs of Usage and ten numbers."""

    def write(path: Path, rows: Sequence[tuple[str, Sequence[int]]]) -> Path:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["Usage", "Image name", *FERPLUS_COLUMNS])
            writer.writerows(
                [usage, f"fer{i}.png", *votes] for i, (usage, votes) in enumerate(rows)
            )
        return path

    return write


@pytest.fixture
def write_folders() -> Callable[..., Path]:
    """Return a function that writes class folders with ``number`` pictures each."""

    def write(path: Path, classes: Sequence[str], number: int, name: str = "{i}.png") -> Path:
        for kind, label in enumerate(classes):
            (path / label).mkdir(parents=True)
            for i in range(number):
                file = path / label / name.format(i=i, kind=kind)
                cv2.imwrite(str(file), picture(kind, i))
        return path

    return write


@pytest.fixture(scope="session")
def striped() -> Samples:
    """Return 48 training and 16 validation rows of four classes that are easy to tell apart."""
    class_ids = np.arange(64) % 4
    return Samples(
        images=np.stack([picture(int(kind), i) for i, kind in enumerate(class_ids)]),
        targets=one_hot(class_ids, 4),
        labels=("neutral", "happiness", "surprise", "sadness"),
        class_ids=class_ids,
        split=np.array(["Training"] * 48 + ["PublicTest"] * 16),
        name="stripes",
        form="made up",
        protocol="labels",
    )
