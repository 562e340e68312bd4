"""Metadata inside the TFLite file, where other tools look for it: labels, pixels, meaning.

The form is that of MediaPipe's metadata writers (``mediapipe/tasks/metadata/metadata_schema.fbs``,
"M001"): a buffer of the model named TFLITE_METADATA, and the labels as a text file in a zip archive
appended to the flatbuffer. edgeemo's own contract stays ``metadata.json``.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec

from converters.errors import ConversionError
from converters.tflite.flatbuffer import Graph, tflite_schema
from edge.contract.metadata import OutputKind
from edge.inference.tflite.flatbuffer import read

LABELS_FILE: Final = "labels.txt"

_BUFFER: Final = "TFLITE_METADATA"
_IDENTIFIER: Final = b"M001"
_MODEL_IDENTIFIER: Final = b"TFL3"
_PARSER_VERSION: Final = "1.0.0"
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
_CROP_RANK: Final = 4

# Values of the schema's enumerations and unions.
_FEATURE, _IMAGE = 1, 2
_GRAYSCALE: Final = 2
_NORMALIZATION: Final = 1
_AXIS_LABELS: Final = 2

_OUTPUT: Final[dict[OutputKind, str]] = {
    "probabilities": "of each emotion, before temperature scaling",
    "logits": "of each emotion: the softmax is left to whoever runs the model",
}
_MOST_LABEL_BYTES: Final = 1 << 16
_DAMAGED: Final = (
    struct.error,
    OSError,
    EOFError,
    IndexError,
    TypeError,
    ValueError,
    KeyError,
    RuntimeError,
)
_SCHEMA: Final = {
    "ModelMetadata": {
        "name": "string",
        "description": "string",
        "version": "string",
        "subgraph_metadata": "[SubGraphMetadata]",
    },
    "SubGraphMetadata": {
        "name": "string",
        "description": "string",
        "input_tensor_metadata": "[TensorMetadata]",
        "output_tensor_metadata": "[TensorMetadata]",
    },
    "TensorMetadata": {
        "name": "string",
        "description": "string",
        "dimension_names": "[<u4]",
        "content": "fields",
        "process_units": "[ProcessUnit]",
    },
    "ProcessUnit": {"options_type": "<u1", "options": "union options_type"},
    f"options_type {_NORMALIZATION}": {"mean": "[<f4]", "std": "[<f4]"},
}
"""The part that is read; dimension names are left unread."""

_Kind = Literal["offset", "byte", "uint"]


class FileMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a TFLite file says about itself.

    Attributes:
        name: of the model.
        description: what it does, and with which crops.
        labels: of the outputs, in their order.
        output: what those are.
        mean: what is taken from a pixel 0 to 255 before it is divided by ``std``; None without a
            picture input.
        std: see ``mean``.
    """

    name: str
    description: str
    labels: tuple[str, ...]
    output: OutputKind
    mean: float | None
    std: float | None


def describe_file(
    content: bytes,
    graph: Graph,
    name: str,
    description: str,
    labels: Sequence[str],
    output: OutputKind = "probabilities",
) -> bytes:
    """Return the TFLite file with metadata inside; the same bytes for the same arguments.

    Args:
        content: of the file, without metadata.
        graph: what is in it.
        name: of the model.
        description: what it does.
        labels: of the outputs, in their order.
        output: what those are.
    """
    import flatbuffers

    schema = tflite_schema()
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer = schema.BufferT()
    buffer.data = list(_model_metadata(graph, name, description, output))
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = _BUFFER, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(len(content) + len(buffer.data))
    builder.Finish(model.Pack(builder), _MODEL_IDENTIFIER)
    file = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(
            zipfile.ZipInfo(LABELS_FILE, _TIMESTAMP), "".join(f"{x}\n" for x in labels)
        )
    return file.getvalue()


def read_file_metadata(content: bytes) -> FileMetadata | None:
    """Return what a TFLite file says about itself; None where it says nothing.

    Raises:
        ConversionError: the metadata are damaged.
    """
    schema = tflite_schema()
    try:
        model = schema.Model.GetRootAs(content, 0)
        data = find_metadata(model)
        if data is None:
            return None
        return _decode(data, _labels(content))
    except (*_DAMAGED, zipfile.BadZipFile, zlib.error) as error:
        raise ConversionError(
            f"the metadata inside the TFLite file are damaged ({error}); convert again"
        ) from error


def metadata_if_ours(content: bytes) -> FileMetadata | None:
    """Return what a TFLite file says about itself, None for what other tools wrote into it."""
    try:
        return read_file_metadata(content)
    except ConversionError:
        return None


def _model_metadata(graph: Graph, name: str, description: str, output: OutputKind) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    inputs = [_input(builder, graph.tensors[index].shape) for index in graph.inputs]
    subgraph = _table(
        builder,
        {
            2: ("offset", _vector(builder, inputs)),
            3: ("offset", _vector(builder, [_output(builder, output)])),
        },
    )
    root = _table(
        builder,
        {
            0: ("offset", builder.CreateString(name)),
            1: ("offset", builder.CreateString(description)),
            3: ("offset", _vector(builder, [subgraph])),
            7: ("offset", builder.CreateString(_PARSER_VERSION)),
        },
    )
    builder.Finish(root, _IDENTIFIER)
    return bytes(builder.Output())


