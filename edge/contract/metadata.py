"""``metadata.json`` of a model bundle: the contract that travels with the model."""

import re
from typing import Annotated, Final, Literal

import msgspec

from edge.contract.align import TEMPLATES, Template
from edge.contract.decision import Decision
from edge.contract.labels import NonEmptyText, Text, is_label
from edge.contract.mesh_features import FEATURE_COUNT, FEATURES_ID, FeatureNorm
from edge.contract.quantize import QuantizationParams
from edge.errors import BundleError

CROP_VERSION: Final = 1
"""The schema of models that take a crop alone."""
MESH_VERSION: Final = 2
"""The schema of models that take mesh features, with or without a crop. An edgeemo that only knows
the first must say "update edgeemo", so a bundle carries the lowest version that can tell of it."""
FORCED_VERSION: Final = 3
"""The schema of bundles past their gate, of int8 models with float ends and of mixed ones."""
DECISION_VERSION: Final = 4
"""The schema of models that give logits, and of bundles with a ``decision``."""
CALIBRATED_VERSION: Final = 5
"""The schema of bundles that were calibrated on pictures of one's own."""

Quantization = Literal["int8", "int8-float-io", "mixed", "fp16", "dynamic", "float32"]
"""How weights and activations are stored.

int8: integers throughout. int8-float-io: the same between float ends. mixed: by a recipe, or with
some layers in float. fp16: half-precision weights. dynamic: int8 weights only. float32: as they
were. The last three take and give floats.
"""

Crops = Literal["raw", "aligned", "both"]
"""What a model learnt from: pictures as they are, crops that the device's own code cut out, or now
the one and now the other."""

OutputKind = Literal["probabilities", "logits"]
"""What a network gives: after its softmax, or before."""

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
SchemaVersion = Literal[1, 2, 3, 4, 5]


class _Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Strict, immutable JSON objects: unknown fields are errors."""


class TensorSpec(_Model, frozen=True, kw_only=True):
    """A model input or output as the interpreter must report it.

    ``shape`` includes the batch dimension of 1; ``scale`` and ``zero_point`` are those of the
    TFLite tensor (1 and 0 for a float tensor).
    """

    name: Text
    shape: tuple[int, ...]
    dtype: Literal["int8", "uint8", "float32"]
    scale: PositiveFloat
    zero_point: int

    @property
    def quantization(self) -> QuantizationParams:
        """The tensor's scale and zero point, for ``quantize`` and ``dequantize``."""
        return QuantizationParams(self.scale, self.zero_point)


class MeshInput(_Model, frozen=True, kw_only=True):
    """The input of a model that takes mesh features.

    Attributes:
        tensor: ``(1, FEATURE_COUNT)``.
        features_id: which definition the features follow, ``edge.contract.mesh_features``.
        norm: what standardises them for this model.
    """

    tensor: TensorSpec
    features_id: NonEmptyText
    norm: FeatureNorm


class Dataset(_Model, frozen=True, kw_only=True):
    """Rows that a model was trained, calibrated or measured on.

    ``fingerprint`` is the SHA-256 of the pictures and labels used, in order.
    """

    name: Text
    split: Text
    rows: int
    fingerprint: Text


class BundleMetrics(_Model, frozen=True, kw_only=True):
    """Figures with the rows and the protocol that they were measured on."""

    dataset: Dataset
    protocol: Text
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[Text, float]


class Metadata(_Model, frozen=True, kw_only=True):
    """All that the device must know about a model, and where the model came from.

    Attributes:
        schema_version: see ``schema_version_for``.
        labels: in the order of the output: canonical emotions, and classes of one's own.
        input: the picture input, ``(1, size, size, 1)``; None for a model that takes no crop.
        mesh_input: the input for mesh features; None for a model that takes none.
        output: what it gives of each label, ``(1, len(labels))``.
        output_kind: what that is.
        color: colour order of the input; only grey today.
        template_id: the alignment of the crops, see ``edge.contract.align.TEMPLATES``.
        crops: what it learnt from. Either way the device aligns by the template: ``raw`` pictures
            are those that it was measured on, such as FER2013's. Only ``aligned`` is written down.
        decision: what makes scores of the output. In schemas 1 to 3 it is a ``temperature``.
        created_at: UTC, ISO 8601.
        forced: whether the conversion did not meet its gate and was written all the same.
    """

    schema_version: SchemaVersion = CROP_VERSION
    name: NonEmptyText
    edgeemo_version: Text
    created_at: Text
    architecture: Text
    quantization: Quantization
    labels: tuple[Text, ...]
    input: TensorSpec | None
    mesh_input: MeshInput | None = None
    output: TensorSpec
    output_kind: OutputKind = "probabilities"
    color: Literal["gray"] = "gray"
    template_id: Text
    crops: Crops = "raw"
    decision: Decision = Decision()
    training_run: Text
    parameters: int
    training_data: Dataset
    calibration_data: Dataset | None = None
    metrics: BundleMetrics
    forced: bool = False

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
    if not CROP_VERSION <= version <= CALIBRATED_VERSION:
        remedy = "update edgeemo" if version > CALIBRATED_VERSION else "convert the model again"
        raise BundleError(
            f"{where}: schema version {version}, this edgeemo reads {CROP_VERSION} to "
            f"{CALIBRATED_VERSION}; {remedy}"
        )
    try:
        if version < DECISION_VERSION:
            metadata = _older(data)
        else:
            metadata = msgspec.json.decode(data, type=Metadata)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise BundleError(f"{where}: {error}") from error
    for problem in _contradictions(metadata):
        raise BundleError(f"{where}: {problem}")
    return metadata


