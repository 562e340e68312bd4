"""Meshes of many still pictures, by the device's mesher, in as many processes as asked for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48, MESH_POINTS, aligned_crop
from edge.contract.mesh_features import BLENDSHAPES, mesh_features
from edge.protocols import FaceMesher
from edge.records import Frame
from host_training.data.picture_progress import PictureProgress
from host_training.data.samples import first_rows
from host_training.data.workers import work_through

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


def mesh_pictures(images: NDArray[np.uint8], mesher: FaceMesher) -> Meshed:
    """Mesh pictures one by one, each for itself.

    Args:
        images: uint8 ``(n, 48, 48)``, grey.
        mesher: gives at most one face a picture, with blendshapes.

    Raises:
        InferenceError: the mesher failed.
    """
    n = len(images)
    found = np.zeros(n, bool)
    points = np.full((n, MESH_POINTS, 3), np.nan, np.float32)
    blendshapes = np.full((n, len(BLENDSHAPES)), np.nan, np.float32)
    crops = images.copy()
    now = datetime.now(UTC)
    for i, image in enumerate(images):
        bgr = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
        for face in mesher.detect(Frame(bgr, i, float(i), now, starts_new_clip=True))[:1]:
            if face.blendshapes is None:
                raise ValueError("the mesher gives no blendshapes; open it with them")
            try:
                mesh_features(face.points, face.blendshapes)
                crop = aligned_crop(image, face.points, FER48)
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
    images: NDArray[np.uint8], rows: NDArray[np.int64], make: MakeMesher, workers: int
) -> Iterator[tuple[NDArray[np.int64], Meshed]]:
    """Mesh some rows of ``images``, in this process or in several others.

    Args:
        images: uint8 ``(n, 48, 48)``, grey.
        rows: indices of the pictures to mesh.
        make: opens the mesher, once a process.
        workers: processes; 1 is this one.

    Yields:
        Rows and what was found in them, ``BATCH`` at a time, in the order of ``rows``.

    Raises:
        InferenceError: the mesher cannot be opened, or failed.
        DataError: a worker process died.
    """
    batches = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
    pictures = (images[batch] for batch in batches)
    return zip(batches, work_through(pictures, partial(_Meshing, make), workers), strict=True)


def find_faces(
    images: NDArray[np.uint8], make: MakeMesher, workers: int, progress: PictureProgress
) -> NDArray[np.bool_]:
    """Return bool ``(n,)``: whether the mesher finds a face in each picture.

    Args:
        images: uint8 ``(n, 48, 48)``, grey; equal ones are looked at once.
        make: opens the mesher, once a process.
        workers: processes; 1 is this one.
        progress: told of every batch.

    Raises:
        InferenceError: the mesher cannot be opened, or failed.
        DataError: a worker process died.
    """
    first = first_rows(images)
    found = np.zeros(len(images), bool)
    todo = np.unique(first)
    progress.begin(len(todo))
    for rows, meshed in mesh_in_batches(images, todo, make, workers):
        found[rows] = meshed.found
        progress.advance(len(rows))
    return found[first]


class _Meshing:
    """Meshes pictures with a mesher of its own."""

    def __init__(self, make: MakeMesher) -> None:
        self._mesher = make()

    def __call__(self, images: NDArray[np.uint8]) -> Meshed:
        return mesh_pictures(images, self._mesher)

    def close(self) -> None:
        self._mesher.close()
