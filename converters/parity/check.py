"""What a conversion costs: the Keras model and its TFLite form on the same rows, in full.

The TFLite file runs on the device's own runtime and code path, ``edge.inference.emotion_model``.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.model.model_file import no_mesh
from converters.parity.gate import Changes, Gate, Verdict
from converters.parity.latency import Latency
from converters.parity.paired_tests import Intervals, PairedScores, figures, paired_intervals
from edge.contract.decision import Decision, leading, temper
from edge.contract.metadata import Dataset, Quantization
from edge.contract.scores import expected_calibration_error
from edge.errors import BundleError
from edge.inference.emotion_model import EmotionModel
from host_training.frameworks import quiet
from host_training.metrics.inputs import input_names
from host_training.metrics.mcnemar import mcnemar_exact
from host_training.metrics.predict import batched_probabilities
from host_training.runs.known_pictures import Seen

_QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from the two models' answers to the same rows.

    Attributes:
        keras: the float model.
        tflite: its converted form.
        agreement: share of rows on which both give the same answer.
        mean_difference: mean absolute difference between the two probabilities.
        max_difference: the largest.
        only_keras_right: rows that only the float model answered right.
        only_tflite_right: rows that only the converted one answered right.
        mcnemar_p: exact two-sided p value of McNemar's test on those two: how likely so uneven a
            split is when both are equally good.
        rows: how many there are of each emotion; older reports leave out those with none.
        intervals: of what the conversion changed.
        difference_quantiles: of the largest difference in a row's probabilities, by the share of
            rows that lie below.
        only_right: by emotion, rows that only the float model answered right, and that only the
            converted one did.

    The last four are empty in reports of the first schema, the last one in others before the gate
    knew of chance.
    """

    keras: PairedScores
    tflite: PairedScores
    agreement: float
    mean_difference: float
    max_difference: float
    only_keras_right: int
    only_tflite_right: int
    mcnemar_p: float
    rows: dict[str, int] = {}
    intervals: Intervals | None = None
    difference_quantiles: dict[str, float] = {}
    only_right: dict[str, tuple[int, int]] = {}

    @property
    def drop(self) -> float:
        """Accuracy lost; negative when the converted model does better."""
        return self.keras.accuracy - self.tflite.accuracy

    @property
    def changes(self) -> Changes:
        """What changed, as numbers of samples, for the gate."""
        sizes = {label: n for label, n in self.rows.items() if n}
        pairs = [self.only_right[label] for label in sizes]
        return Changes(
            sizes=tuple(sizes.values()),
            lost=tuple(pair[0] for pair in pairs),
            gained=tuple(pair[1] for pair in pairs),
            differing=round((1 - self.agreement) * sum(self.rows.values())),
        )


class KernelDifference(msgspec.Struct, frozen=True, kw_only=True):
    """How far the two kinds of integer kernels lie apart, on the golden probes.

    tflite-runtime runs int8 models on TFLite's own, LiteRT on XNNPACK's.

    Attributes:
        steps: the largest difference, in steps of the output.
        same_answers: probes with the same most probable emotion.
        probes: how many there are.
    """

    steps: float
    same_answers: int
    probes: int


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``parity.json``: a comparison and what it was made on.

    Attributes:
        training_run: which run the model comes from.
        quantization: the form of the TFLite file.
        recipe: of ai-edge-quantizer, for the mixed form.
        kept_float: layers that were left in float.
        dataset: the rows that both models answered, all of them.
        protocol: how the rows' answers were made.
        runtime: which TFLite runtime answered.
        size_bytes: of the TFLite file.
        float_size_bytes: of the same model as a float32 TFLite file.
        parameters: weights of the Keras model.
        macs: multiplications of one inference, counted in the TFLite file.
        latency: against that float32 file; None for the float32 form itself.
        kernels: what another runtime's kernels change; None for float forms and in older reports.
        decision: what makes scores of both models' answers: every figure is of it. None in older
            reports, whose answers are those at tau 0.
        seen: how many of the rows the model knew, by the very picture; None where its run kept no
            pictures. Not sample by sample, which `edgeemo evaluate` gives, for a bundle is small.
        unseen: accuracy on the unseen ones alone, of the float and of the converted model.
        gate: what was asked for.
        verdicts: on each limit of the gate; empty in older reports, which knew nothing of chance.
        passed: whether the gate was met: no limit was passed by more than chance.
    """

    schema_version: Literal[1, 2] = 2
    training_run: str
    quantization: Quantization
    recipe: str | None = None
    kept_float: tuple[str, ...] = ()
    dataset: Dataset
    protocol: str
    runtime: str
    size_bytes: int
    float_size_bytes: int | None = None
    parameters: int
    macs: int | None = None
    latency: Latency | None = None
    kernels: KernelDifference | None = None
    comparison: Comparison
    decision: Decision | None = None
    seen: Seen | None = None
    unseen: tuple[float, float] | None = None
    gate: Gate
    verdicts: tuple[Verdict, ...] = ()
    passed: bool


def encode_report(report: ParityReport) -> bytes:
    """Return the report as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def decode_report(data: bytes, where: str) -> ParityReport:
    """Parse ``parity.json``.

    Raises:
        BundleError: it is not one; ``where`` names the file in the message.
    """
    try:
        return msgspec.json.decode(data, type=ParityReport)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{where}: not a parity report ({error}); convert again") from error


