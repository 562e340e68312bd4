"""The conversion as a whole: model and rows in; a bundle out, or a reason and no bundle."""

import logging
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.bundle.golden import golden_vectors, kernel_difference
from converters.bundle.model_card import model_card
from converters.convert.calibrate import calibration_inputs, choose_calibration
from converters.convert.decide import decide
from converters.convert.fold_elu import fold_elu
from converters.convert.measure import measure_conversion
from converters.convert.mixed.layers import layer_operations, operations_of
from converters.convert.mixed.quantizer import FULL_INT8, Quantizer, keeping, read_recipe
from converters.convert.rehearsal import rehearsal_of
from converters.convert.strip_softmax import strip_softmax
from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.model.model_file import UNKNOWN, TrainedModel, load_model, no_mesh
from converters.parity.check import (
    ParityReport,
    encode_report,
    keras_probabilities,
    tflite_probabilities,
)
from converters.parity.plot import parity_png
from converters.request import ConvertRequest
from converters.tflite.conversion import INTEGER_QUANTIZATIONS, to_tflite
from converters.tflite.flatbuffer import (
    check_builtin_only,
    check_full_int8,
    check_int8_float_io,
    read_graph,
)
from converters.tflite.metadata import describe_file
from edge import __version__
from edge.contract.bundle import (
    GOLDEN,
    METADATA,
    MODEL,
    MODEL_CARD,
    PARITY,
    REHEARSAL,
    check_target,
    write_bundle,
)
from edge.contract.decision import Decision
from edge.contract.mesh_features import FEATURES_ID
from edge.contract.metadata import (
    BundleMetrics,
    MeshInput,
    Metadata,
    OutputKind,
    Quantization,
    decode_metadata,
    encode_metadata,
    schema_version_for,
)
from edge.contract.rehearsal import encode_rehearsal
from edge.inference.crash_guard import check_loads
from edge.inference.emotion_model import EmotionModel
from edge.inference.golden import encode_golden
from edge.inference.interpreter import TfliteModel
from host_training.metrics.scores import SATURATED, saturated
from host_training.runs.provenance import beside

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
"""Told in a few words which step begins."""


def convert(request: ConvertRequest, progress: Progress = logger.info) -> ParityReport:
    """Convert a model, measure what that costs, and write the bundle if it is little enough.

    The report's picture goes beside the bundle, as ``<out>.parity.png``, and the keys of the
    pictures that the model knows as ``<out>.pictures.npz``: a device needs neither. Past the gate
    no bundle is written, and an older one at ``out`` stays as it is; the report is kept beside it
    as ``<out>.parity.json``.

    Returns:
        The report that the bundle holds as ``parity.json``.

    Raises:
        ConversionError: the model or the rows do not fit, or the gate is not met.
        BundleError: the bundle cannot be written.
        InferenceError: the device's runtime cannot run what came out.
    """
    check_target(request.out)
    progress(f"loading {request.model}")
    trained = load_model(request.model, request.labels)
    _check_rows(request, trained)
    if trained.run.run_id == UNKNOWN and _is_saturated(request, trained):
        progress(f"WARNING: {SATURATED}")
    progress(f"converting to {request.quantization}")
    calibration = _calibration(request)
    content, output_kind = _convert(request, trained, calibration)
    check_loads(content, MODEL)
    model = EmotionModel(TfliteModel(content, name=MODEL), trained.run.mesh_norm, output_kind)
    golden = golden_vectors(model, _builtin(request, trained, content), trained.template)
    progress(f"comparing on {len(request.evaluation):,} samples")
    evaluation = request.evaluation
    probabilities = tflite_probabilities(model, evaluation.images, evaluation.mesh)
    decision = decide(request, trained, model, probabilities)
    report = measure_conversion(request, trained, model, content, probabilities, decision)
    kernels = kernel_difference(golden, model, decision)
    report = msgspec.structs.replace(report, kernels=kernels)
    _write_whole(_beside(request.out, "parity.png"), parity_png(report))
    _refuse_or_warn(request, report, progress)
    progress(f"writing {request.out}")
    metadata = _metadata(request, trained, model, report, calibration, decision)
    encoded = encode_metadata(metadata)
    decode_metadata(encoded, METADATA)  # a name or a run's id that no bundle may have
    write_bundle(
        request.out,
        _rehearsal(request, trained, model)
        | {
            MODEL: content,
            METADATA: encoded,
            PARITY: encode_report(report),
            GOLDEN: encode_golden(golden),
            MODEL_CARD: model_card(metadata, report, trained.run.validation_data).encode(),
        },
    )
    _beside(request.out, PARITY).unlink(missing_ok=True)  # of an earlier attempt
    _keep_pictures(request, trained)
    return report