def encode_metadata(metadata: Metadata) -> bytes:
    """Return ``metadata`` as indented JSON with a final newline, each list of numbers in a line."""
    fields = msgspec.to_builtins(metadata)
    if metadata.crops == "raw":
        del fields["crops"]  # as every bundle was before; an older edgeemo refuses the other
    if metadata.mesh_input is None:
        del fields["mesh_input"]  # which readers of the first schema would refuse
    if not metadata.forced:
        del fields["forced"]  # the same
    if metadata.decision.calibration is None:
        del fields["decision"]["calibration"]
    if metadata.schema_version < DECISION_VERSION:
        del fields["output_kind"]
        fields["decision"] = metadata.decision.temperature
        names = {"decision": "temperature"}
        fields = {names.get(name, name): value for name, value in fields.items()}
    text = msgspec.json.format(msgspec.json.encode(fields), indent=2)
    return _NUMBERS.sub(lambda match: b"[%b]" % b" ".join(match[1].split()), text) + b"\n"


def schema_version_for(
    mesh_input: MeshInput | None,
    quantization: Quantization,
    *,
    forced: bool,
    output_kind: OutputKind = "probabilities",
    decision: Decision = Decision(),  # noqa: B008 - frozen
) -> SchemaVersion:
    """Return the lowest schema version that can tell of such a bundle."""
    if decision.calibration is not None:
        return CALIBRATED_VERSION
    if output_kind == "logits" or decision != Decision(temperature=decision.temperature):
        return DECISION_VERSION
    if forced or quantization in ("int8-float-io", "mixed"):
        return FORCED_VERSION
    return CROP_VERSION if mesh_input is None else MESH_VERSION


_NUMBERS: Final = re.compile(rb"\[\n((?:\s+[-+.\deE]+,\n)*\s+[-+.\deE]+)\n\s*\]")
"""A list of numbers as ``msgspec.json.format`` lays it out. No string holds a bare newline."""


def _older(data: bytes) -> Metadata:
    """Read a bundle of an older schema, whose decision is a temperature."""
    fields = msgspec.json.decode(data)
    if found := {"decision", "output_kind"} & fields.keys():
        raise msgspec.ValidationError(f"Object contains unknown field `{min(found)}`")
    if "temperature" in fields:
        fields["decision"] = {"temperature": fields.pop("temperature")}
    return msgspec.convert(fields, Metadata)


def _schema_version(data: bytes, where: str) -> int:
    class Versioned(msgspec.Struct):
        schema_version: int

    try:
        return msgspec.json.decode(data, type=Versioned).schema_version
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where}: not a bundle's metadata ({error})") from error


def _contradictions(metadata: Metadata) -> list[str]:
    labels = metadata.labels
    problems = []
    if wrong := [label for label in labels if not is_label(label)]:
        problems.append(
            f"impossible labels {wrong}; expected emotions, or names of small letters, digits, - "
            "and _"
        )
    if len(set(labels)) != len(labels) or len(labels) < 2:
        problems.append(f"labels must be two or more different names, got {list(labels)}")
    if metadata.output.shape != (1, len(labels)):
        problems.append(
            f"{len(labels)} labels do not fit an output of shape {list(metadata.output.shape)}"
        )
    prior = metadata.decision.prior
    if prior and len(prior) != len(labels):
        problems.append(f"{len(labels)} labels do not fit a prior of {len(prior)}")
    calibration = metadata.decision.calibration
    if calibration and len(calibration.fitted) != len(labels):
        problems.append(
            f"{len(labels)} labels do not fit a calibration of {len(calibration.fitted)}"
        )
    if metadata.template_id not in TEMPLATES:
        problems.append(
            f"unknown alignment template {metadata.template_id!r}; known: {sorted(TEMPLATES)}"
        )
    elif metadata.input is not None and metadata.input.shape != _crop_shape(metadata.template):
        problems.append(
            f"template {metadata.template_id} makes {metadata.template.size}-pixel grey crops, "
            f"the input has shape {list(metadata.input.shape)}"
        )
    return [*problems, *_input_contradictions(metadata)]


def _crop_shape(template: Template) -> tuple[int, ...]:
    return 1, template.size, template.size, 1


def _input_contradictions(metadata: Metadata) -> list[str]:
    mesh = metadata.mesh_input
    if metadata.schema_version != schema_version_for(
        mesh,
        metadata.quantization,
        forced=metadata.forced,
        output_kind=metadata.output_kind,
        decision=metadata.decision,
    ):
        has = "no mesh input" if mesh is None else "a mesh input"
        forced = ", forced" if metadata.forced else ""
        return [
            f"schema version {metadata.schema_version} with {has}, {metadata.quantization}{forced}"
        ]
    if mesh is None:
        return ["the model has no input"] if metadata.input is None else []
    if mesh.features_id != FEATURES_ID:
        return [
            f"the model takes mesh features {mesh.features_id!r}, this edgeemo computes "
            f"{FEATURES_ID!r}; update edgeemo or convert the model again"
        ]
    if mesh.tensor.shape != (1, FEATURE_COUNT):
        return [
            f"{FEATURES_ID} has {FEATURE_COUNT} features, the mesh input has shape "
            f"{list(mesh.tensor.shape)}"
        ]
    return []
