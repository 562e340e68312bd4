"""Which layers a quantisation hurts: each is quantised alone, and the answers are compared."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from converters.convert.calibrate import balanced_choice, calibration_inputs, choose_calibration
from converters.convert.mixed.layers import LayerOperation, layer_operations
from converters.convert.mixed.quantizer import FULL_INT8, Quantizer, only, read_recipe
from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.model.model_file import load_model
from converters.parity.check import tflite_probabilities
from converters.request import ConvertRequest
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import read_graph
from edge.contract.decision import leading
from edge.contract.mesh_features import FeatureNorm
from edge.inference.emotion_model import EmotionModel
from edge.inference.interpreter import TfliteModel

ROWS: Final = 300
"""That each candidate answers."""


class LayerError(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs to quantise one operation and nothing else.

    Attributes:
        layers: of the Keras model, that the operation computes; any of them can be kept in float.
        operation: what TFLite calls it.
        mean_difference: mean absolute difference of the probabilities from the float file's.
        max_difference: the largest.
        changed: share of rows with another answer.
    """

    layers: tuple[str, ...]
    operation: str
    mean_difference: float
    max_difference: float
    changed: float


def rank_layers(
    request: ConvertRequest, progress: Callable[[str], None] = lambda _: None
) -> tuple[LayerError, list[LayerError]]:
    """Quantise every operation alone, and all together.

    Returns:
        The error of all together, and those of each, the worst first.

    Raises:
        ConversionError: the model or the samples do not fit.
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    if request.calibration is None:
        raise ConversionError("the ranges of layers need calibration samples, got none")
    trained = load_model(request.model, request.labels)
    content = to_tflite(trained.keras, "float32")
    chosen = choose_calibration(request.calibration, request.calibration_rows, request.seed)
    inputs = dict(zip(trained.kinds, calibration_inputs(trained, chosen), strict=True))
    rows = request.evaluation[balanced_choice(request.evaluation.labels, ROWS, request.seed)]
    compare = _Comparison(content, rows, trained.run.mesh_norm)
    quantizer = Quantizer(content, inputs)
    operations = layer_operations(read_graph(content), trained.keras)
    errors = []
    for number, operation in enumerate(operations, 1):
        progress(f"quantising {number} of {len(operations)}: {', '.join(operation.layers)}")
        errors.append(compare(quantizer.quantize(only([operation])), operation))
    whole = LayerOperation(name="all", scope="", layers=("all",))
    total = compare(quantizer.quantize(read_recipe(FULL_INT8)), whole)
    return total, sorted(errors, key=lambda error: -error.mean_difference)


class _Comparison:
    """Compares files with the float file on the same rows."""

    def __init__(self, content: bytes, rows: LabelledImages, norm: FeatureNorm | None) -> None:
        self._rows = rows
        self._norm = norm
        self._expected = self._probabilities(content)

    def _probabilities(self, content: bytes) -> NDArray[np.float64]:
        model = EmotionModel(TfliteModel(content), self._norm)
        return tflite_probabilities(model, self._rows.images, self._rows.mesh)

    def __call__(self, content: bytes, operation: LayerOperation) -> LayerError:
        actual = self._probabilities(content)
        difference = np.abs(actual.astype(np.float64) - self._expected)
        changed = leading(actual) != leading(self._expected)
        return LayerError(
            layers=operation.layers,
            operation=operation.name,
            mean_difference=float(difference.mean()),
            max_difference=float(difference.max()),
            changed=float(changed.mean()),
        )


def layer_errors_view(total: LayerError, errors: Sequence[LayerError]) -> Table:
    """Lay a ranking out for a console."""
    table = Table(
        "layers",
        "operation",
        "mean",
        "largest",
        "other answers",
        title="Quantised alone, against float: difference of probabilities",
        title_justify="left",
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for error in (*errors, total):
        # Text, for names may hold brackets, which rich would take for markup.
        table.add_row(
            Text(" + ".join(error.layers)),
            error.operation,
            f"{error.mean_difference:.5f}",
            f"{error.max_difference:.3f}",
            f"{error.changed:.1%}",
        )
    return table
