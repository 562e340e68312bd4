"""A wider network starts from a narrower one's answers."""

import numpy as np
import pytest

from host_training.architectures import ARCHITECTURES, Architecture, build, residual
from host_training.training.widen import widened

WIDE = tuple(2 * width for width in residual.MICRO_CHANNELS)


@pytest.fixture
def _twice_micro(monkeypatch: pytest.MonkeyPatch) -> None:
    def builder(classes: int, dropout: float, mirrored: bool) -> object:
        return residual.pixel_classifier("twice", WIDE, classes, dropout, mirrored=mirrored)

    monkeypatch.setitem(ARCHITECTURES, "twice", Architecture(builder, 0.2, ("pixels",), "test"))


def weights(model: object) -> dict[str, list[np.ndarray]]:
    return {layer.name: layer.get_weights() for layer in model.layers}


@pytest.mark.usefixtures("_twice_micro")
def test_features_stay_and_copies_differ() -> None:
    """The wide network's features are the narrow one's, twice; the copies' own kernels differ."""
    narrow, wide = build("micro", 5, seed=1), build("twice", 5)
    body = {layer.name for layer in wide.layers} - {"scores"}
    grown = widened(wide, weights(narrow), 0, body)
    assert grown is not None
    for name, arrays in grown.items():
        wide.get_layer(name).set_weights(arrays)
    pixels = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)

    def features(model: object) -> np.ndarray:
        import keras

        return np.asarray(keras.Model(model.input, model.get_layer("pool").output)(pixels))

    mine, theirs = features(wide), features(narrow)
    np.testing.assert_allclose(mine, np.concatenate([theirs, theirs], axis=1), rtol=1e-3, atol=1e-4)
    kernel = grown["stage2_second"][0]
    half = kernel.shape[2] // 2
    assert np.abs(kernel[:, :, :half] - kernel[:, :, half:]).mean() > 0.1 * np.abs(kernel).mean()


@pytest.mark.usefixtures("_twice_micro")
def test_what_is_no_multiple_is_left_alone() -> None:
    """Three halves as wide, or with other layers, is not widened."""
    wide = build("twice", 5)
    body = {layer.name for layer in wide.layers} - {"scores"}
    assert widened(wide, weights(build("compact", 5)), 0, body) is None
    assert widened(wide, {}, 0, body) is None
