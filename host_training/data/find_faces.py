"""Meshes of many still pictures, by the device's mesher, in as many processes as asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48, MESH_POINTS, aligned_crop
from edge.contract.mesh_features import BLENDSHAPES, mesh_features
from edge.errors import PictureError
from edge.media.pictures import open_picture
from edge.protocols import FaceMesher
from edge.records import Frame
from host_training.data.picture_progress import PictureProgress
from host_training.data.samples import Samples, first_rows
from host_training.data.workers import work_through
from host_training.errors import DataError

BATCH: Final = 256
"""Pictures that a worker takes at a time, and that are lost when it is stopped: about 3 s."""

MakeMesher = Callable[[], FaceMesher]
"""Opens a mesher for one face that gives blendshapes; can be sent to another process."""


@dataclass(frozen=True, slots=True, eq=False)
class Meshed:
    """What the mesher found in ``n`` pictures.

    Attributes:
        found: bool ``(n,)``: a face was found.
        points: float32 ``(n, 478, 3)``: its mesh, in pixels of the picture; NaN where none was.
        blendshapes: float32 ``(n, 52)``; NaN where no face was found.
        crops: uint8 ``(n, 48, 48)``: the aligned crop, or the picture itself where no face was
            found.
    """

    found: NDArray[np.bool_]
    points: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    crops: NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.found)
        shapes = (self.points.shape, self.blendshapes.shape, self.crops.shape)
        expected = ((n, MESH_POINTS, 3), (n, len(BLENDSHAPES)), (n, FER48.size, FER48.size))
        if shapes != expected:
            raise ValueError(f"points, blendshapes and crops have shapes {shapes}, not {expected}")


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """``n`` pictures to look for a face in.

    Attributes:
        images: uint8 ``(n, 48, 48)``, grey.
        files: str ``(n,)``: where each can be read in full, or None; in 48 pixels a face with room
            around it is too small to be meshed well.
    """

    images: NDArray[np.uint8]
    files: NDArray[np.str_] | None = None

    @classmethod
    def of(cls, samples: Samples) -> "Pictures":
        """Return the pictures of a data set."""
        return cls(samples.images, samples.files)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.int64]) -> "Pictures":
        return Pictures(self.images[rows], None if self.files is None else self.files[rows])

    def in_full(self) -> Iterator[NDArray[np.uint8]]:
        """Yield each picture, BGR uint8 ``(H, W, 3)``, as large as it can be had.

        Raises:
            DataError: a file cannot be read any more.
        """
        if self.files is None:
            for image in self.images:
                yield np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
            return
        for file in self.files:
            try:
                yield open_picture(Path(str(file))).image
            except PictureError as error:
                raise DataError(str(error)) from error


def mesh_pictures(pictures: Pictures, mesher: FaceMesher) -> Meshed:
    """Mesh pictures one by one, each for itself.

    Args:
        pictures: any.
        mesher: gives at most one face a picture, with blendshapes.

    Raises:
        InferenceError: the mesher failed.
        DataError: a picture's file cannot be read any more.
    """
    n = len(pictures)
    found = np.zeros(n, bool)
    points = np.full((n, MESH_POINTS, 3), np.nan, np.float32)
    blendshapes = np.full((n, len(BLENDSHAPES)), np.nan, np.float32)
    crops = pictures.images.copy()
    now = datetime.now(UTC)
    for i, bgr in enumerate(pictures.in_full()):
        for face in mesher.detect(Frame(bgr, i, float(i), now, starts_new_clip=True))[:1]:
            if face.blendshapes is None:
                raise ValueError("the mesher gives no blendshapes; open it with them")
            try:
                mesh_features(face.points, face.blendshapes)
                grey = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), np.uint8)
                crop = aligned_crop(grey, face.points, FER48)
            except ValueError:  # the eyes in one point, or no numbers: no mesh of a face
                continue
            crops[i], found[i], points[i], blendshapes[i] = (
                crop,
                True,
                face.points,
                face.blendshapes,
            )
    return Meshed(found, points, blendshapes, crops)


def mesh_in_batches(
    pictures: Pictures, rows: NDArray[np.int64], make: MakeMesher, workers: int
) -> Iterator[tuple[NDArray[np.int64], Meshed]]:
    """Mesh some of the pictures, in this process or in several others.

    Args:
        pictures: any.
        rows: indices of the pictures to mesh.
        make: opens the mesher, once a process.
        workers: processes; 1 is this one.

    Yields:
        Rows and what was found in them, ``BATCH`` at a time, in the order of ``rows``.

    Raises:
        InferenceError: the mesher cannot be opened, or failed.
        DataError: a worker process died, or a picture's file cannot be read any more.
    """
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    parts = (pictures[batch] for batch in batches)
    return zip(batches, work_through(parts, partial(_Meshing, make), workers), strict=True)


def find_faces(
    pictures: Pictures, make: MakeMesher, workers: int, progress: PictureProgress
) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: whether the mesher finds a face in each picture.

    Args:
        pictures: those that are equal in 48 pixels are looked at once.
        make: opens the mesher, once a process.
        workers: processes; 1 is this one.
        progress: told of every batch.

    Raises:
        InferenceError: the mesher cannot be opened, or failed.
        DataError: a worker process died, or a picture's file cannot be read any more.
    """
    first = first_rows(pictures.images)
    found = np.zeros(len(pictures), bool)
    todo = np.unique(first)
    progress.begin(len(todo))
    for rows, meshed in mesh_in_batches(pictures, todo, make, workers):
        found[rows] = meshed.found
        progress.advance(len(rows))
    return found[first]


class _Meshing:
    """Meshes pictures with a mesher of its own."""

    def __init__(self, make: MakeMesher) -> None:
        self._mesher = make()

    def __call__(self, pictures: Pictures) -> Meshed:
        return mesh_pictures(pictures, self._mesher)

    def close(self) -> None:
        self._mesher.close()