def _rehearsal(
    request: ConvertRequest, trained: TrainedModel, model: EmotionModel
) -> dict[str, bytes]:
    """Return the rehearsal set as a file, where there are training samples for one."""
    if request.calibration is None:
        return {}
    return {
        REHEARSAL: encode_rehearsal(rehearsal_of(model, request.calibration, trained.run.labels))
    }


def _check_rows(request: ConvertRequest, trained: TrainedModel) -> None:
    """Find rows that do not fit before the long work starts."""
    if request.corrupted is not None and "mesh" in trained.kinds:
        raise ConversionError(
            "the model takes mesh features, and only pictures can be corrupted: fit its "
            "temperature on clean samples, --temperature-on clean"
        )
    for rows in (request.evaluation, request.calibration, request.corrupted):
        if rows is None:
            continue
        rows.labels_for(trained.run.labels)
        if "mesh" in trained.kinds and rows.mesh is None:
            raise ConversionError(no_mesh(rows.dataset.name))
        if "crop" in trained.kinds and rows.images.shape[1:] != (trained.size, trained.size):
            raise ConversionError(
                f"{rows.dataset.name} has pictures of {list(rows.images.shape[1:])} pixels, the "
                f"model takes {[trained.size, trained.size]}"
            )


def _keep_pictures(request: ConvertRequest, trained: TrainedModel) -> None:
    """Put what the model knows beside the bundle, for `edgeemo evaluate`; a device needs none."""
    if trained.known is None:
        beside(request.out).unlink(missing_ok=True)  # of another model
    else:
        _write_whole(beside(request.out), trained.known.encode())