def compare(
    keras: NDArray[np.floating],
    tflite: NDArray[np.floating],
    answers: NDArray[np.int64],
    labels: tuple[str, ...],
    decision: Decision = Decision(),  # noqa: B008 - frozen
) -> Comparison:
    """Compare two models' probabilities ``(n, k)`` for the same rows, under a decision.

    Args:
        keras: of the float model.
        tflite: of the converted one.
        answers: the right answers, int64 ``(n,)``.
        labels: the ``k`` emotions.
        decision: what makes scores of them; the temperature moves the calibration error alone.
    """
    keras, tflite = decision.adjusted(keras), decision.adjusted(tflite)
    keras_top, tflite_top = leading(keras), leading(tflite)
    keras_right, tflite_right = keras_top == answers, tflite_top == answers
    difference = np.abs(keras.astype(np.float64) - tflite)
    lost, gained = keras_right & ~tflite_right, tflite_right & ~keras_right
    only_keras, only_tflite = int(lost.sum()), int(gained.sum())
    keras_ece, tflite_ece = (
        expected_calibration_error(temper(given, decision.temperature), answers)
        for given in (keras, tflite)
    )
    return Comparison(
        keras=figures(keras_top, answers, labels, keras_ece),
        tflite=figures(tflite_top, answers, labels, tflite_ece),
        agreement=float((keras_top == tflite_top).mean()),
        mean_difference=float(difference.mean()),
        max_difference=float(difference.max()),
        only_keras_right=only_keras,
        only_tflite_right=only_tflite,
        mcnemar_p=mcnemar_exact(only_keras, only_tflite),
        rows={label: int((answers == i).sum()) for i, label in enumerate(labels)},
        intervals=paired_intervals(answers, keras_top, tflite_top, labels),
        difference_quantiles={
            f"{share:g}": float(np.quantile(difference.max(axis=1), share)) for share in _QUANTILES
        },
        only_right={
            labels[i]: (int(lost[answers == i].sum()), int(gained[answers == i].sum()))
            for i in np.unique(answers)
        },
    )


def keras_probabilities(model: Any, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run a Keras model over rows; float32 ``(n, k)``.

    Args:
        model: a ``keras.Model``.
        inputs: ``n`` rows for each of its inputs, in their order, see ``TrainedModel.inputs``.

    Raises:
        ConversionError: there are no rows, or the outputs are not probabilities.
    """
    if not len(inputs[0]):
        raise ConversionError("parity needs evaluation samples, got none; choose another split")
    with quiet():
        output = batched_probabilities(model, dict(zip(input_names(model), inputs, strict=True)))
    if not np.allclose(output.sum(axis=1), 1, atol=1e-3) or output.min() < 0:
        raise ConversionError(
            "the Keras model's outputs are not probabilities (each row must sum to 1, the first "
            f"sums to {output[0].sum():.4g}); end it in a softmax"
        )
    return output


def tflite_probabilities(
    model: EmotionModel, images: NDArray[np.uint8], mesh: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Run a TFLite model over rows, one by one as the device does.

    Args:
        model: takes crops, mesh features or both.
        images: crops, uint8 ``(n, size, size)``.
        mesh: features ``(n, FEATURE_COUNT)``, not standardised; needed if the model takes them.

    Returns:
        float64 ``(n, k)``, not adjusted, not tempered.

    Raises:
        ConversionError: the model takes mesh features, and there are none.
    """
    if model.mesh_input is not None and mesh is None:
        raise ConversionError(no_mesh("the data"))
    output = np.empty((len(images), model.output.shape[-1]))
    features = repeat(None, len(images)) if mesh is None else mesh
    for row, image, of_face in zip(output, images, features, strict=True):
        row[:] = model.probabilities(image, of_face)
    return output
