import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from converters.convert import convert
from converters.errors import ConversionError
from converters.flatbuffer import read_graph
from converters.frameworks import import_tensorflow, quiet
from converters.model_file import load_model
from converters.request import ConvertRequest
from edge.contract.bundle import open_bundle
from edge.contract.labels import EMOTIONS


@pytest.fixture(scope="module")
def exported(model, run_directory, tmp_path_factory):
    """The trained model as a SavedModel, with the record of its run beside it."""
    folder = tmp_path_factory.mktemp("exported")
    with quiet():
        model.export(folder / "saved", verbose=False)
    shutil.copy(run_directory / "run.json", folder)
    return folder / "saved"


@pytest.fixture
def saving(tmp_path):
    """Saves a function of one picture tensor as a SavedModel."""
    tf = import_tensorflow()

    def save(function):
        class Program(tf.Module):
            @tf.function(input_signature=[tf.TensorSpec((None, 48, 48, 1), tf.float32)])
            def serve(self, crop):
                return {"probabilities": function(tf, crop)}

        program = Program()
        with quiet():
            tf.saved_model.save(program, tmp_path / "saved", signatures=program.serve)
        return tmp_path / "saved"

    return save


def test_a_saved_model_converts_like_its_keras_file(
    exported, run_directory, training_rows, evaluation_rows, tmp_path
):
    """Weights, answers and the record of the run are the same; the int8 file computes alike."""
    ours, theirs = load_model(exported), load_model(run_directory)
    assert (ours.run, ours.parameters) == (theirs.run, theirs.parameters)
    request = ConvertRequest(
        model=exported,
        out=tmp_path / "bundle",
        evaluation=evaluation_rows,
        calibration=training_rows,
        calibration_rows=80,
    )
    report = convert(request)
    reference = convert(replace(request, model=run_directory, out=tmp_path / "reference"))
    assert report.comparison.keras == reference.comparison.keras
    assert report.comparison.tflite.accuracy == pytest.approx(
        reference.comparison.tflite.accuracy, abs=0.005
    )
    assert report.macs == reference.macs
    graphs = [read_graph(open_bundle(tmp_path / name).model) for name in ("bundle", "reference")]
    assert graphs[0].operation_counts() == graphs[1].operation_counts()


def test_without_a_record_the_labels_must_be_given(exported, tmp_path):
    """The order of outputs is never guessed."""
    shutil.copytree(exported, tmp_path / "saved")
    with pytest.raises(ConversionError, match="order of the model's outputs is unknown"):
        load_model(tmp_path / "saved")
    assert load_model(tmp_path / "saved", EMOTIONS).run.labels == EMOTIONS


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (lambda tf: tf.io.read_file("/etc/hostname"), "ReadFile"),
        (lambda tf: tf.io.matching_files("/etc/*"), "MatchingFiles"),
        (lambda tf: tf.numpy_function(lambda: b"x", [], tf.string), "PyFunc"),
        (lambda tf: tf.py_function(lambda: "x", [], tf.string), "EagerPyFunc"),
    ],
)
def test_a_saved_model_that_reaches_outside_is_refused(saving, operation, named):
    """A SavedModel is a program: one that reads files or calls Python is not even loaded."""

    def function(tf, crop):
        length = tf.cast(tf.strings.length(tf.reshape(operation(tf), [-1])[0]), tf.float32)
        return tf.nn.softmax(tf.reduce_mean(crop, (1, 2)) * tf.ones((1, 8)) + length)

    with pytest.raises(ConversionError, match=rf"refused, it holds {named}, which does more"):
        load_model(saving(function), EMOTIONS)


def test_a_saved_model_that_writes_is_refused(saving, tmp_path):
    """Nothing is written by looking at a model."""

    def function(tf, crop):
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "written"), "x")]):
            return tf.nn.softmax(tf.reduce_mean(crop, (1, 2)) * tf.ones((1, 8)))

    with pytest.raises(ConversionError, match="refused, it holds WriteFile"):
        load_model(saving(function), EMOTIONS)
    assert not (tmp_path / "written").exists()


def test_damaged_saved_models_give_one_line(exported, tmp_path):
    """A torn graph or torn weights end with a line that says what to do."""
    for name, match in (
        ("saved_model.pb", "not a whole SavedModel"),
        ("variables/variables.data-00000-of-00001", "TensorFlow can not load it"),
        ("variables/variables.index", "TensorFlow can not load it"),
    ):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(exported, copy)
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(ConversionError, match=match) as caught:
            load_model(copy, EMOTIONS)
        assert "\n" not in str(caught.value)


def test_a_saved_model_of_another_shape_is_refused(saving):
    """Its ends are checked as those of a .keras file are."""
    folder = saving(lambda tf, crop: tf.nn.softmax(tf.reduce_mean(crop, (1, 2)) * tf.ones((1, 3))))
    with pytest.raises(ConversionError, match=r"outputs have shapes .*3.*, expected one"):
        load_model(folder, EMOTIONS)


def test_the_run_record_is_only_read_beside_the_folder(exported, tmp_path):
    """A damaged record is named, not skipped."""
    shutil.copytree(exported, tmp_path / "saved")
    (tmp_path / "run.json").write_text(json.dumps({"labels": [1]}))
    with pytest.raises(ConversionError, match=r"run\.json: not the record"):
        load_model(tmp_path / "saved")
    assert np.isfinite(load_model(exported).parameters)
