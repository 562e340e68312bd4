"""A model of one's own is measured under its own labels, or refused."""

import shutil

import numpy as np
import pytest

from converters.errors import ConversionError
from converters.opened import check_kind, opened
from converters.tflite.conversion import to_tflite
from edge.contract.bundle import PACKAGED
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError
from edgeemo.cli.options import read_model_labels
from host_training.data.load import one_hot
from host_training.data.samples import Samples
from host_training.evaluation.evaluate import Question, evaluate_in_full
from host_training.metrics.scores import SATURATED

GIVEN = tuple(reversed(EMOTIONS))


@pytest.fixture
def samples(evaluation_rows):
    class_ids = np.asarray(evaluation_rows.labels, np.int64)
    return Samples(
        images=evaluation_rows.images, targets=one_hot(class_ids, 8), labels=EMOTIONS,
        class_ids=class_ids,
        split=np.full(len(class_ids), "Test"), name="gratings", form="made", protocol="labels",
    )  # fmt: skip


@pytest.fixture
def bare(model, run_directory, tmp_path):
    """The same network as files that do not say the order of its outputs."""
    (tmp_path / "bare.tflite").write_bytes(to_tflite(model, "float32"))
    shutil.copy(run_directory / "model.keras", tmp_path / "bare.keras")
    return tmp_path


@pytest.mark.parametrize("name", ["bare.tflite", "bare.keras"])
def test_the_order_of_outputs_is_given_and_never_guessed(bare, samples, name):
    """Without labels a bare file is refused; with them it is as right as it was trained to be."""
    with pytest.raises(ConversionError, match=rf"{name}: nothing says .* --model-labels neutral,"):
        opened(bare / name)
    predict, _, origin = opened(bare / name, EMOTIONS)
    assert evaluate_in_full(samples, Question(), predict, origin).figures.accuracy > 0.9
    predict, _, origin = opened(bare / name, GIVEN)
    assert evaluate_in_full(samples, Question(), predict, origin).figures.accuracy < 0.2


@pytest.mark.parametrize("path", [PACKAGED, PACKAGED / "model.tflite"])
def test_labels_that_are_known_are_not_contradicted(path):
    """A bundle, and a file with labels inside, tell them; other ones are refused."""
    with pytest.raises(
        ConversionError, match=r"its own files say neutral, .* leave --model-labels"
    ):
        opened(path, GIVEN)
    assert opened(path, EMOTIONS)
    assert opened(path)


def test_a_model_trained_on_other_pixels_is_told(keras, model, samples, tmp_path):
    """A network that wants 0 to 1 is as good as certain of its mistakes; the note says so."""
    hungry = keras.Sequential([keras.Input((48, 48, 1)), *model.layers[1:]])
    hungry.save(tmp_path / "hungry.keras")
    predict, _, origin = opened(tmp_path / "hungry.keras", EMOTIONS)
    measured = evaluate_in_full(samples, Question(), predict, origin)
    assert SATURATED in measured.figures.remarks


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.h5", b"\x89HDF\r\n\x1a\n", "m.h5: refused, the old HDF5 form .*; or give a run dir"),
        ("m.onnx", b"\x08", "not a whole .keras file"),
        ("m.pt", b"\x80\x02", "refused, a pickle"),
        ("m.keras", b"zip", "m.keras: cannot be opened as a Keras model: not a whole"),
        ("saved/saved_model.pb", b"", "a SavedModel; convert it with `edgeemo convert`"),
    ],
)
def test_what_is_no_model_is_named(tmp_path, name, content, message):
    """Each kind of file that cannot be measured is told apart, before any data is read."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=message):
        check_kind(path.parent if "/" in name else path)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("neutral,happiness", ("neutral", "happiness")),
        ("Angry, happy ,sad", ("anger", "happiness", "sadness")),
        ("neutral,wrath", "--model-labels neutral,wrath: unknown emotion 'wrath'"),
        ("neutral,,fear", "unknown emotion ''"),
        ("happy,joy", "happiness comes twice"),
    ],
)
def test_labels_are_read_as_people_spell_them(text, labels):
    """Spellings of data sets are taken; what is no emotion, or comes twice, is bad usage."""
    if isinstance(labels, tuple):
        assert read_model_labels(text) == labels
        return
    with pytest.raises(ConfigError, match=labels):
        read_model_labels(text)
