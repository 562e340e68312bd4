"""Reading ``face_landmarker.task``: a zip of plain TFLite models and a geometry description.

Its members are stored uncompressed, and the file is pinned by its hash (``edge.assets.store``), so
it is known where they lie: nothing of a zip need be read. Python's ``zipfile`` would bring every
kind of compression along, 5 ms of each start.
"""

from pathlib import Path
from typing import Final

import msgspec

from edge.errors import InferenceError
from edge.files import read_bounded

_BYTES: Final = 3_758_596
_DETECTOR: Final = slice(52, 52 + 229_746)
_LANDMARKS: Final = slice(229_860, 229_860 + 2_553_590)
_GEOMETRY: Final = slice(2_783_528, 2_783_528 + 19_376)
_BLENDSHAPES: Final = slice(2_802_960, 2_802_960 + 955_312)
_TFLITE: Final = b"TFL3"
"""From byte 4 of a model on."""


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
        from edge.inference.tflite.reduced_precision import with_half_precision  # a Pi 5 can

        return msgspec.structs.replace(
            self,
            detector=with_half_precision(self.detector),
            landmarks=with_half_precision(self.landmarks),
        )


def read_task(path: Path, *, blendshapes: bool = True) -> FaceModels:
    """Read the members of the pinned ``.task`` file; the model of the blendshapes only if asked to.

    Raises:
        InferenceError: unreadable, or another file.
    """
    try:
        content = read_bounded(path, _BYTES)
    except OSError as error:
        raise InferenceError(
            f"{path}: cannot be read as a .task file ({error.strerror})"
        ) from error
    detector, landmarks, shapes = (content[part] for part in (_DETECTOR, _LANDMARKS, _BLENDSHAPES))
    if len(content) != _BYTES or {part[4:8] for part in (detector, landmarks, shapes)} != {_TFLITE}:
        raise InferenceError(
            f"{path}: not the face_landmarker.task that edgeemo was made for; delete it to fetch "
            "it again"
        )
    return FaceModels(detector, landmarks, shapes if blendshapes else b"", content[_GEOMETRY])
