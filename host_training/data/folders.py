"""Folders of class folders, CK+48 and the folders of FER2013 and AffectNet among them."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS, label_of, stripped_of_number
from edge.errors import LabelError, PictureError
from edge.media.pictures import FORMS, is_meant_as_picture, listed, open_picture
from host_training.data.fer2013 import SIDE
from host_training.data.samples import HELD_OUT, TRAINING, VALIDATION
from host_training.errors import DataError

_log = logging.getLogger(__name__)

SPLITS: Final = {
    "train": TRAINING,
    "training": TRAINING,
    "val": HELD_OUT,
    "valid": HELD_OUT,
    "validation": HELD_OUT,
    "publictest": VALIDATION,
    "test": "Test",
    "testing": "Test",
    "privatetest": "PrivateTest",
}
"""Folders above the class folders, in lower case and without blanks, and the splits they are."""

_CK_NAME: Final = re.compile(r"(?P<subject>S\d{3})_(?P<session>\d{3})_(?P<frame>\d{8})")
"""CK+ names: SUBJECT_SESSION_FRAME (Lucey et al. 2010)."""
_MOST_SKIPPED: Final = 0.05
"""A larger share that cannot be read is no mishap: the data was not copied as it should be."""
_FEW_SKIPPED: Final = 3
"""So many are a mishap, however small the data is."""
_FOREIGN: Final = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"}
)
"""Folders that macOS' archives, network drives and systems leave, in lower case."""


@dataclass(frozen=True, slots=True, eq=False)
class FolderRows:
    """What a folder of class folders holds.

    Attributes:
        images: uint8 ``(n, 48, 48)``, grey.
        files: where each was read from.
        names: the canonical emotion of each.
        splits: the split of each; all ``Training`` where there are no split folders.
        split_folders: the split folders, as they are spelt, each with its split; may be empty.
        subjects: who is in each picture, if all names tell.
        ignored: files beside the pictures that are none.
        skipped: pictures that cannot be read: damaged, too large, or only called so.
    """

    images: NDArray[np.uint8]
    files: tuple[Path, ...]
    names: tuple[str, ...]
    splits: tuple[str, ...]
    split_folders: dict[str, str]
    subjects: tuple[str, ...] | None
    ignored: int
    skipped: int


@dataclass(frozen=True, slots=True)
class _ClassFolder:
    path: Path
    label: str
    split: str


def read_class_folders(path: Path, names: Mapping[str, str] | None = None) -> FolderRows:
    """Read ``path/CLASS/picture`` or ``path/SPLIT/CLASS/picture``.

    A class folder's name is any spelling of an emotion, or a class of one's own, with or without a
    number in front; ``names`` says what foreign ones mean. Pictures of any size become grey and
    48 x 48.

    Raises:
        DataError: no class folder, a folder whose name no class can have, two of one class, split
            folders beside class folders, a class without a picture that can be read, or too many
            pictures that cannot; each by name.
    """
    top = _folders(path, path)
    split_folders = {p.name: SPLITS[_key(p)] for p in top if _key(p) in SPLITS}
    if split_folders:
        classes = _in_split_folders(path, top, split_folders, names)
    else:
        classes = _classes(top, TRAINING, names)
    _check_own(classes)
    read = [_pictures(folder.path) for folder in classes]
    files = [file for pictures in read for file in pictures.files]
    skipped = [file for pictures in read for file in pictures.skipped]
    _check_share(path, skipped, len(files) + len(skipped))
    counts = [(folder, len(pictures.files)) for folder, pictures in zip(classes, read, strict=True)]
    return FolderRows(
        images=np.stack([image for pictures in read for image in pictures.images]),
        files=tuple(files),
        names=tuple(folder.label for folder, count in counts for _ in range(count)),
        splits=tuple(folder.split for folder, count in counts for _ in range(count)),
        split_folders=split_folders,
        subjects=_subjects(files),
        ignored=sum(pictures.ignored for pictures in read),
        skipped=len(skipped),
    )


def _key(folder: Path) -> str:
    return re.sub(r"[-_ ]", "", folder.name.lower())


def _is_foreign(folder: Path) -> bool:
    """Tell the folders that archives, cameras' cards and network drives bring along."""
    return folder.name.startswith(".") or folder.name.lower() in _FOREIGN


def _folders(path: Path, root: Path) -> list[Path]:
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not _is_foreign(p))
    if not folders:
        tables = sorted(p.name for p in root.iterdir() if ".csv" in p.suffixes)
        hint = f"it holds {', '.join(tables)}: give that file" if tables else "such as happy/"
        raise DataError(f"{path}: no class folders in it; expected one a class, {hint}")
    return folders


