"""The head in space: a fit of the canonical face to a mesh.

After MediaPipe's face geometry module (geometry_pipeline.cc, procrustes_solver.cc): a pinhole
camera of fixed field of view, and weighted orthogonal Procrustes analysis (Akca, "Generalized
Procrustes analysis and its applications in photogrammetry", 2003, section 2.4).
"""

import math
import re
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import InferenceError
from edge.records import bounding_box

_FACE_POINTS: Final = 468
"""The canonical face has no irises."""
_VERTEX_FLOATS: Final = 5
"""x, y, z in centimetres and two texture coordinates."""
_GEOMETRY_BYTES: Final = 19_376
_VERTICES_AT: Final = 8
_BASIS_AT: Final = 19_054
"""Where the vertices and the weighted points lie in the message of the pinned file."""
_VERTEX_KEY: Final = 0x1D
"""Of protobuf: field 3, 32 bits. It stands before each float."""
_FLOAT: Final = np.dtype([("key", "u1"), ("value", "<f4")])
_WEIGHTED: Final = re.compile(rb"\x12[\x07\x08]\x08([\x80-\xff]?[\x00-\x7f])\x15(.{4})", re.DOTALL)
"""A mesh point's number, a varint, and its weight, a float."""
_FIELD_OF_VIEW_DEG: Final = 63.0
"""Vertical; MediaPipe's default, about that of a webcam. The near plane lies at 1 cm."""
_TOO_COMPACT: Final = 1e-3
"""A mesh smaller than this share of the picture gives no stable fit."""
_EPSILON: Final = 1e-9


class CanonicalFace(msgspec.Struct, frozen=True, eq=False):
    """The points that the pose is fitted to: those that expressions move little.

    Lengths are centimetres; x points to the picture's right, y up, z to the viewer.

    Attributes:
        indexes: int ``(k,)``, mesh points.
        weights: float64 ``(k,)``, positive; they sum to 1.
        centre: float64 ``(3,)``, the weighted mean of the points.
        moments: float64 ``(k, 3)``, each point less the centre, times its weight.
        variance: the weighted mean of the squared distances from the centre.
    """

    indexes: NDArray[np.intp]
    weights: NDArray[np.float64]
    centre: NDArray[np.float64]
    moments: NDArray[np.float64]
    variance: float

    @classmethod
    def parse(cls, metadata: bytes) -> "CanonicalFace":
        """Read the geometry in ``face_landmarker.task``, a ``GeometryPipelineMetadata`` message.

        The file is pinned by its hash, so it is known where in the message things are.

        Raises:
            InferenceError: it is another message.
        """
        vertices = canonical_vertices(metadata)
        found = _WEIGHTED.findall(metadata, _BASIS_AT)
        indexes = np.array([n[0] & 0x7F | (n[-1] << 7 if n[1:] else 0) for n, _ in found], np.intp)
        weights = np.frombuffer(b"".join(w for _, w in found), "<f4").astype(np.float64)
        if len(found) < 3 or indexes.max() >= _FACE_POINTS or not (weights > 0).all():
            raise _another()
        weights /= weights.sum()
        points = vertices[indexes]
        centre = weights @ points
        moments = (points - centre) * weights[:, np.newaxis]
        return cls(indexes, weights, centre, moments, float((moments * (points - centre)).sum()))


def canonical_vertices(metadata: bytes) -> NDArray[np.float64]:
    """Return the canonical face's points, float64 ``(468, 3)``, in centimetres.

    Raises:
        InferenceError: the geometry is another message.
    """
    if len(metadata) != _GEOMETRY_BYTES:
        raise _another()
    floats = np.frombuffer(metadata, _FLOAT, _FACE_POINTS * _VERTEX_FLOATS, _VERTICES_AT)
    if (floats["key"] != _VERTEX_KEY).any() or not np.isfinite(floats["value"]).all():
        raise _another()
    return floats["value"].reshape(_FACE_POINTS, _VERTEX_FLOATS)[:, :3].astype(np.float64)


def _another() -> InferenceError:
    return InferenceError(
        "face geometry: not that of the pinned face_landmarker.task; fetch the file again"
    )


def pose_matrix(
    face: CanonicalFace, points: NDArray[np.float32], size_hw: tuple[int, int]
) -> NDArray[np.float64] | None:
    """Return the matrix ``(4, 4)`` that takes the canonical face to the camera's space.

    The mesh's z is relative, so its depth is found in two rounds: a fit to the points on the near
    plane gives the scale, with which they are put into perspective; a second fit corrects it.

    Args:
        face: the canonical face.
        points: the mesh, float32 ``(478, 3)``, in pixels, z in the same unit. (MediaPipe stretches
            z with the picture's aspect ratio where a face is turned in plane, and so tilts the
            head by up to 3 degrees; its own points, so stretched, give its own matrix here.)
        size_hw: the picture's height and width.

    Returns:
        float64 ``(4, 4)`` in centimetres, or None for a mesh without extent.
    """
    height, width = size_hw
    chosen = points[face.indexes].astype(np.float64)
    x1, y1, x2, y2 = bounding_box(chosen)
    if not max((x2 - x1) / width, (y2 - y1) / height) > _TOO_COMPACT:
        return None
    unit = 2 * math.tan(math.radians(_FIELD_OF_VIEW_DEG) / 2) / height
    screen = (chosen - (width / 2, height / 2, 0)) * (unit, -unit, unit)
    depth = float(points[:_FACE_POINTS, 2].mean()) * unit
    first = _scale(face, screen * (1, 1, -1))
    second = _scale(face, _in_perspective(screen, depth, first)) if first > _EPSILON else 0.0
    if not second > _EPSILON:
        return None
    return _fit(face, _in_perspective(screen, depth, first * second))


def _in_perspective(screen: NDArray[np.float64], depth: float, scale: float) -> NDArray[np.float64]:
    """Move points from the near plane, 1 cm away, to their depth; z then points to the viewer."""
    z = (screen[:, 2:] - (depth - 1)) / scale
    moved = screen * z
    moved[:, 2:] = -z
    return moved


def _scale(face: CanonicalFace, targets: NDArray[np.float64]) -> float:
    """Return the scale of the best fit to ``targets``; see ``_fit``."""
    singular, signs, _, _ = _decomposed(targets.T @ face.moments)
    return float(singular @ signs) / face.variance


def _fit(face: CanonicalFace, targets: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Fit rotation, scale and shift from the canonical points to ``targets``, ``(k, 3)``.

    Returns:
        The ``(4, 4)`` matrix, or None when the targets have no extent.
    """
    # The moments sum to nothing, so the targets need no centring.
    singular, signs, u, vt = _decomposed(targets.T @ face.moments)
    scale = float(singular @ signs) / face.variance
    if not scale > _EPSILON:
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = scale * (u * signs) @ vt
    matrix[:3, 3] = face.weights @ targets - matrix[:3, :3] @ face.centre
    return matrix


def _decomposed(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return singular values ``(3,)``, signs ``(3,)``, U and V transposed of a ``(3, 3)`` matrix.

    The last sign is -1 where the best orthogonal matrix would be a reflection.
    """
    singular, u, vt = cv2.SVDecomp(covariance)  # an eighth of numpy's time for one so small
    signs = np.array((1.0, 1.0, math.copysign(1.0, cv2.determinant(covariance))))
    return singular[:, 0], signs, u, vt
