"""Measuring a conversion: the whole parity report, on the device's own runtime."""

import numpy as np
from numpy.typing import NDArray

from converters.convert.strip_softmax import strip_softmax
from converters.model.model_file import TrainedModel
from converters.parity.check import ParityReport, compare, keras_probabilities
from converters.parity.gate import judge
from converters.parity.latency import Latency, compare_latency
from converters.request import ConvertRequest
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import read_graph
from edge.contract.decision import Decision, leading
from edge.inference.emotion_model import EmotionModel
from edge.inference.interpreter import TfliteModel, runtime_name
from host_training.runs.known_pictures import UNSEEN, seen_counts


def measure_conversion(
    request: ConvertRequest,
    trained: TrainedModel,
    model: EmotionModel,
    content: bytes,
    probabilities: NDArray[np.floating],
    decision: Decision,
) -> ParityReport:
    """Compare a converted model with the Keras model on every row of ``request.evaluation``.

    Args:
        request: tells rows, form and gate.
        trained: the Keras model.
        model: its converted form, loaded for one thread.
        content: the file that ``model`` was loaded from.
        probabilities: its answers to those rows, floats ``(n, k)``, as they come.
        decision: what makes scores of both models' answers.

    Raises:
        ConversionError: there are no rows, or the outputs are not probabilities.
        InferenceError: the device's runtime cannot run the model.
    """
    rows, labels = request.evaluation, trained.run.labels
    keras = keras_probabilities(trained.keras, trained.inputs(rows))
    answers = rows.labels_for(labels)
    comparison = compare(keras, probabilities, answers, labels, decision)
    known = trained.known
    places = None if known is None else known.places(rows.images)
    verdicts = judge(comparison.changes, request.gate)
    reference = content
    if request.quantization != "float32":
        reference, _ = strip_softmax(to_tflite(trained.keras, "float32"))
    return ParityReport(
        training_run=trained.run.run_id,
        quantization=request.quantization,
        recipe=request.recipe_name,
        kept_float=request.keep_float,
        dataset=rows.dataset,
        protocol=rows.protocol,
        runtime=runtime_name(),
        size_bytes=len(content),
        float_size_bytes=len(reference),
        parameters=trained.parameters,
        macs=read_graph(content).macs(),
        latency=_latency(request, trained, model, reference),
        comparison=comparison,
        decision=decision,
        seen=None if places is None else seen_counts(places),
        unseen=None
        if places is None
        else _on_unseen(
            places, (decision.adjusted(keras), decision.adjusted(probabilities)), answers
        ),
        gate=request.gate,
        verdicts=verdicts,
        passed=all(verdict.outcome != "refused" for verdict in verdicts),
    )


def _on_unseen(
    places: NDArray[np.int64],
    models: tuple[NDArray[np.floating], NDArray[np.floating]],
    answers: NDArray[np.int64],
) -> tuple[float, float] | None:
    """Return both models' accuracies on the rows that they did not know; None without any."""
    unseen = places == UNSEEN
    if not unseen.any():
        return None
    first, second = (float((leading(given[unseen]) == answers[unseen]).mean()) for given in models)
    return first, second


def _latency(
    request: ConvertRequest, trained: TrainedModel, model: EmotionModel, reference: bytes
) -> Latency | None:
    if request.quantization == "float32":
        return None
    float_model = EmotionModel(TfliteModel(reference, name="float32"), trained.run.mesh_norm)
    return compare_latency(model, float_model, request.evaluation)