def _in_split_folders(
    path: Path, top: list[Path], split_folders: dict[str, str], names: Mapping[str, str] | None
) -> list[_ClassFolder]:
    if odd := [p.name for p in top if p.name not in split_folders]:
        raise DataError(
            f"{path}: split folders ({', '.join(split_folders)}) beside others "
            f"({', '.join(odd)}); expected either split folders or class folders"
        )
    if len(set(split_folders.values())) < len(split_folders):
        told = ", ".join(f"{name} is {split}" for name, split in split_folders.items())
        raise DataError(f"{path}: two folders for one split ({told}); merge them or move one away")
    order = list(dict.fromkeys(SPLITS.values()))
    ordered = sorted(split_folders.items(), key=lambda item: order.index(item[1]))
    return [
        folder
        for name, split in ordered
        for folder in _classes(_folders(path / name, path / name), split, names)
    ]


def _classes(
    folders: Iterable[Path], split: str, names: Mapping[str, str] | None
) -> list[_ClassFolder]:
    seen: dict[str, Path] = {}
    for folder in folders:
        label = _label(folder, names)
        if label in seen:
            raise DataError(
                f"{folder}: {folder.name} and {seen[label].name} both mean {label}; merge them "
                "into one folder"
            )
        seen[label] = folder
    return [_ClassFolder(folder, label, split) for label, folder in seen.items()]


def _check_own(classes: list[_ClassFolder]) -> None:
    """Refuse a class of one's own that is the only one: more likely it is no data set."""
    first = classes[0]
    if {folder.label for folder in classes} == {first.label} and first.label not in EMOTIONS:
        inner = [p.name for p in first.path.iterdir() if p.is_dir() and not _is_foreign(p)]
        remedy = f"; if its folders ({listed(sorted(inner))}) are meant, give {first.path}"
        raise DataError(
            f"{first.path}: unknown emotion {first.path.name!r}, and the only class; expected "
            f"{', '.join(EMOTIONS)}, or two classes of your own or more{remedy if inner else ''}"
        )


def _label(folder: Path, names: Mapping[str, str] | None) -> str:
    if folder.name.isdecimal() and folder.name not in (names or {}):
        raise DataError(
            f"{folder}: a number is no emotion: it means another one in every data set; rename the "
            "folder, for instance to happy"
        )
    try:
        return label_of(stripped_of_number(folder.name), names)
    except LabelError as error:
        raise DataError(f"{folder}: {error}") from error


class _Pictures(NamedTuple):
    """The pictures of one class that can be read, those that cannot, and how much lies beside."""

    files: list[Path]
    images: list[NDArray[np.uint8]]
    skipped: list[Path]
    ignored: int


def _pictures(folder: Path) -> _Pictures:
    """Read a class; a picture that cannot be read is named and left out."""
    things = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    meant = [p for p in things if p.is_file() and is_meant_as_picture(p)]
    if not meant:
        raise DataError(f"{folder}: no picture in it; expected {', '.join(FORMS)}")
    if others := [p.name for p in things if p not in set(meant)]:
        _log.info("%s: skipped, no pictures: %s", folder, listed(others))
    read = {file: image for file in meant if (image := _picture(file)) is not None}
    skipped = [file for file in meant if file not in read]
    if not read:
        raise DataError(f"{folder}: none of its {len(meant)} pictures can be read")
    _check_share(folder, skipped, len(meant))
    return _Pictures(list(read), list(read.values()), skipped, len(others))


def _check_share(folder: Path, skipped: Sequence[Path], count: int) -> None:
    """Refuse data that has lost so much that its figures would be of other data."""
    if len(skipped) <= _FEW_SKIPPED or len(skipped) <= _MOST_SKIPPED * count:
        return
    names = listed([file.name for file in skipped])
    raise DataError(
        f"{folder}: {len(skipped)} of {count} pictures cannot be read ({names}), expected at most "
        f"{_MOST_SKIPPED:.0%}; copy or download the data again, or remove these files"
    )


def read_pictures(files: Sequence[Path], where: Path) -> dict[Path, NDArray[np.uint8]]:
    """Read listed pictures as grey 48 x 48; those that cannot be read are named and left out.

    Raises:
        DataError: too many cannot.
    """
    read = {file: image for file in files if (image := _picture(file)) is not None}
    _check_share(where, [file for file in files if file not in read], len(files))
    if not read:
        raise DataError(f"{where}: none of its {len(files)} pictures can be read")
    return read


def _picture(file: Path) -> NDArray[np.uint8] | None:
    try:
        picture = open_picture(file)
    except PictureError as error:
        _log.warning("%s: skipped", error)
        return None
    if picture.moves:
        _log.warning("%s: this %s moves: its first picture is used", file, picture.form)
    # Grey as the device makes it; a decoder's own grey differs by a level or two.
    image = cv2.cvtColor(picture.image, cv2.COLOR_BGR2GRAY)
    if image.shape != (SIDE, SIDE):
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(image, np.uint8)


def _subjects(files: list[Path]) -> tuple[str, ...] | None:
    """Return who is in each picture if every name is of the CK+ form."""
    matches = [_CK_NAME.fullmatch(file.stem) for file in files]
    found = tuple(match["subject"] for match in matches if match)
    return found if len(found) == len(files) else None
