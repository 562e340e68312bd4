"""Reading ``face_landmarker.task``: a zip of plain TFLite models and a geometry description."""

import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edge.errors import InferenceError
from edge.files import read_bounded
from edge.inference.tflite.reduced_precision import with_half_precision

if TYPE_CHECKING:
    from zipfile import ZipFile

_DETECTOR: Final = "face_detector.tflite"
_LANDMARKS: Final = "face_landmarks_detector.tflite"
_BLENDSHAPES: Final = "face_blendshapes.tflite"
_GEOMETRY: Final = "geometry_pipeline_metadata_landmarks.binarypb"

_MOST_BYTES: Final = 64 << 20
"""Of the file, and of each member."""


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

    def in_half_precision(self) -> "FaceModels":
        """Return the same, with models that may be computed so; see ``with_half_precision``."""
        return msgspec.structs.replace(
            self,
            detector=with_half_precision(self.detector),
            landmarks=with_half_precision(self.landmarks),
        )


def read_task(path: Path, *, blendshapes: bool = True) -> FaceModels:
    """Read the members of a ``.task`` file; the model of the blendshapes only if asked to.

    Raises:
        InferenceError: unreadable, not a zip, or a member is missing or damaged.
    """
    try:
        content = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise InferenceError(
            f"{path}: cannot be read as a .task file ({error.strerror})"
        ) from error
    import zipfile  # 6 ms: for runs only

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as task:
            return FaceModels(
                detector=_member(task, _DETECTOR),
                landmarks=_member(task, _LANDMARKS),
                blendshapes=_member(task, _BLENDSHAPES) if blendshapes else b"",
                geometry=_member(task, _GEOMETRY),
            )
    except KeyError as error:
        raise InferenceError(
            f"{path}: {error.args[0]}; expected MediaPipe's face_landmarker.task with blendshapes"
        ) from error
    # Besides BadZipFile: a method that Python lacks, a password, a member that ends too soon.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError) as error:
        raise InferenceError(
            f"{path}: cannot be read as a .task file ({error}); delete it to fetch it again"
        ) from error


def _member(task: "ZipFile", name: str) -> bytes:
    if task.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} has more than {_MOST_BYTES:,} bytes")
    return task.read(name)