def _is_saturated(request: ConvertRequest, trained: TrainedModel) -> bool:
    """Tell whether a model of one's own is certain of all it says, on a few rows."""
    few = request.evaluation[
        np.arange(0, len(request.evaluation), 1 + len(request.evaluation) // 512)
    ]
    scores = keras_probabilities(trained.keras, trained.inputs(few))
    return saturated(scores, few.labels_for(trained.run.labels))


def _calibration(request: ConvertRequest) -> LabelledImages | None:
    if request.quantization not in (*INTEGER_QUANTIZATIONS, "mixed") or request.calibration is None:
        return None
    return choose_calibration(request.calibration, request.calibration_rows, request.seed)


def _convert(
    request: ConvertRequest, trained: TrainedModel, calibration: LabelledImages | None
) -> tuple[bytes, OutputKind]:
    """Return a TFLite file that was read back and holds what the form promises, and what it gives.

    It gives logits where the model ends in a softmax, which is left out.
    """
    inputs = None if calibration is None else calibration_inputs(trained, calibration)
    if request.quantization == "mixed":
        content, output_kind = _mixed(request, trained, inputs)
        check_builtin_only(read_graph(content))
    else:
        content, output_kind = device_file(trained, request.quantization, inputs)
    named = request.bundle_name, _purpose(trained), trained.run.labels
    return describe_file(content, read_graph(content), *named, output_kind), output_kind


def device_file(
    trained: TrainedModel,
    quantization: Quantization,
    calibration: Sequence[NDArray[np.float32]] | None = None,
) -> tuple[bytes, OutputKind]:
    """Return a model as the device runs it, and what it gives: logits, where it had a softmax.

    Args:
        trained: the model.
        quantization: how weights and activations are stored; any but ``mixed``.
        calibration: rows for each of its inputs, see ``calibration_inputs``; for integers.

    Raises:
        ConversionError: the model cannot be converted, or what came out is not what was asked for.
    """
    content, output_kind = strip_softmax(to_tflite(trained.keras, quantization, calibration))
    if quantization in INTEGER_QUANTIZATIONS:
        content = fold_elu(content)
    check = {"int8": check_full_int8, "int8-float-io": check_int8_float_io}
    check.get(quantization, check_builtin_only)(read_graph(content))
    return content, output_kind


def _builtin(request: ConvertRequest, trained: TrainedModel, content: bytes) -> EmotionModel | None:
    if request.quantization not in INTEGER_QUANTIZATIONS:
        return None
    model = TfliteModel(content, name=MODEL, kernels="builtin")
    return EmotionModel(model, trained.run.mesh_norm)


def _purpose(trained: TrainedModel) -> str:
    return (
        f"Tells {len(trained.run.labels)} facial expressions apart; made by edgeemo {__version__} "
        f"from run {trained.run.run_id}, crops aligned by template {trained.run.template_id}. "
        "metadata.json of its bundle is the contract."
    )


def _mixed(
    request: ConvertRequest,
    trained: TrainedModel,
    inputs: tuple[NDArray[np.float32], ...] | None,
) -> tuple[bytes, OutputKind]:
    content, output_kind = strip_softmax(to_tflite(trained.keras, "float32"))
    recipe = read_recipe(request.recipe or FULL_INT8)
    if request.keep_float:
        known = layer_operations(read_graph(content), trained.keras)
        recipe = keeping(recipe, operations_of(request.keep_float, known))
    rows = None if inputs is None else dict(zip(trained.kinds, inputs, strict=True))
    return Quantizer(content, rows).quantize(recipe), output_kind


def _refuse_or_warn(request: ConvertRequest, report: ParityReport, progress: Progress) -> None:
    for verdict in report.verdicts:
        if verdict.outcome == "undecided":
            progress(f"WARNING: {verdict.words}")
    if report.passed:
        return
    comparison, gate = report.comparison, request.gate
    refused = "; ".join(v.words for v in report.verdicts if v.outcome == "refused")
    cost = (
        f"the {request.quantization} model loses {comparison.drop * 100:.2f} points of accuracy "
        f"and agrees with Keras on {comparison.agreement:.2%} of {report.dataset.rows:,} samples; "
        f"allowed are {gate.max_drop * 100:.2f} points and {gate.min_agreement:.2%}. {refused}"
    )
    if request.force:
        progress(f"FORCED: {cost}")
        return
    path = _beside(request.out, PARITY)
    _write_whole(path, encode_report(report))
    raise ConversionError(
        f"{cost}. No bundle was written, {path} says more: see --debug-layers and --keep-float for "
        "where it is lost, calibrate on more samples, try --fp16, or write it all the same with "
        "--force"
    )


def _metadata(
    request: ConvertRequest,
    trained: TrainedModel,
    model: EmotionModel,
    report: ParityReport,
    calibration: LabelledImages | None,
    decision: Decision,
) -> Metadata:
    run, measured = trained.run, report.comparison.tflite
    mesh_input = _mesh_input(model)
    return Metadata(
        schema_version=schema_version_for(
            mesh_input,
            request.quantization,
            forced=not report.passed,
            output_kind=model.output_kind,
            decision=decision,
        ),
        name=request.bundle_name,
        edgeemo_version=__version__,
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        architecture=run.architecture,
        quantization=request.quantization,
        labels=run.labels,
        input=model.input,
        mesh_input=mesh_input,
        output=model.output,
        output_kind=model.output_kind,
        template_id=run.template_id,
        crops=request.evaluation.crops,
        decision=decision,
        training_run=run.run_id,
        parameters=trained.parameters,
        training_data=run.training_data,
        calibration_data=calibration.dataset if calibration is not None else None,
        metrics=BundleMetrics(
            dataset=report.dataset,
            protocol=report.protocol,
            accuracy=measured.accuracy,
            balanced_accuracy=measured.balanced_accuracy,
            macro_f1=measured.macro_f1,
            recall=measured.recall,
        ),
        forced=not report.passed,
    )


def _mesh_input(model: EmotionModel) -> MeshInput | None:
    if model.mesh_input is None or model.norm is None:
        return None
    return MeshInput(tensor=model.mesh_input, features_id=FEATURES_ID, norm=model.norm)


def _beside(out: Path, name: str) -> Path:
    return out.with_name(f"{out.name}.{name}")


def _write_whole(path: Path, data: bytes) -> None:
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.write_bytes(data)
        staging.replace(path)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        staging.unlink(missing_ok=True)
