"""What is in a bundle: files and hashes, metadata, tensors, operations, figures."""

import math
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from converters.bundle.decision_view import decision_lines
from converters.bundle.inspect_graph import OperationEntry, operation_entries, operations_table
from converters.parity.check import ParityReport, decode_report
from converters.parity.view import gate_words, parity_view
from converters.tflite.flatbuffer import read_graph
from converters.tflite.metadata import FileMetadata, read_file_metadata
from edge.contract.bundle import KNOWN, MODEL, PARITY, Bundle
from edge.contract.metadata import Dataset, Metadata, TensorSpec
from edge.errors import BundleError
from edge.inference.emotion_model import open_emotion_model
from edge.inference.golden import check_golden
from edge.inference.interpreter import runtime_name


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the bundle, its size and its verified hash."""

    name: str
    size_bytes: int
    sha256: str


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say about a bundle; as JSON it is what ``--json`` writes.

    Attributes:
        path: the bundle's directory.
        digest: one SHA-256 for the whole bundle.
        files: in the order of ``edge.contract.bundle.KNOWN``.
        metadata: as it stands in ``metadata.json``.
        input: as the interpreter reports it, which agrees with the metadata; None without a crop.
        mesh_input: the same, None without mesh features.
        output: the same.
        file_metadata: what the model file says about itself to other tools; None in bundles of
            older versions.
        operations: how often each occurs.
        graph: all of them in the order in which they run.
        weights_bytes: constant data in the model file.
        runtime: which TFLite runtime loaded the model here.
        golden_steps: largest difference of this machine from the golden outputs, in output steps;
            infinite, null as JSON, where they are not numbers.
        parity: as it stands in ``parity.json``.
    """

    path: str
    digest: str
    files: tuple[FileEntry, ...]
    metadata: Metadata
    input: TensorSpec | None
    mesh_input: TensorSpec | None
    output: TensorSpec
    file_metadata: FileMetadata | None = None
    operations: dict[str, int]
    graph: tuple[OperationEntry, ...]
    weights_bytes: int
    runtime: str
    golden_steps: float
    parity: ParityReport


def describe(bundle: Bundle) -> Description:
    """Look into a bundle; its model is loaded and its golden vectors are run.

    Raises:
        BundleError: its parts contradict each other.
        ConversionError: the model file cannot be parsed.
        InferenceError: no runtime, or it cannot run the model.
    """
    model = open_emotion_model(bundle)
    graph = read_graph(bundle.model)
    parity_path = bundle.path / PARITY
    return Description(
        path=str(bundle.path),
        digest=bundle.digest,
        files=tuple(
            FileEntry(name=name, size_bytes=_size(bundle.path / name), sha256=bundle.sha256[name])
            for name in KNOWN
            if name in bundle.sha256
        ),
        metadata=bundle.metadata,
        input=model.input,
        mesh_input=model.mesh_input,
        output=model.output,
        file_metadata=_file_metadata(bundle),
        operations=graph.operation_counts(),
        graph=operation_entries(graph),
        weights_bytes=sum(tensor.data_bytes for tensor in graph.tensors),
        runtime=runtime_name(),
        golden_steps=check_golden(bundle),
        parity=decode_report(_read(parity_path), str(parity_path)),
    )


def bundle_view(description: Description, *, every_operation: bool = False) -> RenderableType:
    """Lay a description out for a console; without one, rich prints it as plain text."""
    graph = (operations_table(description.graph),) if every_operation else ()
    return Group(
        _heading(description),
        _files(description),
        _tensors(description),
        _operations(description),
        *graph,
        parity_view(description.parity, gate=False),
    )


def _heading(description: Description) -> Table:
    metadata = description.metadata
    grid = Table.grid(padding=(0, 2))
    for name, value in (
        ("bundle", description.path),
        ("digest", description.digest),
        ("model", f"{metadata.name}: {metadata.architecture}, {metadata.quantization}"),
        ("gate", _gate(description)),
        ("labels", ", ".join(metadata.labels)),
        ("in the file", _in_the_file(description.file_metadata)),
        ("template", f"{metadata.template_id}, learnt from {metadata.crops} crops"),
        ("mesh features", _mesh(metadata)),
        ("output", f"{metadata.output_kind}, {metadata.output.dtype}"),
        *decision_lines(metadata),
        ("parameters", f"{metadata.parameters:,} ({description.weights_bytes:,} bytes)"),
        ("training run", metadata.training_run),
        ("trained on", _rows(metadata.training_data)),
        ("calibrated on", _rows(metadata.calibration_data)),
        ("made", f"{metadata.created_at} by edgeemo {metadata.edgeemo_version}"),
        ("golden", _golden(description)),
    ):
        # Text, for names may hold brackets, which rich would take for markup.
        grid.add_row(Text(name, style="bold"), Text(value))
    return grid


def _gate(description: Description) -> str:
    return gate_words(description.parity, "written with --force")


def _file_metadata(bundle: Bundle) -> FileMetadata | None:
    found = read_file_metadata(bundle.model)
    if found is not None and found.labels != bundle.metadata.labels:
        raise BundleError(
            f"{bundle.path / MODEL}: has labels {', '.join(found.labels)} inside, the metadata say "
            f"{', '.join(bundle.metadata.labels)}; convert the model again"
        )
    if found is not None and found.output != bundle.metadata.output_kind:
        raise BundleError(
            f"{bundle.path / MODEL}: gives {found.output} by its own words, the metadata say "
            f"{bundle.metadata.output_kind}; convert the model again"
        )
    return found


def _in_the_file(found: FileMetadata | None) -> str:
    if found is None:
        return "no metadata for other tools"
    pixels = "" if found.mean is None else f", pixels less {found.mean:g} by {found.std:g}"
    return f"{found.name}, {len(found.labels)} labels{pixels}"


def _mesh(metadata: Metadata) -> str:
    mesh = metadata.mesh_input
    return "-" if mesh is None else f"{mesh.features_id}, {mesh.tensor.shape[-1]} standardised"


def _golden(description: Description) -> str:
    steps = description.golden_steps
    if not math.isfinite(steps):
        return f"FAILED: outputs that are not numbers on {description.runtime}"
    outcome = "equal outputs" if steps == 0 else f"outputs differ by up to {steps:g} steps"
    return f"{outcome} on {description.runtime}"


def _rows(dataset: Dataset | None) -> str:
    if dataset is None:
        return "-"
    return f"{dataset.name} {dataset.split}, {dataset.rows:,} samples ({dataset.fingerprint[:12]})"


def _files(description: Description) -> Table:
    table = Table("file", "bytes", "SHA-256", title="Files", title_justify="left")
    table.columns[1].justify = "right"
    for file in description.files:
        table.add_row(file.name, f"{file.size_bytes:,}", file.sha256[:16])
    return table


def _tensors(description: Description) -> Table:
    header = ("tensor", "name", "type", "shape", "scale", "zero point")
    table = Table(*header, title="Tensors", title_justify="left")
    for which, tensor in (
        ("input", description.input),
        ("mesh input", description.mesh_input),
        ("output", description.output),
    ):
        if tensor is None:
            continue
        shape = " x ".join(map(str, tensor.shape))
        scale, zero_point = f"{tensor.scale:g}", str(tensor.zero_point)
        table.add_row(which, Text(tensor.name), tensor.dtype, shape, scale, zero_point)
    return table


def _operations(description: Description) -> Table:
    table = Table("operation", "count", title="Operations", title_justify="left")
    table.columns[1].justify = "right"
    for name, count in description.operations.items():
        table.add_row(name, str(count))
    return table


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; copy the bundle again") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}; copy the bundle again") from error
