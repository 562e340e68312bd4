"""The head in space: a fit of the canonical face to a mesh.

After MediaPipe's face geometry module (geometry_pipeline.cc, procrustes_solver.cc): a pinhole
camera of fixed field of view, and weighted orthogonal Procrustes analysis (Akca, "Generalized
Procrustes analysis and its applications in photogrammetry", 2003, section 2.4).
"""

import math
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import InferenceError
from edge.stages.mesh.litert.roi import bounding_box
from edge.stages.mesh.litert.wire import fields

_FACE_POINTS: Final = 468
"""The canonical face has no irises."""
_VERTEX_FLOATS: Final = 5
"""x, y, z in centimetres and two texture coordinates."""
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
        """Read a ``GeometryPipelineMetadata`` message (geometry_pipeline_metadata.proto).

        Raises:
            InferenceError: it is damaged, or is not about a face of 468 points.
        """
        try:
            mesh, basis = split_metadata(metadata)
            vertices = read_vertices(mesh)
            indexes, weights = _weights(basis)
        except (ValueError, TypeError, KeyError) as error:
            raise InferenceError(
                f"face geometry: damaged ({error}); fetch face_landmarker.task again"
            ) from error
        weights /= weights.sum()
        points = vertices[indexes]
        centre = weights @ points
        moments = (points - centre) * weights[:, np.newaxis]
        return cls(indexes, weights, centre, moments, float((moments * (points - centre)).sum()))


def split_metadata(metadata: bytes) -> tuple[bytes, list[bytes]]:
    """Return the canonical mesh (field 1) and the weighted landmarks (field 2)."""
    mesh, basis = b"", []
    for number, value in fields(metadata):
        if number == 1:
            mesh = bytes(value)
        elif number == 2:
            basis.append(bytes(value))
    return mesh, basis


def read_vertices(mesh: bytes) -> NDArray[np.float64]:
    """Return the positions ``(468, 3)``: a repeated float (field 3), packed or not."""
    # The varints are thousands of triangles' corners, which nobody here needs.
    parts = fields(mesh, varints=False)
    buffer = b"".join(value for number, value in parts if number == 3)  # type: ignore[misc]
    values = np.frombuffer(buffer, "<f4")
    if values.size != _FACE_POINTS * _VERTEX_FLOATS or not np.isfinite(values).all():
        raise ValueError(f"{values.size} vertex values, expected {_FACE_POINTS * _VERTEX_FLOATS}")
    return values.reshape(_FACE_POINTS, _VERTEX_FLOATS)[:, :3].astype(np.float64)


def _weights(basis: list[bytes]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return each landmark's number (field 1) and its weight (field 2)."""
    pairs = [dict(fields(message)) for message in basis]
    indexes = np.array([pair.get(1, 0) for pair in pairs], np.intp)
    weights = np.frombuffer(b"".join(pair[2] for pair in pairs), "<f4")  # type: ignore[misc]
    if len(pairs) < 3 or len(weights) != len(pairs) or not (weights > 0).all():
        raise ValueError(f"{len(pairs)} weighted points, expected 3 or more with weights above 0")
    if indexes.max() >= _FACE_POINTS:
        raise ValueError(f"weighted point {indexes.max()}, expected less than {_FACE_POINTS}")
    return indexes, weights.astype(np.float64)


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
