"""Teachers, first weights, averages and locks: what a run takes from beside its rows."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from edge.contract.mesh_features import FEATURE_COUNT, mirrored_features, standardized
from edge.errors import ConfigError
from host_training.config import TrainConfig
from host_training.data.partition import partition
from host_training.data.samples import Samples
from host_training.errors import DataError
from host_training.frameworks import import_keras
from host_training.lock import locked
from host_training.metrics.predict import batched_probabilities, load_keras_model
from host_training.runs.directory import RunDirectory
from host_training.training.batches import TrainingBatches
from host_training.training.distillation import Teacher, Teachers, model_file
from host_training.training.learner import KerasLearner
from host_training.training.progress import ConsoleProgress
from host_training.training.run import Pretrained, config_to_resume, train
from host_training.training.tensorboard import TensorBoardProgress
from host_training.training.weight_average import WeightAverage

keras = import_keras()
SETTINGS = TrainConfig(architecture="micro", epochs=1, batch_size=16, seed=1)


def quiet() -> ConsoleProgress:
    return ConsoleProgress(Console(quiet=True))


def with_meshes(rows: Samples) -> Samples:
    """Give each row features that tell its label, and the first row no face."""
    mesh = np.random.default_rng(0).normal(0, 1, (len(rows), FEATURE_COUNT)).astype(np.float32)
    mesh[np.arange(len(rows)), rows.class_ids] += 6
    mesh[0] = np.nan
    return replace(rows, mesh=mesh)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, striped: Samples) -> RunDirectory:
    out = tmp_path_factory.mktemp("teachers") / "first"
    return train(striped, SETTINGS, out, quiet(), resume=False)


@pytest.fixture(scope="module")
def mesh_teacher(tmp_path_factory: pytest.TempPathFactory, striped: Samples) -> RunDirectory:
    out = tmp_path_factory.mktemp("teachers") / "mesh"
    config = msgspec.structs.replace(SETTINGS, architecture="mesh", epochs=12)
    return train(with_meshes(striped), config, out, quiet(), resume=False)


def test_an_ensemble_answers_with_its_mean(
    teacher: RunDirectory, mesh_teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """The answer is the mean of the members' probabilities, meshes mirrored with their views."""
    rows = with_meshes(partition(striped).training)
    files = [model_file(teacher.path), model_file(mesh_teacher.path)]
    chosen, mirrored = np.array([3, 0, 7]), np.array([True, False, False])
    pixels = rows.images[chosen][..., None].astype(np.float32)
    norm = mesh_teacher.record().mesh_norm
    assert norm is not None
    assert rows.mesh is not None
    meshes = rows.mesh[chosen].copy()
    meshes[0] = mirrored_features(meshes[0])
    members = [
        batched_probabilities(load_keras_model(teacher.model), {"pixels": pixels}),
        batched_probabilities(
            load_keras_model(mesh_teacher.model), {"mesh": standardized(meshes, norm)}
        ),
    ]
    said = Teachers(files, rows, 1, tmp_path).answers(0, chosen, pixels, mirrored)
    np.testing.assert_allclose(said, np.mean(members, axis=0), atol=2e-3)
    assert np.abs(members[0] - members[1]).max() > 0.01


