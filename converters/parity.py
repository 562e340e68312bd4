"""What a conversion costs: the Keras model and its TFLite form on the same rows, in full.

The TFLite file runs on the device's own runtime and code path, ``edge.emotion_model``.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from converters.errors import ConversionError
from converters.frameworks import as_structured, quiet
from converters.model_file import no_mesh
from converters.tflite import Form
from edge.contract.errors import BundleError
from edge.contract.metadata import Dataset
from edge.emotion_model import EmotionModel

_BATCH: Final = 256


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """How well one of the two models does.

    Attributes:
        accuracy: share of rows answered right.
        balanced_accuracy: mean recall over the emotions that have rows.
        macro_f1: mean F1 over the emotions that have rows or were answered.
        recall: by emotion, where it has rows.
    """

    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversion may cost before no bundle is written.

    Attributes:
        max_drop: largest loss of accuracy, as a share (0.005 is half a point).
        min_agreement: smallest share of rows on which both models give the same answer.
    """

    max_drop: float = 0.005
    min_agreement: float = 0.97


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
    """

    keras: Figures
    tflite: Figures
    agreement: float
    mean_difference: float
    max_difference: float
    only_keras_right: int
    only_tflite_right: int
    mcnemar_p: float

    @property
    def drop(self) -> float:
        """Accuracy lost; negative when the converted model does better."""
        return self.keras.accuracy - self.tflite.accuracy

    def meets(self, gate: Gate) -> bool:
        """Tell whether the conversion costs no more than the gate allows."""
        return self.drop <= gate.max_drop and self.agreement >= gate.min_agreement


class ParityReport(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``parity.json``: a comparison and what it was made on.

    Attributes:
        training_run: which run the model comes from.
        quantization: the form of the TFLite file.
        dataset: the rows that both models answered, all of them.
        protocol: how the rows' answers were made.
        runtime: which TFLite runtime answered.
        size_bytes: of the TFLite file.
        parameters: weights of the Keras model.
        gate: what was asked for.
        passed: whether the gate was met.
    """

    schema_version: Literal[1] = 1
    training_run: str
    quantization: Form
    dataset: Dataset
    protocol: str
    runtime: str
    size_bytes: int
    parameters: int
    comparison: Comparison
    gate: Gate
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
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{where}: not a parity report ({error}); convert again") from error


def compare(
    keras: NDArray[np.float32],
    tflite: NDArray[np.float32],
    answers: NDArray[np.int64],
    labels: tuple[str, ...],
) -> Comparison:
    """Compare two models' probabilities ``(n, k)`` for the same rows.

    Args:
        keras: of the float model.
        tflite: of the converted one.
        answers: the right answers, int64 ``(n,)``.
        labels: the ``k`` emotions.
    """
    keras_top, tflite_top = keras.argmax(axis=1), tflite.argmax(axis=1)
    keras_right, tflite_right = keras_top == answers, tflite_top == answers
    difference = np.abs(keras.astype(np.float64) - tflite)
    only_keras = int((keras_right & ~tflite_right).sum())
    only_tflite = int((tflite_right & ~keras_right).sum())
    return Comparison(
        keras=figures(keras_top, answers, labels),
        tflite=figures(tflite_top, answers, labels),
        agreement=float((keras_top == tflite_top).mean()),
        mean_difference=float(difference.mean()),
        max_difference=float(difference.max()),
        only_keras_right=only_keras,
        only_tflite_right=only_tflite,
        mcnemar_p=mcnemar_exact(only_keras, only_tflite),
    )


