"""A prepared folder: the mesh, blendshapes and aligned crop of every picture of a data set.

::

    DIR/prepared.json              what was prepared, and what was found: ``PreparedRecord``
    DIR/meshes-RECIPE/NAME.npz     up to 256 pictures each: ``keys`` uint8 (n, 16), ``found`` bool
                                   (n,), ``points`` float32 (n, 478, 3), ``blendshapes`` float32
                                   (n, 52), ``crops`` uint8 (n, 48, 48); see ``Meshed``

Pictures are found by their content (``picture_keys``), so one folder serves every split, protocol
and order of a data set, and other data sets that share pictures with it.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48
from edge.contract.mesh_features import FEATURE_COUNT, mesh_features
from edge.contract.metadata import Crops, Dataset
from edge.errors import not_there
from host_training.atomic import write_atomically
from host_training.data.find_faces import Meshed
from host_training.data.samples import Samples, picture_keys
from host_training.errors import DataError

RECORD: Final = "prepared.json"
FORMAT: Final = 2
"""Raise it when the mesher's code, the alignment or the files change what a picture gives."""
AGAIN: Final = "run `edgeemo data prepare` on this data with that --out"
ROOM: Final = "make room, and run the same command again: it continues"


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What, besides the picture, decides about a result.

    Attributes:
        mesher: its name, such as ``litert``.
        model_sha256: of the face model's file.
        min_detection: what a detection must score.
        min_presence: what a mesh must score to be a face.
        template_id: of the alignment.
        format_version: of the files.
    """

    mesher: str
    model_sha256: str
    min_detection: float
    min_presence: float
    template_id: str = FER48.template_id
    format_version: int = FORMAT

    def digest(self) -> str:
        """Return 12 hexadecimal digits that stand for this recipe."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]


class PreparedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``prepared.json``; written when every picture is there.

    Attributes:
        recipe: how it was made.
        dataset: the rows that it was made for.
        pictures: distinct ones among them.
        rows_with_face: rows in which a face was found.
        rows_without_face: the others: split, then label (``excluded`` where the protocol gives
            none), then their number. They keep the raw picture as crop and have no mesh features.
    """

    recipe: Recipe
    dataset: Dataset
    pictures: int
    rows_with_face: int
    rows_without_face: dict[str, dict[str, int]]


class Meshes:
    """The meshes of one recipe in a prepared folder.

    Args:
        folder: the prepared folder.
        recipe: which of them.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.path = folder / f"meshes-{recipe.digest()}"

    def found(self) -> dict[bytes, bool]:
        """Return for each picture's key whether a face was found.

        Raises:
            DataError: a file is damaged.
        """
        known: dict[bytes, bool] = {}
        for file in self._files():
            arrays = _read(file, ("keys", "found"))
            known.update(zip(_as_bytes(arrays["keys"]), arrays["found"].tolist(), strict=True))
        return known

    def each(self) -> Iterator[tuple[list[bytes], Meshed]]:
        """Yield keys and what was found, a file at a time.

        Raises:
            DataError: a file is damaged.
        """
        for file in self._files():
            arrays = _read(file, ("keys", "found", "points", "blendshapes", "crops"))
            keys = _as_bytes(arrays.pop("keys"))
            try:
                yield keys, Meshed(**arrays)
            except ValueError as error:
                raise DataError(f"{file}: damaged ({error}); delete it and {AGAIN}") from error

    def add(self, keys: NDArray[np.void], meshed: Meshed) -> None:
        """Write results in one step: they are on the disk, or not there at all.

        Raises:
            TrainingError: the disk refuses.
        """
        raw = keys.view(np.uint8).reshape(len(keys), -1)
        name = hashlib.blake2b(raw.tobytes(), digest_size=8).hexdigest()
        write_atomically(
            self.path / f"{name}.npz",
            lambda file: np.savez(
                file,
                keys=raw,
                found=meshed.found,
                points=meshed.points,
                blendshapes=meshed.blendshapes,
                crops=meshed.crops,
            ),
            remedy=ROOM,
        )

    def _files(self) -> list[Path]:
        # A file that is being written, or was when its writer died, has a name with a dot in front.
        return sorted(file for file in self.path.glob("*.npz") if not file.name.startswith("."))


