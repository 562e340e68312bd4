"""``Seen``: what there is to classify in samples; and where it is kept for the next time.

::

    DIR/pipeline-RECIPE/NAME.npz   ``keys`` uint8 (n, 16) and the arrays of a ``Seen``

Pictures are found by the content of their files, so one folder serves every split, protocol and
data set; RECIPE stands for everything else that decides about what is seen.
"""

import hashlib
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48
from edge.contract.mesh_features import FEATURE_COUNT
from host_training.atomic import write_atomically
from host_training.errors import DataError

OK: Final = "ok"
NOT_FOUND: Final = "not_found"
"""Beside the device's own words for a face that it does not classify."""

_A_FILE: Final = 512
"""Pictures that are written at a time, and that are lost when the process is stopped."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What there is to classify in ``n`` samples.

    Attributes:
        quality: str ``(n,)``: ``ok``, ``not_found``, or why a device does not classify the face.
        crops: uint8 ``(n, 48, 48)``, zeros where the quality is not ``ok``.
        mesh: float32 ``(n, FEATURE_COUNT)``, NaN where there is none; ``(n, 0)`` where nobody asked
            for it.
        boxes: float32 ``(n, 4)``: x1, y1, x2, y2 of the face in pixels of the full picture, NaN
            where it was not found or not looked for.
    """

    quality: NDArray[np.str_]
    crops: NDArray[np.uint8]
    mesh: NDArray[np.float32]
    boxes: NDArray[np.float32]

    @property
    def is_classified(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: there is a crop."""
        return np.asarray(self.quality == OK)

    @property
    def is_found(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: there is a face."""
        return np.asarray(self.quality != NOT_FOUND)

    def not_classified(self) -> dict[str, int]:
        """Count the samples that are not classified, by the reason."""
        names, counts = np.unique(self.quality[~self.is_classified], return_counts=True)
        return {str(name): int(n) for name, n in zip(names, counts, strict=True)}

    def put(self, rows: NDArray[np.int64], part: "Seen") -> None:
        """Set some samples to what was seen in them."""
        for column in fields(self):
            getattr(self, column.name)[rows] = getattr(part, column.name)


def nothing_seen(n: int, *, with_mesh: bool) -> Seen:
    """Return a ``Seen`` of ``n`` samples without a face, to be filled."""
    return Seen(
        np.full(n, NOT_FOUND, "U16"),
        np.zeros((n, FER48.size, FER48.size), np.uint8),
        np.full((n, FEATURE_COUNT if with_mesh else 0), np.nan, np.float32),
        np.full((n, 4), np.nan, np.float32),
    )


class SeenStore:
    """What was seen in pictures, by their keys: 16 bytes each.

    Args:
        folder: of `edgeemo data prepare`, or any other; made if it is not there.
        recipe: stands for all that decides about what is seen, beside the picture.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        self._path = folder / f"pipeline-{recipe}"
        self._known: dict[bytes, tuple[Any, ...]] | None = None
        self._unsaved: list[tuple[bytes, tuple[Any, ...]]] = []

    def fill(self, seen: Seen, keys: list[bytes]) -> NDArray[np.int64]:
        """Set the samples whose keys are known, and return the indices of the others.

        Raises:
            DataError: a file is damaged.
        """
        if self._known is None:
            self._known = self._read()
        columns = [getattr(seen, column.name) for column in fields(seen)]
        unknown = []
        for i, key in enumerate(keys):
            values = self._known.get(key)
            if values is None:
                unknown.append(i)
                continue
            for column, value in zip(columns, values, strict=True):
                column[i] = value
        return np.array(unknown, np.int64)

    def add(self, keys: list[bytes], seen: Seen) -> None:
        """Keep what was seen; it is on the disk after ``save``, or some more of it.

        Raises:
            TrainingError: the disk refuses.
        """
        self._unsaved += zip(keys, _rows(seen), strict=True)
        if len(self._unsaved) >= _A_FILE:
            self.save()

    def save(self) -> None:
        """Write what is not written yet.

        Raises:
            TrainingError: the disk refuses.
        """
        if not self._unsaved:
            return
        raw = np.frombuffer(b"".join(key for key, _ in self._unsaved), np.uint8).reshape(-1, 16)
        columns = zip(*(values for _, values in self._unsaved), strict=True)
        names = [column.name for column in fields(Seen)]
        arrays: dict[str, Any] = dict(zip(names, map(np.stack, columns), strict=True))
        name = hashlib.blake2b(raw.tobytes(), digest_size=8).hexdigest()
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self._path}: cannot be made ({error.strerror})") from error
        write_atomically(
            self._path / f"{name}.npz",
            lambda file: np.savez_compressed(file, keys=raw, **arrays),
            remedy="make room, and run the same command again: it continues",
        )
        if self._known is not None:
            self._known.update(self._unsaved)
        self._unsaved = []

    def _read(self) -> dict[bytes, tuple[Any, ...]]:
        known: dict[bytes, tuple[Any, ...]] = {}
        for file in sorted(self._path.glob("[!.]*.npz")):
            try:
                with file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
                    seen = Seen(*(arrays[column.name] for column in fields(Seen)))
                    known.update(zip(map(bytes, arrays["keys"]), _rows(seen), strict=True))
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise DataError(
                    f"{file}: damaged ({error}); delete it and run the same command again"
                ) from error
        return known


def _rows(seen: Seen) -> Any:
    columns = (getattr(seen, column.name) for column in fields(seen))
    return zip(*columns, strict=True)
