"""Classifier retraining finds the last layer's own optimum, and nothing else changes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from host_training.architectures import ARCHITECTURES, Architecture
from host_training.config import TrainConfig
from host_training.data.partition import partition
from host_training.data.samples import Samples
from host_training.data.stored_images import PictureFile, StoredImages
from host_training.errors import TrainingError
from host_training.frameworks import import_keras
from host_training.training import classifier, last_layer
from host_training.training import run as run_module
from host_training.training.classifier import drawn, retrain_classifier
from host_training.training.last_layer import fit_last_layer
from host_training.training.run import config_to_resume, train
from tests.host_training.training.test_training_run import Recorder, tiny

keras = import_keras()


@pytest.fixture(scope="module")
def settings() -> Iterator[TrainConfig]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Architecture(tiny, 0.3, ("pixels",), "for tests"))
        yield TrainConfig(
            architecture="tiny", epochs=1, batch_size=16, seed=3, classifier_retraining=1e-4
        )


def network() -> Any:
    keras.utils.set_random_seed(1)
    return tiny(4, 0.3, False)


def loss(model: Any, rows: Samples) -> float:
    answers = np.asarray(model.predict_on_batch(rows.images[..., None].astype(np.float32)))
    return float(-(rows.targets * np.log(answers)).sum(axis=1).mean())


def test_the_last_layer_learns_and_the_others_stay(striped: Samples, settings: TrainConfig) -> None:
    """A network that guesses learns what its features tell; only its last layer has changed."""
    rows = partition(striped).training
    model = network()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    guessed = loss(model, rows)
    retrain_classifier(model, rows, settings)
    assert loss(model, rows) < 0.7 * guessed
    for layer in model.layers:
        same = all(map(np.array_equal, before[layer.name], layer.get_weights()))
        assert same == (layer.name != "scores"), layer.name


def test_it_is_an_optimum(striped: Samples, settings: TrainConfig) -> None:
    """A second retraining from the result, without a penalty, changes the answers no more."""
    rows = partition(striped).training
    rows = replace(rows, targets=np.float32(0.8) * rows.targets + np.float32(0.05))
    free = msgspec.structs.replace(settings, classifier_retraining=1e-12)
    model = network()
    retrain_classifier(model, rows, free)
    once = loss(model, rows)
    retrain_classifier(model, rows, free)
    assert loss(model, rows) == pytest.approx(once, abs=0.02)


def test_a_strong_penalty_keeps_the_kernel(striped: Samples, settings: TrainConfig) -> None:
    """The penalty is on the kernel's change; the bias is free."""
    rows = partition(striped).training
    model = network()
    kernel, _ = model.get_layer("scores").get_weights()
    strong = msgspec.structs.replace(settings, classifier_retraining=1e6)
    retrain_classifier(model, rows, strong)
    np.testing.assert_allclose(model.get_layer("scores").get_weights()[0], kernel, atol=1e-4)


def test_rare_emotions_count_more_under_class_weights(
    striped: Samples, settings: TrainConfig
) -> None:
    """Of one emotion nearly all samples are gone: weighted, it is answered more often."""
    rows = partition(striped).training
    rare = rows.targets.argmax(axis=1) == 0
    kept = ~rare | (np.cumsum(rare) <= 1)
    answers = {}
    for weighted in (False, True):
        model = network()
        config = msgspec.structs.replace(settings, class_weights=weighted)
        retrain_classifier(model, rows.where(kept), config)
        pixels = rows.images[..., None].astype(np.float32)
        answers[weighted] = np.asarray(model.predict_on_batch(pixels))[:, 0].mean()
    assert answers[True] > answers[False]


def test_general_samples_count_as_often_as_an_epoch_shows_them(
    striped: Samples, settings: TrainConfig
) -> None:
    """Many that contradict one's own are outvoted by one's own, in the prior and the loss, too."""
    own = partition(striped).training
    many = np.concatenate([np.arange(len(own))] * 21)
    others = np.roll(np.eye(4), 1, axis=1).astype(np.float32)[own.targets.argmax(axis=1)]
    rows = replace(
        own,
        images=own.images[many],
        targets=np.concatenate([own.targets, *[others] * 20]),
        class_ids=own.class_ids[many],
        split=own.split[many],
    )
    config = msgspec.structs.replace(
        settings, rehearsal=0.25, logit_adjustment=0.5, class_weights=True
    )
    model = network()
    retrain_classifier(model, rows, config, mine=len(own))
    answers = np.asarray(model.predict_on_batch(own.images[..., None].astype(np.float32)))
    assert (answers.argmax(axis=1) == own.class_ids).mean() > 0.9


def test_of_many_samples_some_of_every_label_are_drawn(
    striped: Samples, settings: TrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What goes into the layer lies in memory: its size does not grow with data on the disk."""
    rows = partition(striped).training
    np.save(tmp_path / "images.npy", rows.images)
    rows = replace(
        rows, images=StoredImages([PictureFile(tmp_path / "images.npy", len(rows))], (48, 48))
    )
    monkeypatch.setattr(classifier, "MOST", 12)
    chosen = drawn(rows)
    assert chosen.sum() == 12
    assert set(rows.class_ids[chosen]) == set(rows.class_ids)
    sizes = []

    def fitted(features: np.ndarray, *_: object, start: list[np.ndarray], **__: object) -> object:
        sizes.append(len(features))
        return start

    monkeypatch.setattr(classifier, "fitted_layer", fitted)
    retrain_classifier(network(), rows, msgspec.structs.replace(settings, batch_size=12))
    monkeypatch.setattr(last_layer, "fitted_layer", fitted)
    fit_last_layer(network(), rows, None)
    assert sizes == [24, 24]  # as they are, and one view of each


def test_broken_off_it_is_done_again_to_the_same_bits(
    tmp_path: Path, striped: Samples, settings: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the retrained network and the reports, a run ends as an undisturbed one."""
    whole = train(striped, settings, tmp_path / "whole", Recorder(), resume=False)

    def killed(*_: object) -> None:
        raise TrainingError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "write_reports", killed)
        with pytest.raises(TrainingError, match="killed"):
            train(striped, settings, tmp_path / "run", Recorder(), resume=False)
    recorder = Recorder()
    config = config_to_resume(tmp_path / "run")
    resumed = train(striped, config, tmp_path / "run", recorder, resume=True)
    assert any(line.startswith("classifier retrained: validation") for line in recorder.lines)
    first, second = (keras.models.load_model(run.model).get_weights() for run in (whole, resumed))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.before_refinement.is_file()