def figures(
    predicted: NDArray[np.integer], answers: NDArray[np.integer], labels: tuple[str, ...]
) -> Figures:
    """Return accuracy, balanced accuracy, macro-F1 and recalls of ``predicted`` ``(n,)``."""
    k = len(labels)
    confusion = np.bincount(answers * k + predicted, minlength=k * k).reshape(k, k)
    hits, rows, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    has_rows, seen = rows > 0, rows + answered > 0
    recall = hits[has_rows] / rows[has_rows]
    f1 = 2 * hits[seen] / (rows + answered)[seen]
    return Figures(
        accuracy=float(hits.sum() / len(answers)),
        balanced_accuracy=float(recall.mean()),
        macro_f1=float(f1.mean()),
        recall={labels[i]: float(r) for i, r in zip(np.flatnonzero(has_rows), recall, strict=True)},
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p value of McNemar's test in its exact, binomial form.

    McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 1947; in integers, so that no size of sample underflows.
    """
    n, smaller = only_first + only_second, min(only_first, only_second)
    tail = term = 1
    for i in range(smaller):
        term = term * (n - i) // (i + 1)  # the binomial coefficient of n over i + 1
        tail += term
    return min(1.0, 2 * tail / (1 << n))


def keras_probabilities(model: Any, inputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run a Keras model over rows; float32 ``(n, k)``.

    Args:
        model: a ``keras.Model``.
        inputs: ``n`` rows for each of its inputs, in their order, see ``TrainedModel.inputs``.

    Raises:
        ConversionError: there are no rows, or the outputs are not probabilities.
    """
    if not len(inputs[0]):
        raise ConversionError("parity needs evaluation rows, got none; choose another split")
    with quiet():
        output = model.predict(as_structured(model, inputs), batch_size=_BATCH, verbose=0)
    if not np.allclose(output.sum(axis=1), 1, atol=1e-3) or output.min() < 0:
        raise ConversionError(
            "the Keras model's outputs are not probabilities (each row must sum to 1, the first "
            f"sums to {output[0].sum():.4g}); end it in a softmax"
        )
    return np.asarray(output, np.float32)


def tflite_probabilities(
    model: EmotionModel, images: NDArray[np.uint8], mesh: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Run a TFLite model over rows, one by one as the device does.

    Args:
        model: takes crops, mesh features or both.
        images: crops, uint8 ``(n, size, size)``.
        mesh: features ``(n, FEATURE_COUNT)``, not standardised; needed if the model takes them.

    Returns:
        float32 ``(n, k)``, not tempered.

    Raises:
        ConversionError: the model takes mesh features, and there are none.
    """
    if model.mesh_input is not None and mesh is None:
        raise ConversionError(no_mesh("the data"))
    output = np.empty((len(images), model.output.shape[-1]), np.float32)
    features = repeat(None, len(images)) if mesh is None else mesh
    for row, image, of_face in zip(output, images, features, strict=True):
        row[:] = model.probabilities(image, of_face)
    return output


def render(report: ParityReport) -> RenderableType:
    """Lay a report out for a console."""
    comparison = report.comparison
    keras, tflite = comparison.keras, comparison.tflite
    table = Table("figure", "Keras", report.quantization)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("accuracy", f"{keras.accuracy:.2%}", f"{tflite.accuracy:.2%}")
    balanced = f"{keras.balanced_accuracy:.2%}", f"{tflite.balanced_accuracy:.2%}"
    table.add_row("balanced accuracy", *balanced)
    table.add_row("macro-F1", f"{keras.macro_f1:.3f}", f"{tflite.macro_f1:.3f}")
    for label, recall in tflite.recall.items():
        table.add_row(f"recall {label}", f"{keras.recall[label]:.1%}", f"{recall:.1%}")
    # Text, for names may hold brackets, which rich would take for markup.
    rows = f"{report.dataset.rows:,} rows of {report.dataset.name} {report.dataset.split}"
    return Group(
        Text(f"Parity on all {rows}, protocol {report.protocol}, {report.runtime}"),
        table,
        Text(
            f"same answer on {comparison.agreement:.2%}; only Keras right "
            f"{comparison.only_keras_right}, only {report.quantization} right "
            f"{comparison.only_tflite_right}, McNemar's exact p = {comparison.mcnemar_p:.3g}"
        ),
        Text(
            f"probabilities differ by {comparison.mean_difference:.4f} on average, "
            f"{comparison.max_difference:.3f} at most; {report.size_bytes:,} bytes"
        ),
    )
