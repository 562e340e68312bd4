"""PyTorch takes the very steps that Keras takes, and its runs are runs like any other."""

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from edge.errors import MissingExtraError
from host_training.architectures import architecture, build
from host_training.config import TrainConfig
from host_training.errors import TrainingError
from host_training.metrics.inputs import Batch, input_names
from host_training.training.learner import Learner, log_prior
from host_training.training.optimizer import learner_of, untrained_model
from host_training.training.torch_learner import TorchPredictor
from host_training.training.weight_average import WeightAverage

pytest.importorskip("torch")
# PyTorch's own compiler uses what PyTorch itself calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")

N = 64
COMPILED = os.environ.get("EDGEEMO_COMPILED", "mesh").split(",")
"""PyTorch's compiler takes a second a layer: the network of few layers, others in `make soak`."""


@pytest.fixture(autouse=True)
def _uncompiled(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the network run as it is: compiling it takes many times as long as a few steps."""
    torch = pytest.importorskip("torch")
    if "compiled" in request.node.name:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def batch(names: tuple[str, ...], weights: bool = False) -> Batch:
    generator = np.random.default_rng(1)
    targets = generator.random((N, 8)).astype(np.float32) ** 3
    inputs = {
        "pixels": generator.uniform(0, 255, (N, 48, 48, 1)).astype(np.float32),
        "mesh": generator.standard_normal((N, 344)).astype(np.float32),
    }
    own = {name: inputs[name] for name in names}
    each = np.linspace(0.2, 2, N, dtype=np.float32) if weights else None
    return Batch(own, targets / targets.sum(axis=1, keepdims=True), each)


def learner(config: TrainConfig) -> tuple[Learner, Batch]:
    model = untrained_model(config, 8)
    for layer in model.layers:
        if type(layer).__name__ == "Dropout":
            layer.rate = 0.0  # the two engines drop other units
    given = batch(input_names(model), config.class_weights)
    made = learner_of(model, config, 10, given.targets)
    made.begin_epoch(0)
    return made, given


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "micro"},
        {"architecture": "micro", "logit_adjustment": 1.0, "class_weights": True},
        {"architecture": "fusion"},
        {"architecture": "mesh"},
    ],
)
def test_three_steps_of_both_engines_agree(changes: dict[str, object]) -> None:
    """Losses, accuracies, rates and weights of the two engines stay together."""
    base = replace(TrainConfig(epochs=2, warmup_epochs=0.2, seed=3), **changes)
    results = []
    for engine in ("keras", "torch"):
        made, given = learner(replace(base, engine=engine))
        first = made.get_weights()
        steps = [(*made.step(given), made.learning_rate) for _ in range(3)]
        results.append((first, steps, made.get_weights()))
    (start, keras_steps, keras_end), (other_start, torch_steps, torch_end) = results
    for mine, theirs in zip(start, other_start, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(keras_steps, torch_steps, rtol=2e-3, atol=1e-5)
    moved = [np.abs(a - b).mean() for a, b in zip(keras_end, start, strict=True)]
    apart = [np.abs(a - b).mean() for a, b in zip(keras_end, torch_end, strict=True)]
    # Of 64 samples, the unbiased variance is 1.6 % larger than the one that Keras keeps.
    assert sum(apart) < 0.03 * sum(moved)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_network_steps_as_an_uncompiled_one_does(name: str) -> None:
    """What the compiler makes of a network computes the same."""
    torch = pytest.importorskip("torch")
    config = TrainConfig(architecture=name, engine="torch", epochs=2)
    (fused, given), (plain, _) = learner(config), learner(config)
    with torch.compiler.set_stance("force_eager"):
        expected = [plain.step(given) for _ in range(2)]
    np.testing.assert_allclose([fused.step(given) for _ in range(2)], expected, rtol=1e-3)


def test_a_predictor_answers_as_keras_does() -> None:
    """With the mirror image, too: what a teacher says does not depend on the engine."""
    model = build("micro", 8, seed=2, inference=True)
    plain = build("micro", 8, seed=2)
    plain.set_weights(model.get_weights())
    mirrored = architecture("micro").mirrored
    predictor = TorchPredictor(plain, mirrored=mirrored, precision="float32")
    pixels = batch(("pixels",)).inputs
    expected = np.asarray(model.predict_on_batch(pixels["pixels"]))
    np.testing.assert_allclose(predictor.predict_on_batch(pixels), expected, atol=1e-5)


def test_the_average_reads_the_weights_in_place() -> None:
    """No copy is made at each step, and the average is the same as that of copies."""
    made, given = learner(TrainConfig(architecture="micro", engine="torch", epochs=2))
    average = WeightAverage(made, decay=0.9)
    mean = made.get_weights()
    for step in range(1, 4):
        made.step(given)
        average.update()
        rate = 1 - min(0.9, (1 + step) / (10 + step))
        mean = [m + rate * (w - m) for m, w in zip(mean, made.get_weights(), strict=True)]
    for ours, expected in zip(average.weights(), mean, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)
    for view, again in zip(made.weight_views(), made.weight_views(), strict=True):
        assert np.shares_memory(view, again)


def test_a_state_goes_on_where_it_was() -> None:
    """A learner restored in between ends at the very weights of one that was not interrupted."""
    config = TrainConfig(architecture="micro", engine="torch", epochs=2, dropout=0.3)
    straight, given = learner(config)
    for epoch in range(2):
        straight.begin_epoch(epoch)
        straight.step(given)
        if epoch == 0:
            kept = straight.state()
    resumed, _ = learner(config)
    resumed.restore(kept)
    resumed.begin_epoch(1)
    resumed.step(given)
    for mine, theirs in zip(resumed.state(), straight.state(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    other, _ = learner(replace(config, architecture="mesh"))
    with pytest.raises(TrainingError, match="belongs to another network"):
        other.restore(kept)


@pytest.mark.parametrize("engine", ["keras", "torch"])
def test_the_adjusted_loss_is_that_of_shifted_logits(engine: str) -> None:
    """With tau 1 the first loss is the cross-entropy of the logits plus the log prior."""
    given = batch(("pixels",))
    rare = np.repeat(np.eye(8, dtype=np.float32), (30, 12, 10, 5, 3, 2, 1, 1), axis=0)
    config = TrainConfig(architecture="micro", engine=engine, logit_adjustment=1.0, dropout=0.0)
    model = untrained_model(config, 8)
    logits = np.log(np.asarray(model(given.inputs["pixels"], training=True)))
    shifted = logits + log_prior(rare)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    expected = float(-(rare * shifted).sum(axis=1).mean())
    made = learner_of(untrained_model(config, 8), config, 10, rare)
    made.begin_epoch(0)
    loss, _ = made.step(Batch(given.inputs, rare, None))
    assert loss == pytest.approx(expected, rel=1e-4)


def test_the_prior_is_the_share_in_the_targets() -> None:
    """Soft targets count by their mass; a label without any stays finite."""
    rare = np.repeat(np.eye(4, dtype=np.float32), (40, 16, 6, 2), axis=0)
    np.testing.assert_allclose(np.exp(log_prior(rare)), [0.625, 0.25, 6 / 64, 2 / 64], rtol=1e-5)
    assert np.isfinite(log_prior(np.eye(4, dtype=np.float32)[[0, 1]])).all()


def test_a_missing_pytorch_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the setting is refused in one line."""
    monkeypatch.setitem(sys.modules, "torch", None)
    config = TrainConfig(architecture="micro", engine="torch")
    with pytest.raises(MissingExtraError, match=r"engine=torch.*edgeemo\[torch\]"):
        learner(config)


def test_what_it_cannot_train_is_refused() -> None:
    """Another optimiser than AdamW is refused and not exchanged in silence."""
    with pytest.raises(TrainingError, match="adamw only"):
        learner(TrainConfig(architecture="micro", engine="torch", optimizer="nadam"))
