"""``metadata.json`` of a model bundle: the contract that travels with the model."""

from typing import Annotated, Final, Literal

import msgspec

from edge.contract.align import TEMPLATES, Template
from edge.contract.errors import BundleError
from edge.contract.labels import EMOTIONS
from edge.contract.quantize import Quantization

SCHEMA_VERSION: Final = 1

NonEmptyStr = Annotated[str, msgspec.Meta(min_length=1)]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict, immutable JSON objects: unknown fields are errors."""


class TensorSpec(_Model, frozen=True, kw_only=True):
    """A model input or output as the interpreter must report it.

    ``shape`` includes the batch dimension of 1; ``scale`` and ``zero_point`` are those of the
    TFLite tensor (1 and 0 for a float tensor).
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["int8", "uint8", "float32"]
    scale: PositiveFloat
    zero_point: int

    @property
    def quantization(self) -> Quantization:
        """The tensor's scale and zero point, for ``quantize`` and ``dequantize``."""
        return Quantization(self.scale, self.zero_point)


class Dataset(_Model, frozen=True, kw_only=True):
    """Rows that a model was trained, calibrated or measured on.

    ``fingerprint`` is the SHA-256 of the pictures and labels used, in order.
    """

    name: str
    split: str
    rows: int
    fingerprint: str


class Metrics(_Model, frozen=True, kw_only=True):
    """Figures with the rows and the protocol that they were measured on."""

    dataset: Dataset
    protocol: str
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float]


class Metadata(_Model, frozen=True, kw_only=True):
    """All that the device must know about a model, and where the model came from.

    Attributes:
        labels: canonical emotions in the order of the output; a subset of ``EMOTIONS``.
        input: the picture input, ``(1, size, size, 1)``.
        output: class probabilities, ``(1, len(labels))``.
        color: colour order of the input; only grey today.
        template_id: the alignment of the crops, see ``edge.contract.align.TEMPLATES``.
        temperature: applied to the output by ``edge.contract.quantize.temper``.
        created_at: UTC, ISO 8601.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: NonEmptyStr
    edgeemo_version: str
    created_at: str
    architecture: str
    quantization: Literal["int8", "fp16", "dynamic", "float32"]
    labels: tuple[str, ...]
    input: TensorSpec
    output: TensorSpec
    color: Literal["gray"] = "gray"
    template_id: str
    temperature: PositiveFloat = 1.0
    training_run: str
    parameters: int
    training_data: Dataset
    calibration_data: Dataset | None = None
    metrics: Metrics

    @property
    def template(self) -> Template:
        """The alignment template that the crops must be made with."""
        return TEMPLATES[self.template_id]


def decode_metadata(data: bytes, where: str) -> Metadata:
    """Parse and check ``metadata.json``.

    Raises:
        BundleError: not JSON, a wrong or future schema, or fields that contradict each other;
            ``where`` names the file in the message.
    """
    version = _schema_version(data, where)
    if version != SCHEMA_VERSION:
        remedy = "update edgeemo" if version > SCHEMA_VERSION else "convert the model again"
        raise BundleError(
            f"{where}: schema version {version}, this edgeemo reads {SCHEMA_VERSION}; {remedy}"
        )
    try:
        metadata = msgspec.json.decode(data, type=Metadata)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{where}: {error}") from error
    for problem in _contradictions(metadata):
        raise BundleError(f"{where}: {problem}")
    return metadata


def encode_metadata(metadata: Metadata) -> bytes:
    """Return ``metadata`` as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(metadata), indent=2) + b"\n"


def _schema_version(data: bytes, where: str) -> int:
    class Versioned(msgspec.Struct):
        schema_version: int

    try:
        return msgspec.json.decode(data, type=Versioned).schema_version
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: not a bundle's metadata ({error})") from error


def _contradictions(metadata: Metadata) -> list[str]:
    labels = metadata.labels
    problems = []
    if unknown := [label for label in labels if label not in EMOTIONS]:
        problems.append(f"unknown labels {unknown}; expected names from {list(EMOTIONS)}")
    if len(set(labels)) != len(labels) or len(labels) < 2:
        problems.append(f"labels must be two or more different names, got {list(labels)}")
    if metadata.output.shape != (1, len(labels)):
        problems.append(
            f"{len(labels)} labels do not fit an output of shape {list(metadata.output.shape)}"
        )
    if metadata.template_id not in TEMPLATES:
        problems.append(
            f"unknown alignment template {metadata.template_id!r}; known: {sorted(TEMPLATES)}"
        )
    elif metadata.input.shape != (1, metadata.template.size, metadata.template.size, 1):
        problems.append(
            f"template {metadata.template_id} makes {metadata.template.size}-pixel grey crops, "
            f"the input has shape {list(metadata.input.shape)}"
        )
    return problems