def _input(builder: Any, shape: tuple[int, ...]) -> int:
    if len(shape) == _CROP_RANK:
        return _crop(builder, *shape[1:3])
    content = _table(builder, {0: ("byte", _FEATURE), 1: ("offset", _table(builder, {}))})
    return _table(
        builder,
        {
            0: ("offset", builder.CreateString("mesh")),
            1: ("offset", builder.CreateString("standardised mesh features of the face")),
            3: ("offset", content),
        },
    )


def _crop(builder: Any, height: int, width: int) -> int:
    size = _table(builder, {0: ("uint", width), 1: ("uint", height)})
    image = _table(builder, {0: ("byte", _GRAYSCALE), 1: ("offset", size)})
    content = _table(builder, {0: ("byte", _IMAGE), 1: ("offset", image)})
    # Rescaling is inside the model: pixels 0 to 255 go in as they are.
    mean, std = _floats(builder, 0.0), _floats(builder, 1.0)
    options = _table(builder, {0: ("offset", mean), 1: ("offset", std)})
    unit = _table(builder, {0: ("byte", _NORMALIZATION), 1: ("offset", options)})
    most, least = _floats(builder, 255.0), _floats(builder, 0.0)
    stats = _table(builder, {0: ("offset", most), 1: ("offset", least)})
    return _table(
        builder,
        {
            0: ("offset", builder.CreateString("crop")),
            1: ("offset", builder.CreateString("grey aligned face, pixels 0 to 255")),
            3: ("offset", content),
            4: ("offset", _vector(builder, [unit])),
            5: ("offset", stats),
        },
    )


def _output(builder: Any, kind: OutputKind) -> int:
    file = _table(
        builder,
        {
            0: ("offset", builder.CreateString(LABELS_FILE)),
            1: ("offset", builder.CreateString("emotions, in the order of the output")),
            2: ("byte", _AXIS_LABELS),
        },
    )
    content = _table(builder, {0: ("byte", _FEATURE), 1: ("offset", _table(builder, {}))})
    fields: dict[int, tuple[_Kind, int]] = {
        0: ("offset", builder.CreateString(kind)),
        1: ("offset", builder.CreateString(_OUTPUT[kind])),
        3: ("offset", content),
        6: ("offset", _vector(builder, [file])),
    }
    if kind == "probabilities":
        most, least = _floats(builder, 1.0), _floats(builder, 0.0)
        fields[5] = ("offset", _table(builder, {0: ("offset", most), 1: ("offset", least)}))
    return _table(builder, fields)


def _table(builder: Any, fields: dict[int, tuple[_Kind, int]]) -> int:
    """Write a table whose values stand at these slots; what offsets refer to is written before."""
    add: dict[_Kind, Callable[[int, int, int], None]] = {
        "offset": builder.PrependUOffsetTRelativeSlot,
        "byte": builder.PrependInt8Slot,
        "uint": builder.PrependUint32Slot,
    }
    builder.StartObject(max(fields, default=-1) + 1)
    for slot, (kind, value) in fields.items():
        add[kind](slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, value: float) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependFloat32(value)
    return int(builder.EndVector())


def find_metadata(model: Any) -> bytes | None:
    """Return the buffer that holds a model's metadata, None where there is none."""
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if entry.Name() == _BUFFER.encode():
            return bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    return None


def _labels(content: bytes) -> tuple[str, ...]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if archive.getinfo(LABELS_FILE).file_size > _MOST_LABEL_BYTES:
            raise ValueError(f"{LABELS_FILE} unpacks to more than {_MOST_LABEL_BYTES:,} bytes")
        return tuple(archive.read(LABELS_FILE).decode().splitlines())


def _decode(data: bytes, labels: tuple[str, ...]) -> FileMetadata:
    if data[4:8] != _IDENTIFIER:
        raise ValueError(f"starts with {data[4:8]!r}, expected {_IDENTIFIER!r}")
    root = read(data, "ModelMetadata", _SCHEMA)
    units = [
        unit["options"]
        for subgraph in root.get("subgraph_metadata", [])
        for tensor in subgraph.get("input_tensor_metadata", [])
        for unit in tensor.get("process_units", [])
        if unit.get("options_type") == _NORMALIZATION
    ]
    mean, std = (float(units[0][field][0]) for field in ("mean", "std")) if units else (None, None)
    outputs = [
        tensor.get("name", b"")
        for subgraph in root.get("subgraph_metadata", [])
        for tensor in subgraph.get("output_tensor_metadata", [])
    ]
    output: OutputKind = "logits" if outputs == [b"logits"] else "probabilities"
    name, description = (root.get(field, b"").decode() for field in ("name", "description"))
    if not all(text.isprintable() for text in (name, description, *labels)):
        raise ValueError("its texts hold control characters")
    return FileMetadata(
        name=name, description=description, labels=labels, output=output, mean=mean, std=std
    )
