"""Training that goes on from a packaged int8 model."""

import numpy as np
import pytest

from edge.contract.bundle import PACKAGED, open_bundle
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError
from edge.inference.emotion_model import open_emotion_model
from host_training.architectures import build
from host_training.data.samples import Samples
from host_training.training.bundle_weights import folded_weights
from host_training.training.distillation import Teachers, model_file
from host_training.training.pretrained import load_pretrained


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """Probe crops of the packaged bundle: real faces, uint8 ``(n, 48, 48)``."""
    golden = np.load(PACKAGED / "golden.npz")
    (name,) = [name for name in golden.files if golden[name].shape[1:3] == (48, 48)]
    crops = golden[name]
    return (
        (crops.astype(np.int16) + 128 if crops.dtype == np.int8 else crops)
        .astype(np.uint8)
        .reshape(-1, 48, 48)
    )


def answers(model, crops: np.ndarray) -> np.ndarray:
    """Return a network's probabilities for crops, as it gives them outside training."""
    return np.asarray(model(crops[..., None].astype(np.float32), training=False))


def test_the_network_answers_as_the_bundle_does(crops) -> None:
    """Unfolded weights in the device's own form of the network give the bundle's answers."""
    bundle = open_bundle(PACKAGED)
    network = build("compact", len(EMOTIONS), dropout=0.1, inference=True)
    said = load_pretrained(network, EMOTIONS, model_file(PACKAGED), crops)
    assert said.startswith("starting from bundle default")
    device = open_emotion_model(bundle, num_threads=1)
    expected = np.array([device.probabilities(crop, None) for crop in crops])
    found = np.concatenate([answers(network, crop[None]) for crop in crops])
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    first, second = np.sort(expected, axis=1)[:, :-3:-1].T
    # Near a tie, int8 decides: the probes hold some of those by intent.
    assert same[first - second > 0.05].all()
    assert same.mean() >= 0.9
    assert np.abs(found - expected).mean() < 0.01


def test_normalisations_are_ready_to_train(crops) -> None:
    """On the rows that they were measured on, training and inference agree, layer for layer."""
    network = build("compact", len(EMOTIONS), dropout=0.0)
    load_pretrained(network, EMOTIONS, model_file(PACKAGED), crops)
    pixels = crops[..., None].astype(np.float32)
    still, training = network(pixels, training=False), network(pixels, training=True)
    np.testing.assert_allclose(still, training, atol=0.02)


def test_emotions_are_taken_over_by_name(crops) -> None:
    """A network for other emotions keeps what both know."""
    labels = ("happiness", "neutral", "surprise")
    full = build("compact", len(EMOTIONS), dropout=0.0)
    few = build("compact", len(labels), dropout=0.0)
    for network, known in ((full, EMOTIONS), (few, labels)):
        load_pretrained(network, known, model_file(PACKAGED), crops)
    kernel, bias = full.get_layer("scores").get_weights()
    at = [EMOTIONS.index(label) for label in labels]
    np.testing.assert_array_equal(few.get_layer("scores").get_weights()[0], kernel[:, at])
    np.testing.assert_array_equal(few.get_layer("scores").get_weights()[1], bias[at])


@pytest.mark.parametrize(
    ("architecture", "message"),
    [("micro", "another architecture, layer 'stem'"), ("seed", "only compact and micro")],
)
def test_another_architecture_is_refused(architecture, message, crops) -> None:
    """The layer that does not fit is named, or that this network cannot start from a bundle."""
    with pytest.raises(ConfigError, match=message):
        load_pretrained(
            build(architecture, len(EMOTIONS), dropout=0.0),
            EMOTIONS,
            model_file(PACKAGED),
            crops,
        )


def test_a_file_that_is_no_model_is_refused() -> None:
    """Bytes that are no TFLite file give one line."""
    with pytest.raises(ConfigError, match="not a sound TFLite file"):
        folded_weights(b"nothing of the kind", "x")


def test_a_bundle_teaches(crops, striped: Samples, tmp_path) -> None:
    """Its answers stand beside the labels; a teacher of other emotions is refused."""
    rows = Samples(
        images=crops,
        targets=np.full((len(crops), 8), 1 / 8, np.float32),
        labels=EMOTIONS,
        class_ids=np.zeros(len(crops), np.int64),
        split=np.array(["Training"] * len(crops)),
        name="crops",
        form="made up",
        protocol="labels",
    )
    teachers = Teachers([model_file(PACKAGED)], rows, 1, tmp_path)
    chosen, pixels = np.arange(len(crops)), crops[..., None].astype(np.float32)
    given = teachers.answers(0, chosen, pixels, np.zeros(len(crops), bool))
    device = open_emotion_model(open_bundle(PACKAGED), num_threads=1)
    expected = np.stack([device.probabilities(crop, None) for crop in crops])
    assert np.abs(given - expected).mean() < 0.01
    assert (given.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.9
    with pytest.raises(ConfigError, match="a teacher must know the same emotions"):
        Teachers([model_file(PACKAGED)], striped, 1, tmp_path)
