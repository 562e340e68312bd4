"""Reading ``face_landmarker.task``: a zip of plain TFLite models and a geometry description."""

import zipfile
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import InferenceError

_DETECTOR: Final = "face_detector.tflite"
_LANDMARKS: Final = "face_landmarks_detector.tflite"
_BLENDSHAPES: Final = "face_blendshapes.tflite"
_GEOMETRY: Final = "geometry_pipeline_metadata_landmarks.binarypb"


class FaceModels(msgspec.Struct, frozen=True):
    """The members of a face landmarker bundle, as bytes.

    Attributes:
        detector: BlazeFace short range, a TFLite model.
        landmarks: the attention mesh, a TFLite model.
        blendshapes: 52 expression coefficients from points, a TFLite model; empty when not read.
        geometry: the canonical face, a ``GeometryPipelineMetadata`` message.
    """

    detector: bytes
    landmarks: bytes
    blendshapes: bytes
    geometry: bytes


def read_task(path: Path, *, blendshapes: bool = True) -> FaceModels:
    """Read the members of a ``.task`` file; the model of the blendshapes only if asked to.

    Raises:
        InferenceError: unreadable, not a zip, or a member is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return FaceModels(
                detector=archive.read(_DETECTOR),
                landmarks=archive.read(_LANDMARKS),
                blendshapes=archive.read(_BLENDSHAPES) if blendshapes else b"",
                geometry=archive.read(_GEOMETRY),
            )
    except KeyError as error:
        raise InferenceError(
            f"{path}: {error.args[0]}; expected MediaPipe's face_landmarker.task with blendshapes"
        ) from error
    except (OSError, zipfile.BadZipFile) as error:
        raise InferenceError(
            f"{path}: can not be read as a .task file ({error}); delete it to fetch it again"
        ) from error
