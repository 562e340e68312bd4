"""The networks keep what converters and devices rely on."""

import numpy as np
import pytest

from edge.errors import ConfigError
from host_training.architectures import ARCHITECTURES, build
from host_training.evaluate import batched_probabilities

CONVERTIBLE = {
    "InputLayer",
    "Rescaling",
    "Conv2D",
    "BatchNormalization",
    "ReLU",
    "Add",
    "GlobalAveragePooling2D",
    "Dropout",
    "Dense",
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_takes_raw_pixels_and_gives_probabilities(name: str) -> None:
    """Pixels 0..255 of one grey crop go in, probabilities of the asked number of classes out."""
    model = build(name, 5)
    assert model.input_shape == (None, 48, 48, 1)
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    probabilities = batched_probabilities(model, images)
    assert probabilities.shape == (3, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_layers_that_quantise(name: str) -> None:
    """No layer is outside what converts to plain int8 kernels; rescaling is in the network."""
    kinds = [type(layer).__name__ for layer in build(name, 8).layers]
    assert set(kinds) <= CONVERTIBLE
    assert kinds[1] == "Rescaling"


def test_compact_keeps_its_budget() -> None:
    """int8 weights of compact stay well below the million bytes of a default bundle."""
    assert build("compact", 8).count_params() < 900_000


def test_the_seed_sets_the_weights() -> None:
    """The same seed gives the same network, another seed another one."""
    first, again, other = (build("compact", 8, seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_name_lists_the_known() -> None:
    """A wrong name is bad usage and tells the right ones."""
    with pytest.raises(ConfigError, match="unknown architecture 'compcat'; expected compact"):
        build("compcat", 8)
