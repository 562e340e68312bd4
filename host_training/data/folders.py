"""Folders of class folders, CK+48 among them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.errors import LabelError
from edge.contract.labels import canonical
from host_training.data.fer2013 import SIDE
from host_training.errors import DataError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".pgm"})

_CK_NAME: Final = re.compile(r"(?P<subject>S\d{3})_(?P<session>\d{3})_(?P<frame>\d{8})")
"""CK+ names: SUBJECT_SESSION_FRAME (Lucey et al. 2010)."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderRows:
    """Pictures uint8 ``(n, 48, 48)``, one canonical name each, and subjects if all names tell."""

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    subjects: tuple[str, ...] | None


def read_class_folders(path: Path) -> FolderRows:
    """Read ``path/CLASS/picture``; pictures of any size become grey and 48 x 48.

    Raises:
        DataError: no class folder, a folder whose name is no emotion, a class without a picture,
            or a picture that can not be read; each by name.
    """
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{path}: no class folders in it; expected one a class, such as happy/")
    files: list[Path] = []
    names: list[str] = []
    for folder in folders:
        label = _label(folder)
        pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if not pictures:
            raise DataError(f"{folder}: no picture in it; expected {', '.join(sorted(SUFFIXES))}")
        files += pictures
        names += [label] * len(pictures)
    images = np.stack([_picture(file) for file in files])
    return FolderRows(images, tuple(names), _subjects(files))


def _label(folder: Path) -> str:
    try:
        return canonical(folder.name)
    except LabelError as error:
        raise DataError(f"{folder}: {error}") from error


def _picture(file: Path) -> NDArray[np.uint8]:
    # Not cv2.imread: it prints to stderr when a file is missing or damaged.
    data = np.fromfile(file, np.uint8)
    colour = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if colour is None:
        raise DataError(f"{file}: not a readable picture; remove it or copy it again")
    # Grey as the device makes it; a decoder's own grey differs by a level or two.
    image = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    if image.shape != (SIDE, SIDE):
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _subjects(files: list[Path]) -> tuple[str, ...] | None:
    """Return who is in each picture if every name is of the CK+ form."""
    matches = [_CK_NAME.fullmatch(file.stem) for file in files]
    found = tuple(match["subject"] for match in matches if match)
    return found if len(found) == len(files) else None
