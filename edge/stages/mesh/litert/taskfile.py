"""Reading ``face_landmarker.task``: a zip of plain TFLite models and a geometry description."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from edge.errors import InferenceError
from edge.files import read_bounded

_DETECTOR: Final = "face_detector.tflite"
_LANDMARKS: Final = "face_landmarks_detector.tflite"
_BLENDSHAPES: Final = "face_blendshapes.tflite"
_GEOMETRY: Final = "geometry_pipeline_metadata_landmarks.binarypb"

_MOST_BYTES: Final = 64 << 20
_END_OF_DIRECTORY: Final = b"PK\x05\x06"
_END: Final = struct.Struct("<HII")
"""Of the end record, from byte 10 on: how many members, their directory's size and offset."""
_ENTRY_SIGNATURE: Final = b"PK\x01\x02"
_ENTRY: Final = struct.Struct("<4s6xH12xIHHH8xI")
"""Of a directory's entry: signature, method, size, three lengths, the member's offset."""
_ENTRY_BYTES: Final = 46
_LENGTHS: Final = struct.Struct("<HH")


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
        content = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise InferenceError(
            f"{path}: cannot be read as a .task file ({error.strerror})"
        ) from error
    try:
        members = dict(_stored_members(content))
        return FaceModels(
            detector=members[_DETECTOR],
            landmarks=members[_LANDMARKS],
            blendshapes=members[_BLENDSHAPES] if blendshapes else b"",
            geometry=members[_GEOMETRY],
        )
    except KeyError as error:
        raise InferenceError(
            f"{path}: has no {error.args[0]}; expected MediaPipe's face_landmarker.task with "
            "blendshapes"
        ) from error
    except (struct.error, ValueError) as error:
        raise InferenceError(
            f"{path}: cannot be read as a .task file ({error}); delete it to fetch it again"
        ) from error


def _stored_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of a zip's members, which a ``.task`` file holds uncompressed.

    MediaPipe asks for that, to map them into memory. The standard library's ``zipfile`` does it,
    too, but brings every kind of compression along: 6 ms of each start. PKWARE, APPNOTE.TXT,
    sections 4.3.7, 4.3.12 and 4.3.16.

    Raises:
        ValueError: not such a zip.
        struct.error: it ends too soon.
    """
    end = content.rfind(_END_OF_DIRECTORY)
    if end < 0:
        raise ValueError("no zip")
    count, _, at = _END.unpack_from(content, end + 10)
    for _ in range(count):
        signature, method, size, name_length, extra, comment, header = _ENTRY.unpack_from(
            content, at
        )
        if signature != _ENTRY_SIGNATURE or method != 0:
            raise ValueError("a member is damaged or compressed")
        name = content[at + _ENTRY_BYTES : at + _ENTRY_BYTES + name_length]
        own_name, own_extra = _LENGTHS.unpack_from(content, header + 26)
        start = header + 30 + own_name + own_extra
        member = content[start : start + size]
        if len(member) != size:
            raise ValueError("a member ends too soon")
        yield name.decode("utf-8"), member
        at += _ENTRY_BYTES + name_length + extra + comment
