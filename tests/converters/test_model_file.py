import json
import pickle
import shutil
import zipfile

import pytest

from converters.errors import ConversionError
from converters.model_file import UNKNOWN, load_model
from edge.contract.labels import EMOTIONS


@pytest.fixture
def run(run_directory, tmp_path):
    return shutil.copytree(run_directory, tmp_path / "run")


def change_record(run, **fields):
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **fields}))
    return run


def test_a_run_directory_and_its_file_are_the_same_model(run, training_rows):
    """The record beside a .keras file is read, whichever of the two is named."""
    for path in (run, run / "model.keras"):
        trained = load_model(path)
        assert trained.run.run_id == "tiny-0001"
        assert trained.run.labels == EMOTIONS
        assert trained.run.training_data == training_rows.dataset
        assert trained.parameters == trained.keras.count_params() > 1000
        assert trained.size == 48


def test_a_bare_file_needs_its_labels(run):
    """Without a record the order of the outputs is unknown, and is not guessed."""
    (run / "run.json").unlink()
    with pytest.raises(ConversionError, match="order of the model's outputs is unknown"):
        load_model(run / "model.keras")
    trained = load_model(run / "model.keras", EMOTIONS)
    assert trained.run.labels == EMOTIONS
    assert trained.run.run_id == trained.run.training_data.name == UNKNOWN
    assert trained.run.architecture == "tiny"


def test_labels_that_contradict_the_record_are_refused(run):
    """Two sources that disagree are an error, not a choice."""
    with pytest.raises(ConversionError, match=r"were given, .*run\.json says"):
        load_model(run, EMOTIONS[::-1])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": EMOTIONS[:7]}, r"outputs have shapes .*expected one \(None, 7\)"),
        ({"labels": [*EMOTIONS[:7], "boredom"]}, r"unknown labels \['boredom'\]"),
        ({"template_id": "fer96"}, "unknown template 'fer96'"),
        ({"labels": 8}, "not the record of a training run"),
        ({"training_data": None}, "not the record of a training run"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(run, fields, message):
    """Labels, template and data of the record must be possible and fit the model."""
    with pytest.raises(ConversionError, match=message) as caught:
        load_model(change_record(run, **fields))
    assert "\n" not in str(caught.value)


class Touch:
    """A pickle that does something when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    """A .pkl can run code, so it is not read at all."""
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "touched")))
    with pytest.raises(ConversionError, match="refused, a pickle runs any code"):
        load_model(tmp_path / "model.pkl", EMOTIONS)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.h5", b"\x89HDF\r\n", "refused, the old HDF5 form"),
        ("model.keras", b"not a zip", "not a whole .keras file"),
        ("model.zip", b"PK\x03\x04", "not a whole .keras file"),
        ("model.onnx", b"onnx", "not a whole .keras file"),
        ("older.keras", b"\x89HDF\r\n\x1a\n rest", "refused, the old HDF5 form"),
        ("pickled.keras", pickle.dumps({}), "refused, a pickle runs any code"),
    ],
)
def test_other_files_are_refused_with_the_reason(tmp_path, name, content, message):
    """What is not a .keras file is told so in one line."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=message) as caught:
        load_model(tmp_path / name, EMOTIONS)
    assert "\n" not in str(caught.value)


def test_a_missing_model_is_named(tmp_path):
    """A path that is not there, and a folder without a model."""
    for path in (tmp_path / "absent.keras", tmp_path):
        with pytest.raises(ConversionError, match=r"no such file; expected a \.keras file, a"):
            load_model(path, EMOTIONS)


def test_a_truncated_model_is_refused(run):
    """A copy that broke off is an error in one line."""
    content = (run / "model.keras").read_bytes()
    (run / "model.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(ConversionError, match=r"not a whole \.keras file"):
        load_model(run)


def test_a_zip_without_weights_is_refused(run):
    """A .keras file that lacks a part is an error in one line."""
    whole = run / "model.keras"
    with zipfile.ZipFile(whole) as source:
        config = source.read("config.json")
    with zipfile.ZipFile(whole, "w") as target:
        target.writestr("config.json", config)
    with pytest.raises(ConversionError, match="Keras can not load it safely") as caught:
        load_model(run)
    assert "\n" not in str(caught.value)
    with zipfile.ZipFile(whole, "w") as target:
        target.writestr("readme.txt", "nothing")
    with pytest.raises(ConversionError, match=r"not a \.keras file"):
        load_model(run)


def test_a_lambda_layer_is_refused_and_never_called(keras, tmp_path):
    """Python code in a model file is not run, at any depth of nesting."""
    inner = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Lambda(lambda x: x * 2)])
    outer = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            inner,
            keras.layers.Flatten(),
            keras.layers.Dense(8, activation="softmax"),
        ]
    )
    outer.save(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match="refused, it holds a Lambda layer"):
        load_model(tmp_path / "model.keras", EMOTIONS)


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"]
)
@pytest.mark.parametrize("whole", [True, False])
def test_other_precisions_are_refused_by_name(keras, tmp_path, policy, whole):
    """A model or a single layer under another policy is one line that names it, not MLIR's."""
    with_policy = {"dtype": policy} if not whole else {}
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy if whole else before)
    try:
        inner = keras.Sequential([keras.Input((48, 48, 1)), keras.layers.Flatten()])
        outputs = keras.layers.Dense(8, activation="softmax", **with_policy)
        network = keras.Sequential([keras.Input((48, 48, 1)), inner, outputs])
    finally:
        keras.config.set_dtype_policy(before)
    network.save(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match=rf"policy {policy}, .*; expected float32") as caught:
        load_model(tmp_path / "model.keras", EMOTIONS)
    assert "\n" not in str(caught.value)


def test_how_a_model_was_compiled_is_no_precision(keras, tmp_path):
    """Losses and metrics may count in what they like; the network is what is converted."""
    layers = [keras.Input((48, 48, 1)), keras.layers.Flatten(), keras.layers.Dense(8)]
    network = keras.Sequential(layers)
    network.compile("adam", "mse", metrics=[keras.metrics.Mean(dtype="float64")])
    network.save(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras", EMOTIONS).run.run_id == UNKNOWN


def test_the_version_that_wrote_a_model_is_named(run):
    """What this Keras can not read says which one wrote it."""
    whole = run / "model.keras"
    with zipfile.ZipFile(whole) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    parts["metadata.json"] = b'{"keras_version": "2.15.0"}'
    parts["config.json"] = parts["config.json"].replace(b'"Conv2D"', b'"Conv2DOfOld"')
    with zipfile.ZipFile(whole, "w") as target:
        for name, content in parts.items():
            target.writestr(name, content)
    with pytest.raises(
        ConversionError, match=r"written by Keras 2\.15\.0, expected are .* Keras 3\."
    ) as caught:
        load_model(run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "units", "message"),
    [
        ((64, 64, 1), 8, r"inputs have shapes \[\(None, 64, 64, 1\)\], expected \(None, 48"),
        (
            (48, 48, 3),
            8,
            r"expected \(None, 48, 48, 1\) for template fer48-v1, \(None, 344\) for mesh",
        ),
        ((48, 48, 1), 7, r"outputs have shapes \[\(None, 7\)\], expected one \(None, 8\)"),
    ],
)
def test_other_tensors_are_refused(keras, tmp_path, shape, units, message):
    """A model of another size, colour or number of classes does not get as far as conversion."""
    layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(units)]
    keras.Sequential(layers).save(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match=message):
        load_model(tmp_path / "model.keras", EMOTIONS)