def test_targets_are_mixed_with_the_answers(
    teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """A target is the teachers' answer to the very view and the label, by weight."""
    rows = partition(striped).training
    config = msgspec.structs.replace(SETTINGS, teacher_weight=0.75, teacher_views=2)
    teachers = Teachers([model_file(teacher.path)], rows, 2, tmp_path)
    batch = next(TrainingBatches(rows, config, teachers=teachers).epoch(1))
    alone = next(TrainingBatches(rows, config).epoch(1))
    np.testing.assert_array_equal(batch.inputs["pixels"], alone.inputs["pixels"])
    said = batched_probabilities(load_keras_model(teacher.model), batch.inputs)
    np.testing.assert_allclose(batch.targets, 0.25 * alone.targets + 0.75 * said, atol=2e-3)


def test_teachers_are_asked_once_about_a_view(
    teacher: RunDirectory, striped: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view that recurs, also after a restart, gives the kept answer, bit for bit."""
    rows = partition(striped).training
    files = [model_file(teacher.path)]
    size = len(rows) // 2 - 1  # a few rows fill no batch
    config = msgspec.structs.replace(SETTINGS, teacher_views=2, batch_size=size)
    cache = tmp_path / "cache"
    first = TrainingBatches(rows, config, teachers=Teachers(files, rows, 2, cache))
    before = {t.tobytes() for t in (b.targets for b in first.epoch(0))}
    assert [file.name for file in cache.iterdir()] == ["views-000.npy"]
    assert np.isfinite(np.load(cache / "views-000.npy")).all()
    resumed = Teachers(files, rows, 2, cache)
    monkeypatch.setattr(Teacher, "answer", lambda *_: pytest.fail("asked again"))
    again = TrainingBatches(rows, config, teachers=resumed)
    list(again.epoch(0))
    list(again.epoch(2))  # the views of epoch 0, in another order
    assert before == {b.targets.tobytes() for b in again.epoch(0)}


def test_a_damaged_cache_is_asked_anew(
    teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """A torn file of answers is not learnt from."""
    (tmp_path / "views-000.npy").write_bytes(b"\x93NUMPY")
    rows = partition(striped).training
    teachers = Teachers([model_file(teacher.path)], rows, 1, tmp_path)
    config = msgspec.structs.replace(SETTINGS, teacher_views=1)
    for batch in TrainingBatches(rows, config, teachers=teachers).epoch(0):
        np.testing.assert_allclose(batch.targets.sum(axis=1), 1, atol=1e-3)


def test_a_teacher_of_other_emotions_is_refused(teacher: RunDirectory, striped: Samples) -> None:
    """A teacher that tells other emotions apart cannot answer for these rows."""
    other = replace(striped, labels=("neutral", "happiness", "surprise", "fear"))
    with pytest.raises(ConfigError, match=r"--teacher .*; a teacher must know the same emotions"):
        Teachers([model_file(teacher.path)], other, 1, Path("unused"))


def test_a_mesh_network_needs_meshes(striped: Samples, tmp_path: Path) -> None:
    """Without prepared rows a network that takes meshes says what to do."""
    config = msgspec.structs.replace(SETTINGS, architecture="fusion")
    with pytest.raises(DataError, match=r"edgeemo data prepare .* --prepared DIR"):
        train(striped, config, tmp_path / "run", quiet(), resume=False)


def test_a_fusion_run_from_end_to_end(striped: Samples, tmp_path: Path) -> None:
    """Crop and mesh are learnt together, and the run keeps how its features are scaled."""
    config = msgspec.structs.replace(SETTINGS, architecture="fusion", ema=0.9)
    run = train(with_meshes(striped), config, tmp_path / "run", quiet(), resume=False)
    norm = run.record().mesh_norm
    assert norm is not None
    assert len(norm.mean) == FEATURE_COUNT
    assert json.loads((run.path / "metrics.json").read_text())["n"] == 16


def test_distillation_is_resumed_with_its_own_teachers(
    teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """A run keeps the hashes of its teachers; others, or none, are refused."""
    file = model_file(teacher.path)
    config = msgspec.structs.replace(SETTINGS, teachers=(file.sha256,), teacher_views=1)
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="learns from 1 models, 0 were found"):
        train(striped, config, out, quiet(), resume=False)
    assert not out.exists(), "a half-made run is left"
    run = train(striped, config, out, quiet(), resume=False, pretrained=Pretrained((file,)))
    assert run.record().teachers == (str(teacher.path),)
    with pytest.raises(ConfigError, match="the very --teacher models"):
        train(striped, config_to_resume(out), out, quiet(), resume=True)


def test_starting_from_another_run(teacher: RunDirectory, striped: Samples, tmp_path: Path) -> None:
    """Weights are taken over; of the last layer those of the emotions that both know."""
    labels = ("neutral", "sadness", "anger", "fear")
    file = model_file(teacher.path)
    config = msgspec.structs.replace(SETTINGS, initial=file.sha256, learning_rate=1e-9, seed=9)
    out = tmp_path / "run"
    rows = replace(striped, labels=labels)
    run = train(rows, config, out, quiet(), resume=False, pretrained=Pretrained((), file))
    old, new = (load_keras_model(r.model).get_layer("scores") for r in (teacher, run))
    kernel, fresh = old.get_weights()[0], new.get_weights()[0]
    np.testing.assert_allclose(fresh[:, 0], kernel[:, 0], atol=1e-5)  # neutral
    np.testing.assert_allclose(fresh[:, 1], kernel[:, 3], atol=1e-5)  # sadness
    assert not np.allclose(fresh[:, 2], kernel[:, 2], atol=1e-2)


def test_another_architecture_can_not_start_a_run(
    teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """Weights of another network are refused by name."""
    file = model_file(teacher.path)
    config = msgspec.structs.replace(SETTINGS, architecture="compact", initial=file.sha256)
    with pytest.raises(ConfigError, match=r"--init .*: is micro, its layer 'stem' does not fit"):
        train(
            striped, config, tmp_path / "r", quiet(), resume=False, pretrained=Pretrained((), file)
        )


def test_a_missing_model_is_bad_usage(tmp_path: Path) -> None:
    """An ancestor that is not there is named."""
    with pytest.raises(ConfigError, match=r"nowhere.*expected a run directory of `edgeemo train`"):
        model_file(tmp_path / "nowhere.keras")


@pytest.fixture
def network() -> "keras.Model":
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2, name="scores")(inputs))


def test_the_average_follows_and_lets_go(network: "keras.Model") -> None:
    """The average is the recursion by hand, and a kept state goes on where it was."""
    average = WeightAverage(KerasLearner(network), decay=0.9)
    mean = [w.copy() for w in network.get_weights()]
    for step in range(1, 6):
        network.set_weights([w + step for w in network.get_weights()])
        average.update()
        rate = 1 - min(0.9, (1 + step) / (10 + step))
        mean = [m + rate * (w - m) for m, w in zip(mean, network.get_weights(), strict=True)]
    for expected, weight in zip(mean, average.weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-5)
    other = WeightAverage(KerasLearner(network), decay=0.9)
    other.restore(average.state())
    for a, b in zip(other.state(), average.state(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_average_is_the_network_itself(network: "keras.Model") -> None:
    """Without a decay nothing is kept and nothing is changed."""
    average = WeightAverage(KerasLearner(network), decay=0)
    average.update()
    assert average.state() == []
    np.testing.assert_array_equal(average.weights()[0], network.get_weights()[0])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_an_anchor_holds_a_share_of_the_first_weights(network: "keras.Model", decay: float) -> None:
    """What is given out lies between the first weights and the new ones, by that share."""
    first = [w.copy() for w in network.get_weights()]
    own = KerasLearner(network)
    free, held = WeightAverage(own, decay), WeightAverage(own, decay, anchor=0.25)
    network.set_weights([w + 2 for w in first])
    for average in (free, held):
        average.update()
    for old, new, between in zip(first, free.weights(), held.weights(), strict=True):
        np.testing.assert_allclose(between, 0.25 * old + 0.75 * new, rtol=1e-6)


def test_an_anchor_may_be_another_model(
    teacher: RunDirectory, striped: Samples, tmp_path: Path
) -> None:
    """Its share is in what is kept, and a resumed run finds it by its record."""
    file = model_file(teacher.path)
    plain = msgspec.structs.replace(SETTINGS, seed=9)
    free = train(striped, plain, tmp_path / "free", quiet(), resume=False)
    config = msgspec.structs.replace(plain, anchor=0.25, anchor_model=file.sha256)
    out = tmp_path / "held"
    with pytest.raises(ConfigError, match="the model that this run is averaged with is gone"):
        train(striped, config, out, quiet(), resume=False)
    held = train(striped, config, out, quiet(), resume=False, pretrained=Pretrained(anchor=file))
    weights = [load_keras_model(run.model).get_weights() for run in (teacher, free, held)]
    for anchored, own, kept in zip(*weights, strict=True):
        np.testing.assert_allclose(kept, 0.25 * anchored + 0.75 * own, rtol=1e-4, atol=1e-5)
    assert held.record().anchor == str(teacher.path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Whoever comes second into a run directory is told, and nothing is left behind."""
    with (
        locked(tmp_path),
        pytest.raises(ConfigError, match="another process is training in it"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_loss(striped: Samples, tmp_path: Path) -> None:
    """Two runs of one seed agree in the first epoch's loss to four decimals; another does not."""
    losses = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        config = msgspec.structs.replace(SETTINGS, seed=seed)
        run = train(striped, config, tmp_path / name, quiet(), resume=False)
        losses.append(run.history()[0].loss)
    assert losses[0] == pytest.approx(losses[1], abs=5e-5)
    assert losses[0] != pytest.approx(losses[2], abs=5e-5)


def test_tensorboard_reads_the_curves(striped: Samples, tmp_path: Path) -> None:
    """The event files hold each epoch's figures under their names."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "events"
    run = train(
        striped,
        SETTINGS,
        tmp_path / "run",
        TensorBoardProgress(Console(quiet=True), folder),
        resume=False,
    )
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"loss", "val_accuracy", "learning_rate"} <= set(events.Tags()["tensors"])
    (event,) = events.Tensors("loss")
    assert event.step == 1
    (value,) = np.frombuffer(event.tensor_proto.tensor_content, np.float32)
    assert value == pytest.approx(run.history()[0].loss)
