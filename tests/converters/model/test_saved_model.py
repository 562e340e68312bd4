import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from converters.convert.convert import convert
from converters.errors import ConversionError
from converters.model.graph_operations import COMPUTING, SAVING
from converters.model.model_file import load_model
from converters.request import ConvertRequest
from converters.tflite.flatbuffer import read_graph
from edge.contract.bundle import open_bundle
from edge.contract.labels import EMOTIONS
from edge.inference.trial import KERAS_MEMORY
from host_training.frameworks import import_tensorflow, quiet


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


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_saved_model_of_half_precision_is_refused_by_name(saving, precision):
    """One line that names the precision, not what TensorFlow Lite's compiler makes of it."""

    def function(tf, crop):
        halves = tf.cast(tf.reshape(crop, (-1, 2304))[:, :8], precision)
        return tf.cast(tf.nn.softmax(halves), tf.float32)

    with pytest.raises(ConversionError, match=rf"computes in {precision} .* expected float32"):
        load_model(saving(function), EMOTIONS)


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


@pytest.fixture
def altered(exported, tmp_path):
    """Returns a copy of the exported model after a function has changed its one graph."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    def alter(change):
        folder = shutil.copytree(exported, tmp_path / "altered")
        file = folder / "saved_model.pb"
        model = SavedModel.FromString(file.read_bytes())
        change(model.meta_graphs[0], model)
        file.write_bytes(model.SerializeToString())
        return folder

    return alter


def served(meta):
    """Return the function that is called to serve."""
    return next(f for f in meta.graph_def.library.function if "wrapper" in f.signature.name)


@pytest.mark.parametrize(
    "name",
    [
        "DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "CacheDataset", "SnapshotDataset",
        "SnapshotDatasetV2", "TextLineDataset", "TFRecordDataset", "LoadDataset", "SaveDatasetV2",
        "SqlDataset", "DataServiceDataset", "PrintV2", "Assert", "PyFuncStateless", "EagerPyFunc",
        "LoadAndRemapMatrix", "InitializeTableFromTextFileV2", "DecodeImage", "RpcCall", "SaveV2",
        "RestoreV2", "MergeV2Checkpoints", "ShardedFilename", "XlaLaunch", "While",
        "StatelessWhile", "StatelessIf", "RandomUniform", "Snapshot", "NoSuchOperation",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(altered, name):
    """Also what TensorFlow calls stateless, what it knows not, and what saves weights."""

    def add(meta, _):
        served(meta).node_def.add(name="added", op=name)

    with pytest.raises(ConversionError, match=f"refused, it holds {name}, which does more"):
        load_model(altered(add), EMOTIONS)


def test_the_list_holds_nothing_that_has_a_state_but_weights(exported):
    """Of what TensorFlow itself calls stateful, weights and calls only; and all names are real."""
    from tensorflow.python.framework import op_def_registry

    known = {name: op_def_registry.get(name) for name in COMPUTING | SAVING}
    assert [name for name, definition in known.items() if definition is None] == []
    assert {name for name in COMPUTING if known[name].is_stateful} == {
        "AssignVariableOp", "DisableCopyOnRead", "ReadVariableOp", "StatefulPartitionedCall",
        "VarHandleOp", "VarIsInitializedOp",
    }  # fmt: skip


@pytest.mark.parametrize("way", ["an attribute", "a node", "an object"])
def test_what_saves_weights_may_not_be_called(altered, way):
    """It is in every SavedModel; one that names it elsewhere would have it run."""

    def call(meta, _):
        library = meta.graph_def.library.function
        (saver,) = (f.signature.name for f in library if "traced_save" in f.signature.name)
        if way == "an attribute":
            served(meta).node_def[0].attr["hidden"].list.func.add().name = saver
        elif way == "a node":
            served(meta).node_def.add(name="added", op=saver)
        else:
            meta.object_graph_def.concrete_functions[
                saver
            ].canonicalized_input_signature.SetInParent()

    with pytest.raises(ConversionError, match="refused, it holds MergeV2Checkpoints, SaveV2"):
        load_model(altered(call), EMOTIONS)


@pytest.mark.parametrize("kind", ["asset", "resource"])
def test_files_and_resources_beside_the_graph_are_refused(altered, kind):
    """A resource is made by a function of its own when the model is loaded."""

    def add(meta, _):
        getattr(meta.object_graph_def.nodes.add(), kind).SetInParent()

    with pytest.raises(ConversionError, match=f"refused, it holds {kind}, which does more"):
        load_model(altered(add), EMOTIONS)


@pytest.mark.parametrize("change", ["no objects", "two graphs"])
def test_a_saved_model_of_tensorflow_1_is_refused(altered, change):
    """Its loader runs what the file calls its initialisation."""

    def make_old(meta, model):
        if change == "no objects":
            meta.ClearField("object_graph_def")
        else:
            model.meta_graphs.add().CopyFrom(meta)

    with pytest.raises(ConversionError, match="a SavedModel of TensorFlow 1; export it again"):
        load_model(altered(make_old), EMOTIONS)


def test_a_saved_model_that_takes_too_much_memory_is_refused(saving, tmp_path, monkeypatch):
    """What each operation is allowed to do alone, all together may not: 8 GB are not had."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(KERAS_MEMORY, "1200")

    def function(tf, crop):
        large = tf.reduce_max(tf.tile(crop[:1], (1, 1000, 1000, 1)))
        return tf.nn.softmax(tf.reduce_mean(crop, (1, 2)) * tf.ones((1, 8)) + large)

    with pytest.raises(ConversionError, match="takes more than 1,200 MB of memory"):
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
        ("variables/variables.data-00000-of-00001", "TensorFlow cannot load it"),
        ("variables/variables.index", "TensorFlow cannot load it"),
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
