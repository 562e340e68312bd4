from dataclasses import replace

import numpy as np
import pytest

from converters.convert.calibrate import choose_calibration
from converters.convert.convert import convert
from converters.convert.fold_elu import fold_elu
from converters.errors import ConversionError
from converters.request import ConvertRequest
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import check_full_int8, read_graph
from edge.contract.bundle import open_bundle
from edge.inference.golden import check_golden
from edge.inference.interpreter import TfliteModel


@pytest.fixture(scope="module")
def unfolded(elu_model, training_rows):
    pictures = choose_calibration(training_rows, 64).images
    return to_tflite(elu_model, "int8", [pictures[..., None].astype(np.float32)])


def test_elu_is_computed_in_integers_to_the_same_bits(unfolded, evaluation_rows):
    """Without the way through floats the outputs are those with it, for every picture."""
    with pytest.raises(ConversionError, match=r"not full int8: .*FLOAT32"):
        check_full_int8(read_graph(unfolded))
    folded = fold_elu(unfolded)
    graph = read_graph(folded)
    check_full_int8(graph)
    counts = graph.operation_counts()
    assert counts["ELU"] == 2
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(counts)
    before, after = TfliteModel(unfolded), TfliteModel(folded)
    for image in evaluation_rows.images[:100]:
        crop = (image.astype(np.int16) - 128).astype(np.int8)[None, :, :, None]
        assert np.array_equal(before.run(crop)[0], after.run(crop)[0])


def test_a_model_like_seed_converts(elu_run, training_rows, evaluation_rows, tmp_path):
    """ELU, Rescaling, BatchNormalization and Dropout come out full int8, past the gate."""
    request = ConvertRequest(
        model=elu_run,
        out=tmp_path / "bundle",
        evaluation=evaluation_rows,
        calibration=training_rows,
        calibration_rows=200,
    )
    report = convert(request)
    assert report.passed
    assert check_golden(open_bundle(request.out)) == 0
    ends = convert(replace(request, quantization="int8-float-io"))
    assert ends.comparison.tflite.accuracy == report.comparison.tflite.accuracy


def test_files_without_such_an_elu_stay_as_they_are(int8_content, elu_model):
    """Nothing is rewritten that need not be: not int8 without ELU, not ELU in float."""
    assert fold_elu(int8_content) is int8_content
    content = to_tflite(elu_model, "float32")
    assert fold_elu(content) is content
