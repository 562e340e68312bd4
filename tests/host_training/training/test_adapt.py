"""`--recipe adapt`: the last layer first, and general samples rehearsed beside one's own."""

import io
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from edge.errors import ConfigError
from host_training.architectures import build
from host_training.config import RECIPES, recipe, with_changes
from host_training.data.partition import partition
from host_training.data.rehearse import with_rehearsal
from host_training.data.samples import Samples
from host_training.errors import DataError
from host_training.training.augment import Augmentation
from host_training.training.batches import TrainingBatches, shown_shares
from host_training.training.classifier import fitted_layer
from host_training.training.last_layer import fit_last_layer
from host_training.training.progress import ConsoleProgress
from host_training.training.run import train

GENERAL = ("happiness", "surprise", "sadness", "fear")


def quiet() -> ConsoleProgress:
    """Return a progress that writes into a string."""
    return ConsoleProgress(Console(file=io.StringIO(), width=200))


@pytest.fixture
def general(striped: Samples) -> Samples:
    """Return samples of other labels, of which two are one's own, too."""
    return replace(striped, labels=GENERAL, name="general")


def test_general_samples_stand_behind_ones_own(striped: Samples, general: Samples) -> None:
    """Labels of both by name, in canonical order; validated on one's own alone."""
    before = partition(striped)
    parts, own = with_rehearsal(before, general)
    rows = parts.training
    assert rows.labels == ("neutral", "happiness", "surprise", "sadness", "fear")
    assert own == len(before.training)
    assert len(rows) == own + 48  # those of its training split
    names = np.array(rows.labels)
    assert set(names[rows.class_ids[:own]]) == set(striped.labels)
    assert set(names[rows.class_ids[own:]]) == set(GENERAL)
    np.testing.assert_array_equal(rows.targets.argmax(axis=1), rows.class_ids)
    np.testing.assert_array_equal(rows.images[:own], before.training.images)
    assert len(parts.validation) == len(before.validation)
    assert parts.validation.labels == rows.labels
    with pytest.raises(DataError, match="no sample to rehearse"):
        with_rehearsal(before, replace(general, targets=np.zeros_like(general.targets)))


@pytest.mark.parametrize("crops", ["aligned", "both"])
def test_ones_own_may_be_prepared(striped: Samples, general: Samples, crops: str) -> None:
    """General pictures stand beside aligned crops as they are; mesh features are left out."""
    before = partition(striped)
    own = replace(
        before.training,
        crops=crops,
        mesh=np.zeros((len(before.training), 3), np.float32),
        aligned=None if crops == "aligned" else before.training.images[:, ::-1],
    )
    parts, mine = with_rehearsal(replace(before, training=own), general)
    rows = parts.training
    assert (rows.crops, rows.mesh, parts.validation.mesh) == (crops, None, None)
    if crops == "both":
        np.testing.assert_array_equal(rows.aligned[:mine], own.aligned)
        np.testing.assert_array_equal(rows.aligned[mine:], rows.images[mine:])


def test_a_network_that_takes_mesh_features_cannot_rehearse(
    striped: Samples, general: Samples, tmp_path: Path
) -> None:
    """General samples have none."""
    config = with_changes(recipe("adapt"), {"architecture": "mesh"})
    with pytest.raises(ConfigError, match="--arch mesh takes mesh"):
        train(striped, config, tmp_path / "run", quiet(), resume=False, general=general)


@pytest.mark.parametrize("rows", [40, 41, 48, 400])
def test_general_samples_count_as_often_as_an_epoch_shows_them(rows: int) -> None:
    """However many there are; class weights and priors are made of these shares."""
    config = with_changes(RECIPES["adapt"], {}, {"rehearsal": 0.5})
    shares = shown_shares(rows, 40, config)
    assert (shares[:40] == 1).all()
    assert shares[40:].sum() == pytest.approx(min(rows - 40, 20))


def test_an_epoch_shows_all_of_ones_own_and_other_general_samples_each_time(
    striped: Samples, general: Samples
) -> None:
    """In the share that is configured, and the same ones when a run is resumed."""
    parts, own = with_rehearsal(partition(striped), general)
    plain = Augmentation(**dict.fromkeys(Augmentation.__struct_fields__, 0))
    config = with_changes(RECIPES["adapt"], {"batch_size": 1}, {"rehearsal": 0.5})
    config = msgspec.structs.replace(config, augmentation=plain)
    batches = TrainingBatches(parts.training, config, mine=own)
    assert len(batches) == own + own // 2

    def shown(epoch: int) -> list[bytes]:
        return [batch.inputs["pixels"].tobytes() for batch in batches.epoch(epoch)]

    def keys(images: np.ndarray) -> list[bytes]:
        return [image.astype(np.float32).tobytes() for image in images]

    first, second = shown(0), shown(1)
    assert first == shown(0)
    mine = keys(parts.training.images[:own])
    assert {key: first.count(key) for key in mine}.keys() == set(mine)
    assert all(key in first and key in second for key in mine)
    assert sorted(first) != sorted(second)


def test_the_last_layer_learns_alone(striped: Samples) -> None:
    """The trunk stays as it is to the bit, and the answers to what was learnt are right."""
    rows = partition(striped).training
    model = build("micro", 4, dropout=0.0, seed=0)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    said = fit_last_layer(model, rows, None)
    assert said.startswith("fitted the last layer")
    for layer in model.layers:
        same = all(
            np.array_equal(a, b)
            for a, b in zip(before[layer.name], layer.get_weights(), strict=True)
        )
        assert same == (layer.name != "scores" or not layer.get_weights())
    answers = model.predict(rows.images[..., None].astype(np.float32), verbose=0).argmax(axis=1)
    assert (answers == rows.class_ids).mean() > 0.9


def test_a_label_without_a_sample_is_pulled_nowhere() -> None:
    """Its weights stay near those before; those of the others move, each as it is weighed."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 5)).astype(np.float32)
    hard = (features[:, 0] > 0).astype(int)
    start = [np.zeros((5, 3), np.float32), np.array([0.0, 0.0, -8.0], np.float32)]

    def fitted(weights: np.ndarray) -> list[np.ndarray]:
        none = np.zeros(3, np.float32)
        right = np.eye(3, dtype=np.float32)[hard]
        return fitted_layer(features, right, weights, start=start, offsets=none, penalty=5e-4)

    kernel, bias = fitted(np.ones(60))
    assert np.abs(kernel[:, 2]).max() < 0.1 * np.abs(kernel[:, :2]).max()
    assert ((features @ kernel + bias).argmax(axis=1) == hard).mean() > 0.95
    kernel, bias = fitted(np.where(hard == 1, 1.0, 0.0))
    assert ((features @ kernel + bias).argmax(axis=1) == 1).all()


def test_a_run_adapts_rehearses_and_is_resumed_with_the_same_samples(
    striped: Samples, general: Samples, tmp_path
) -> None:
    """It says what it does; without the general samples it is another run."""
    config = with_changes(recipe("adapt"), {"architecture": "micro", "epochs": 1})
    console = Console(file=io.StringIO(), width=200)
    told = ConsoleProgress(console)
    run = train(striped, config, tmp_path / "run", told, resume=False, general=general)
    assert run.record().labels == ("neutral", "happiness", "surprise", "sadness", "fear")
    text = console.file.getvalue()
    assert "rehearsing 48 samples of general" in text
    assert "fitted the last layer by itself" in text
    again = train(striped, config, run.path, quiet(), resume=True, general=general)
    assert again.record().state == "complete"
    with pytest.raises(ConfigError, match="--with"):
        train(striped, config, run.path, quiet(), resume=True)