def with_prepared(samples: Samples, folder: Path, crops: Crops = "raw") -> Samples:
    """Add the mesh features of a prepared folder to rows, and take its crops if asked to.

    Args:
        samples: any rows of the data set that the folder was prepared for.
        folder: of `edgeemo data prepare`.
        crops: ``aligned`` replaces each picture by its aligned crop, ``both`` adds that; a picture
            without a face stays as it is.

    Raises:
        DataError: no prepared folder, a damaged file, or pictures that are not in it.
    """
    meshes = Meshes(folder, read_record(folder).recipe)
    rows_of = _rows_by_key(samples)
    features = np.full((len(samples), FEATURE_COUNT), np.nan, np.float32)
    aligned = None if crops == "raw" else np.array(samples.images)
    for keys, meshed in meshes.each():
        for i, key in enumerate(keys):
            rows = rows_of.pop(key, None)
            if rows is None or not meshed.found[i]:
                continue
            features[rows] = mesh_features(meshed.points[i], meshed.blendshapes[i])
            if aligned is not None:
                aligned[rows] = meshed.crops[i]
    _check_none_missing(samples, folder, len(rows_of))
    if crops == "aligned" and aligned is not None:
        return replace(samples, images=aligned, mesh=features, crops=crops)
    return replace(samples, mesh=features, crops=crops, aligned=aligned)


def faces_found(samples: Samples, folder: Path) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: whether a face was found in each row's picture.

    Raises:
        DataError: no prepared folder, a damaged file, or pictures that are not in it.
    """
    known = Meshes(folder, read_record(folder).recipe).found()
    answers = [known.get(bytes(key)) for key in picture_keys(samples.images)]
    missing = {key for key in _rows_by_key(samples) if key not in known}
    _check_none_missing(samples, folder, len(missing))
    return np.array(answers, bool)


def without_face(samples: Samples, found: NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """Count the rows without a face by split and label, ``excluded`` for those without a label."""
    counts = {}
    for split in samples.splits:
        rows = samples.where((samples.split == split) & ~found)
        excluded = int((~rows.measurable).sum())
        counts[split] = rows.counts() | ({"excluded": excluded} if excluded else {})
    return counts


def read_record(folder: Path) -> PreparedRecord:
    """Read ``prepared.json``.

    Raises:
        DataError: missing or damaged.
    """
    file = folder / RECORD
    try:
        return msgspec.json.decode(file.read_bytes(), type=PreparedRecord)
    except OSError as error:
        what = DataError(
            f"{file}: cannot be read ({error.strerror}); expected a complete prepared folder: "
            f"{AGAIN}"
        )
        raise not_there(what, error) from error
    except msgspec.DecodeError as error:
        raise DataError(f"{file}: damaged or of another version ({error}); {AGAIN}") from error


def _rows_by_key(samples: Samples) -> dict[bytes, list[int]]:
    rows: dict[bytes, list[int]] = {}
    for i, key in enumerate(picture_keys(samples.images)):
        rows.setdefault(bytes(key), []).append(i)
    return rows


def _check_none_missing(samples: Samples, folder: Path, missing: int) -> None:
    if missing:
        raise DataError(
            f"{folder}: {missing} pictures of {samples.name} are not in this prepared folder; "
            f"{AGAIN}: it adds them"
        )


def _as_bytes(keys: NDArray[Any]) -> list[bytes]:
    return [bytes(key) for key in keys]


def _read(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: np.load leaves a file that it cannot read open.
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{file}: damaged ({error}); delete it and {AGAIN}") from error
