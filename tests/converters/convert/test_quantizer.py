"""Recipes need ai-edge-quantizer, which is an extra: `pip install 'edgeemo[quantize]'`."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from converters.convert.convert import convert
from converters.convert.mixed.debug_layers import layer_errors_view, rank_layers
from converters.convert.mixed.layers import layer_operations, operations_of
from converters.convert.mixed.quantizer import FULL_INT8, only, read_recipe
from converters.errors import ConversionError
from converters.parity.view import parity_view
from converters.request import ConvertRequest
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import read_graph
from edge.contract.bundle import open_bundle
from edge.contract.quantize import PIXELS
from edge.inference.golden import check_golden


@pytest.fixture
def request_mixed(run_directory, training_rows, evaluation_rows, tmp_path) -> ConvertRequest:
    return ConvertRequest(
        model=run_directory,
        out=tmp_path / "bundle",
        quantization="mixed",
        evaluation=evaluation_rows,
        calibration=training_rows,
        calibration_rows=80,
    )


def float_tensors(content: bytes) -> int:
    return sum(tensor.dtype == "FLOAT32" for tensor in read_graph(content).tensors)


def test_a_recipe_gives_the_ends_that_every_bundle_has(request_mixed):
    """int8 pixels in at scale 1 and zero point -128, int8 out, and golden outputs that hold."""
    report = convert(request_mixed)
    bundle = open_bundle(request_mixed.out)
    assert bundle.metadata.input.quantization == PIXELS
    assert (bundle.metadata.output.dtype, bundle.metadata.output_kind) == ("int8", "logits")
    assert (bundle.metadata.quantization, bundle.metadata.schema_version) == ("mixed", 4)
    assert report.recipe == FULL_INT8
    assert check_golden(bundle) == 0
    assert bundle.metadata.calibration_data is not None


def test_layers_kept_in_float_repair_a_model_that_quantises_badly(request_mixed, fragile_run):
    """The gate refuses full int8, and opens once the layers that rank worst stay in float."""
    request = replace(request_mixed, model=fragile_run)
    with pytest.raises(ConversionError, match="see --debug-layers and --keep-float"):
        convert(request)
    total, errors = rank_layers(request)
    assert total.changed > 0.3
    worst = errors[0]
    assert {"first_norm", "second"} & set(worst.layers)
    assert worst.mean_difference > 10 * errors[-1].mean_difference
    kept = ("first_norm", "second")
    report = convert(replace(request, keep_float=kept))
    assert report.comparison.agreement >= 0.97
    assert report.kept_float == kept
    assert float_tensors(open_bundle(request.out).model) > 2
    console = Console(file=io.StringIO(), width=200)
    console.print(parity_view(report))
    assert f"recipe {FULL_INT8}, in float: first_norm, second" in console.file.getvalue()


def test_the_ranking_shows_layers_and_the_whole(request_mixed):
    """The table has every operation of a layer, sorted, and the whole model last."""
    told: list[str] = []
    total, errors = rank_layers(request_mixed, told.append)
    means = [error.mean_difference for error in errors]
    assert means == sorted(means, reverse=True)
    assert len(told) == len(errors)
    console = Console(file=io.StringIO(), width=200)
    console.print(layer_errors_view(total, errors))
    text = console.file.getvalue()
    assert "CONV_2D" in text
    assert "second" in text
    assert text.index("all") > text.index("second")


def test_a_recipe_may_be_a_file(request_mixed, tmp_path):
    """A recipe of one's own is read from JSON, and its name kept."""
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(read_recipe("dynamic_wi8_afp32")))
    report = convert(replace(request_mixed, recipe=str(path)))
    bundle = open_bundle(request_mixed.out)
    assert bundle.metadata.input.dtype == "float32"
    assert report.recipe == str(path)


@pytest.mark.parametrize("content", ["", "{}", "[1]", "\x00", '[{"regex": ".*"}]'])
def test_a_file_that_is_no_recipe_is_one_clear_line(request_mixed, tmp_path, content):
    """A damaged recipe ends the conversion without a bundle."""
    path = tmp_path / "mine.json"
    path.write_text(content)
    with pytest.raises(ConversionError, match="recipe") as caught:
        convert(replace(request_mixed, recipe=str(path)))
    assert "\n" not in str(caught.value)
    assert not request_mixed.out.exists()


def test_unknown_recipes_and_layers_name_the_known_ones(request_mixed):
    """The message lists what there is to choose from."""
    with pytest.raises(ConversionError, match=r"no recipe 'best'; choose from .*static_wi8_ai8"):
        convert(replace(request_mixed, recipe="best"))
    with pytest.raises(ConversionError, match=r"no layer third .*; choose from .*second"):
        convert(replace(request_mixed, keep_float=("second", "third")))
    with pytest.raises(ConversionError, match="needs calibration samples, got none"):
        convert(replace(request_mixed, calibration=None))


def test_operations_are_named_by_their_layers(model):
    """A convolution with its normalisation and activation fused answers to each of the names."""
    known = layer_operations(read_graph(to_tflite(model, "float32")), model)
    (operation,) = operations_of(("second",), known)
    assert operation.name == "CONV_2D"
    assert operations_of(("first_norm",), known)[0] != operation
    (entry,) = only([operation])
    assert entry["regex"].startswith("^")
