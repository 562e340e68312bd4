"""The networks keep what converters and devices rely on."""

import numpy as np
import pytest

from edge.contract.mesh_features import FEATURE_COUNT
from edge.errors import ConfigError
from host_training.architectures import ARCHITECTURES, architecture, build
from host_training.architectures.cost import cost
from host_training.frameworks import import_keras
from host_training.metrics.predict import batched_probabilities

CONVERTIBLE = {
    "InputLayer",
    "Rescaling",
    "Conv2D",
    "BatchNormalization",
    "ReLU",
    "Add",
    "Average",
    "Concatenate",
    "Flatten",
    "Flip",
    "GlobalAveragePooling2D",
    "MaxPooling2D",
    "Split",
    "Dropout",
    "Dense",
}
SHAPES = {"pixels": (48, 48, 1), "mesh": (FEATURE_COUNT,)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_takes_what_it_says_and_gives_probabilities(name: str) -> None:
    """Inputs are those of the registry; probabilities of the asked number of classes come out."""
    model = build(name, 5)
    shapes = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    assert shapes == {kind: SHAPES[kind] for kind in architecture(name).inputs}
    generator = np.random.default_rng(0)
    inputs = {
        "pixels": generator.integers(0, 256, (3, 48, 48, 1)).astype(np.float32),
        "mesh": generator.normal(0, 1, (3, FEATURE_COUNT)).astype(np.float32),
    }
    probabilities = batched_probabilities(model, inputs)
    assert probabilities.shape == (3, 5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_layers_that_quantise(name: str) -> None:
    """No layer is outside what converts to plain int8 kernels; rescaling is in the network."""
    kinds = [type(layer).__name__ for layer in build(name, 8, inference=True).layers]
    assert set(kinds) <= CONVERTIBLE
    assert ("Rescaling" in kinds) == ("pixels" in architecture(name).inputs)


def test_the_seed_is_the_predecessor_exactly() -> None:
    """7,831,815 parameters, 7,827,719 of them trainable, about 3.2 billion multiplications."""
    costs = cost(build("seed", 7))
    assert (costs.parameters, costs.trainable) == (7_831_815, 7_827_719)
    assert costs.macs == pytest.approx(3.2e9, rel=0.02)


def test_multiplications_of_known_layers() -> None:
    """A convolution counts each weight once a place, a dense layer each weight once."""
    layers = import_keras().layers
    inputs = import_keras().Input((8, 8, 2))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4 x 4 places of 3 x 3 x 2 x 4
    x = layers.Dense(5)(layers.Flatten()(x))  # 64 x 5
    assert cost(import_keras().Model(inputs, x)).macs == 16 * 72 + 320


@pytest.mark.parametrize(
    ("name", "parameters", "macs"),
    [("compact", 900_000, 60_000_000), ("micro", 150_000, 15_000_000), ("fusion", 960_000, 60e6)],
)
def test_keep_their_budgets(name: str, parameters: int, macs: int) -> None:
    """int8 weights stay below the million bytes of a default bundle, micro's far below."""
    costs = cost(build(name, 8, inference=True))
    assert costs.parameters < parameters
    assert costs.macs < macs


@pytest.mark.parametrize("name", ["compact", "micro"])
def test_a_mirrored_network_does_not_tell_left_from_right(name: str) -> None:
    """A picture and its mirror image get the same answer, the mean of both, at twice the cost."""
    trained = build(name, 8, seed=3)
    kept = build(name, 8, seed=4, inference=True)
    kept.set_weights(trained.get_weights())
    pictures = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1)).astype(np.float32)
    mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
    answers = batched_probabilities(kept, {"pixels": pictures})
    np.testing.assert_array_equal(answers, batched_probabilities(kept, {"pixels": mirrored}))
    one, other = (
        np.log(batched_probabilities(trained, {"pixels": views})) for views in (pictures, mirrored)
    )
    mean = np.exp((one + other) / 2)
    np.testing.assert_allclose(answers, mean / mean.sum(axis=1, keepdims=True), atol=1e-5)
    head = 8 * kept.get_layer("scores").kernel.shape[0]
    assert cost(kept).macs - head == 2 * (cost(trained).macs - head)


def test_the_seed_sets_the_weights() -> None:
    """The same seed gives the same network, another seed another one."""
    first, again, other = (build("compact", 8, seed=seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_name_lists_the_known() -> None:
    """A wrong name is bad usage and tells the right ones."""
    with pytest.raises(ConfigError, match="unknown architecture 'compcat'; expected compact"):
        build("compcat", 8)
