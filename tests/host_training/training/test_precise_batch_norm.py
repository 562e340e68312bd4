"""Statistics of batch normalisation become those of the weights that are kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from host_training.architectures import ARCHITECTURES, Architecture
from host_training.config import TrainConfig
from host_training.data.partition import partition
from host_training.data.samples import Samples
from host_training.frameworks import import_keras
from host_training.training.batches import epoch_after_the_last
from host_training.training.precise_batch_norm import estimate_batch_norm
from host_training.training.run import train
from tests.host_training.training.test_training_run import Recorder, tiny

keras = import_keras()


def bare(classes: int, dropout: float, mirrored: bool) -> Any:
    """A network without batch normalisation."""
    inputs = keras.Input((48, 48, 1), name="pixels")
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Dense(classes, activation="softmax", name="scores")(x))


@pytest.fixture(scope="module")
def settings() -> Iterator[TrainConfig]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Architecture(tiny, 0.3, ("pixels",), "for tests"))
        patch.setitem(ARCHITECTURES, "bare", Architecture(bare, 0.3, ("pixels",), "for tests"))
        yield TrainConfig(
            architecture="tiny", epochs=1, batch_size=16, seed=3, precise_batch_norm=True
        )


def test_they_are_the_means_over_an_epoch_of_views(striped: Samples, settings: TrainConfig) -> None:
    """Whatever they were before; every other weight stays."""
    rows = partition(striped).training
    model = tiny(len(rows.labels), 0.3, False)
    names = [weight.path for weight in model.weights]
    before = model.get_weights()
    for name, weight in zip(names, before, strict=True):
        if "moving" in name:
            weight[...] = 99.0
    model.set_weights(before)
    estimate_batch_norm(model, rows, settings)

    convolution = keras.Model(model.inputs, model.layers[2].output)
    batches = [
        np.asarray(convolution.predict_on_batch(batch.inputs["pixels"]))
        for batch in epoch_after_the_last(rows, settings)
    ]
    expected = {
        "moving_mean": np.mean([batch.mean((0, 1, 2)) for batch in batches], axis=0),
        "moving_variance": np.mean([batch.var((0, 1, 2)) for batch in batches], axis=0),
    }
    for name, old, new in zip(names, before, model.get_weights(), strict=True):
        wanted = expected.get(name.rpartition("/")[2], old)
        np.testing.assert_allclose(new, wanted, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_network_without_any_stays_as_it_is(striped: Samples, settings: TrainConfig) -> None:
    """There is nothing to estimate."""
    rows = partition(striped).training
    model = bare(len(rows.labels), 0.3, False)
    before = model.get_weights()
    estimate_batch_norm(model, rows, msgspec.structs.replace(settings, architecture="bare"))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_run_does_it_first_and_then_fits_the_classifier(
    tmp_path: Path, striped: Samples, settings: TrainConfig
) -> None:
    """The report tells each step; what the epochs left lies beside the model."""
    recorder = Recorder()
    both = msgspec.structs.replace(settings, classifier_retraining=1e-4)
    run = train(striped, both, tmp_path / "run", recorder, resume=False)
    steps = [line.split(":")[0] for line in recorder.lines if "before," in line]
    assert steps == ["batch normalisation estimated", "classifier retrained"]
    kept, left = (
        keras.models.load_model(path).get_weights() for path in (run.model, run.before_refinement)
    )
    changed = [not np.array_equal(one, other) for one, other in zip(kept, left, strict=True)]
    names = [weight.path for weight in keras.models.load_model(run.model).weights]
    assert {name for name, is_changed in zip(names, changed, strict=True) if is_changed} == {
        name for name in names if "moving" in name or "scores" in name
    }
