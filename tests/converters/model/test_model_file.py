import json
import pickle
import re
import shutil
import zipfile

import pytest

from converters.errors import ConversionError
from converters.model.model_file import UNKNOWN, load_model
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError, EdgeEmoError
from edge.inference import trial
from edge.inference.trial import KERAS_MEMORY
from host_training.metrics.predict import load_keras_model


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
        ({"labels": [*EMOTIONS[:7], "Bore dom"]}, r"unknown labels \['Bore dom'\]"),
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
    trial.remember(whole)  # a child's refusal is another matter, see below
    with pytest.raises(ConversionError, match="Keras cannot load it safely") as caught:
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
    trial.remember(tmp_path / "model.keras")
    assert load_model(tmp_path / "model.keras", EMOTIONS).run.run_id == UNKNOWN


def test_the_version_that_wrote_a_model_is_named(run):
    """What this Keras cannot read says which one wrote it."""
    whole = run / "model.keras"
    with zipfile.ZipFile(whole) as source:
        parts = {name: source.read(name) for name in source.namelist()}
    parts["metadata.json"] = b'{"keras_version": "2.15.0"}'
    parts["config.json"] = parts["config.json"].replace(b'"Conv2D"', b'"Conv2DOfOld"')
    with zipfile.ZipFile(whole, "w") as target:
        for name, content in parts.items():
            target.writestr(name, content)
    trial.remember(whole)
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
    trial.remember(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match=message):
        load_model(tmp_path / "model.keras", EMOTIONS)


@pytest.fixture
def greedy(run_directory, tmp_path):
    """A run whose file describes a layer of 3.7 GB, in a few kilobytes."""
    folder = shutil.copytree(run_directory, tmp_path / "greedy")
    with zipfile.ZipFile(run_directory / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    layers = config["config"]["layers"]
    last = next(layer for layer in reversed(layers) if layer["class_name"] == "Dense")
    flat = {
        "module": "keras.layers", "class_name": "Flatten", "registered_name": None,
        "config": {"name": "flat"}, "build_config": {"input_shape": [None, 48, 48, 1]},
    }  # fmt: skip
    picture = {
        "module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
        "config": {"batch_shape": [None, 48, 48, 1], "name": "picture", "dtype": "float32"},
    }  # fmt: skip
    last["config"]["units"] = 400_000
    last["build_config"] = {"input_shape": [None, 2304]}
    config["config"] = {"name": "greedy", "layers": [picture, flat, last]}
    config["class_name"], config["build_config"] = "Sequential", {"input_shape": [None, 48, 48, 1]}
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own, so that no model is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgeemo" / "opened"


@pytest.mark.parametrize("load", [load_model, load_keras_model])
def test_a_model_that_takes_too_much_memory_is_refused(greedy, cache, monkeypatch, load):
    """A child that opens it is ended at the limit; this process never opens it."""
    monkeypatch.setenv(KERAS_MEMORY, "1200")
    path = greedy if load is load_model else greedy / "model.keras"
    with pytest.raises(EdgeEmoError, match="takes more than 1,200 MB of memory") as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_a_model_is_opened_in_a_child_once(run, cache, monkeypatch):
    """Its hash spares the next time; another file, or one that fails there, is tried again."""
    load_model(run)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(trial, "open_watched", lambda *_: pytest.fail("opened again"))
    load_model(run)
    monkeypatch.setattr(trial, "open_watched", lambda *_: 1)
    content = (run / "model.keras").read_bytes()
    (run / "model.keras").write_bytes(content + b"x")
    load_model(run)
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashes TensorFlow \(sig"),
        ("import time; time.sleep(60)", "not opened and run once after 1 s"),
        ("x = b'x' * 1_500_000_000; import time; time.sleep(60)", "takes more than 1,000 MB"),
        ("raise SystemExit(3)", None),
    ],
)
def test_a_child_that_does_not_end_well_is_a_problem(run, cache, monkeypatch, program, message):
    """A crash, a hang or a greed for memory ends the child; what Python raises is told later."""
    monkeypatch.setenv(KERAS_MEMORY, "1000")
    monkeypatch.setattr(trial, "TIMEOUT_S", 1.0 if "60" in program[:30] else 60.0)
    problem = trial.problem_of_opening(run / "model.keras", program)
    assert problem is None if message is None else re.search(message, problem)
    assert not cache.exists()


@pytest.mark.parametrize("wrong", ["0", "much", "-5", "1e3", "10000000"])
def test_a_limit_that_is_none_is_a_usage_error(run, monkeypatch, wrong):
    """The variable is named."""
    monkeypatch.setenv(KERAS_MEMORY, wrong)
    with pytest.raises(ConfigError, match=f"{KERAS_MEMORY}="):
        load_model(run)


DEEP = b'{"a":' * 900 + b"1" + b"}" * 900


@pytest.mark.parametrize("content", [b" " * 20_000_000, b"[" * 100_000, DEEP, b"\xff", b""])
def test_a_description_that_is_none_is_one_line(run, content):
    """Neither its size nor its depth takes this process down."""
    with zipfile.ZipFile(run / "model.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", content)
    with pytest.raises(ConversionError, match=r"not a \.keras file|not load it safely") as caught:
        load_model(run)
    assert "\n" not in str(caught.value)
