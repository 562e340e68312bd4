"""A run can be stopped at any moment and goes on as if it had not been."""

import csv
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
import pytest

from edge.errors import ConfigError
from host_training.architectures import ARCHITECTURES, Architecture, build
from host_training.config import TrainConfig
from host_training.data.partition import partition
from host_training.data.samples import Samples
from host_training.errors import TrainingError
from host_training.frameworks import import_keras
from host_training.metrics.inputs import Batch
from host_training.runs.directory import RunDirectory
from host_training.training.batches import TrainingBatches
from host_training.training.checkpoint import EpochRow, load_newest
from host_training.training.epochs import Run, run_epochs
from host_training.training.optimizer import learner_of, untrained_model
from host_training.training.run import Pretrained, config_to_resume, run_record, train
from host_training.training.weight_average import WeightAverage

keras = import_keras()


def tiny(classes: int, dropout: float, mirrored: bool, width: int = 8) -> "keras.Model":
    """A network with all that a checkpoint must hold (moments, statistics, dropout), and small."""
    layers = keras.layers
    steps = (
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(width, 5, strides=4, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(dropout),
        layers.Dense(classes, activation="softmax", name="scores"),
    )
    inputs = keras.Input((48, 48, 1), name="pixels")
    outputs = inputs
    for step in steps:
        outputs = step(outputs)
    return keras.Model(inputs, outputs)


class Recorder:
    """A progress that keeps what it is told, and can do something at a batch."""

    def __init__(
        self, at_batch: int = 0, action: Callable[[], None] = lambda: None, batches: int = 3
    ) -> None:
        self.lines: list[str] = []
        self.epochs: list[int] = []
        self._left, self._action, self._batches = at_batch, action, batches

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def report(self, line: str) -> None:
        """Keep the line."""
        self.lines.append(line)

    def begin_epoch(self, epoch: int, epochs: int, batches: int) -> None:
        """Keep the epoch's number."""
        assert 1 <= epoch <= epochs
        assert batches == self._batches
        self.epochs.append(epoch)

    def batch(self, loss: float) -> None:
        """Count down to the action."""
        assert loss > 0
        self._left -= 1
        if self._left == 0:
            self._action()

    def end_epoch(self, row: EpochRow, *, best: bool) -> None:
        """Check that an epoch ends where it began."""
        assert row.epoch == self.epochs[-1]
        assert best or row.epoch > 1


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "tiny", Architecture(tiny, 0.3, ("pixels",), "for tests"))
        wide = partial(tiny, width=1000)  # whose weights are most of its files
        patch.setitem(ARCHITECTURES, "wide", Architecture(wide, 0.3, ("pixels",), "for tests"))
        yield


def press_ctrl_c() -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def settings(_registered: None) -> TrainConfig:
    return TrainConfig(
        architecture="tiny",
        epochs=3,
        batch_size=16,
        warmup_epochs=0.5,
        seed=3,
        class_weights=True,
        ema=0.9,
        mixup=0.3,
    )


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, striped: Samples, settings: TrainConfig
) -> RunDirectory:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return train(striped, settings, out, Recorder(), resume=False)


def final_state(run: RunDirectory) -> tuple[np.ndarray, ...]:
    checkpoint = load_newest(run.checkpoints)
    assert checkpoint is not None
    assert checkpoint.average, "the weights' average is not kept"
    return (*checkpoint.arrays, *checkpoint.average)


def test_leaves_what_others_read(whole: RunDirectory, striped: Samples) -> None:
    """The directory holds model, record, figures and pictures, with the agreed fields."""
    record = json.loads((whole.path / "run.json").read_text())
    assert (record["state"], record["epochs_done"]) == ("complete", 3)
    assert tuple(record["labels"]) == striped.labels
    assert record["template_id"] == "fer48-v1"
    assert record["training_data"]["rows"] == 48
    assert record["validation_data"]["split"] == "PublicTest"
    assert set(record["versions"]) >= {"python", "numpy", "tensorflow", "keras"}
    figures = json.loads((whole.path / "metrics.json").read_text())
    keys = {"accuracy", "balanced_accuracy", "macro_f1", "n", "per_class", "ece", "protocol"}
    assert keys <= set(figures)
    assert (figures["n"], figures["split"], figures["protocol"]) == (16, "PublicTest", "labels")
    for name in ("learning_curves.png", "confusion_matrix.png"):
        assert (whole.path / name).read_bytes().startswith(b"\x89PNG")
    assert not list(whole.path.rglob(".*")), "something half-written is left"


def test_the_model_is_that_of_the_best_epoch(whole: RunDirectory) -> None:
    """model.keras reaches the best validation accuracy of the history, to the row."""
    with (whole.path / "history.csv").open() as file:
        best = max(float(row["val_accuracy"]) for row in csv.DictReader(file))
    figures = json.loads((whole.path / "metrics.json").read_text())
    assert figures["accuracy"] == best
    model = keras.models.load_model(whole.model, safe_mode=True)
    assert model.count_params() == whole.record().parameters
    assert getattr(model, "optimizer", None) is None, "the optimiser doubles the file"


def test_the_last_epoch_is_kept_where_it_is_asked_for(
    tmp_path: Path, striped: Samples, settings: TrainConfig
) -> None:
    """With ``keep=last`` the kept model has the last epoch's figure, whatever the best one was."""
    config = msgspec.structs.replace(settings, keep="last")
    run = train(striped, config, tmp_path / "run", Recorder(), resume=False)
    figures = json.loads((run.path / "metrics.json").read_text())
    assert figures["accuracy"] == run.history()[-1].val_accuracy
    checkpoint = load_newest(run.checkpoints)
    assert checkpoint is not None
    kept = keras.models.load_model(run.model).get_weights()
    for weight, average in zip(kept, checkpoint.average[1:], strict=True):
        np.testing.assert_array_equal(weight, average)


def test_the_history_is_of_whole_epochs(
    tmp_path: Path, striped: Samples, settings: TrainConfig
) -> None:
    """Training loss and accuracy are means over all batches of the epoch, not of the last one."""
    parts = partition(striped)
    batches = TrainingBatches(parts.training, settings)
    model = untrained_model(settings, 4)
    learner = learner_of(model, settings, len(batches), parts.training.targets)
    step, seen = learner.step, []

    def recorded(batch: Batch) -> tuple[float, float]:
        seen.append(step(batch))
        return seen[-1]

    learner.step = recorded
    (tmp_path / "checkpoints").mkdir()
    directory = RunDirectory(tmp_path)
    directory.write_record(run_record(settings, parts, Pretrained()))
    one_epoch = msgspec.structs.replace(settings, epochs=1)
    run = Run(
        directory=directory,
        config=one_epoch,
        learner=learner,
        average=WeightAverage(learner, settings.ema),
        inference=build("tiny", 4, inference=True),
        batches=batches,
        norm=None,
        validation=parts.validation,
        progress=Recorder(),
    )
    (row,) = run_epochs(run)
    assert len(seen) == 3
    assert row.loss == pytest.approx(np.mean([loss for loss, _ in seen]))
    assert row.accuracy == pytest.approx(np.mean([accuracy for _, accuracy in seen]))


@pytest.mark.parametrize("batch", [2, 5, 9])
def test_interrupted_and_resumed_is_the_same_run(
    tmp_path: Path, striped: Samples, settings: TrainConfig, whole: RunDirectory, batch: int
) -> None:
    """Stopped in its first, second or last epoch and resumed, a run ends in the very same state."""
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match=r"interrupted in epoch \d/3.*--resume"):
        train(striped, settings, out, Recorder(batch, press_ctrl_c), resume=False)
    done = RunDirectory(out).record().epochs_done
    assert done == (batch - 1) // 3
    second = Recorder()
    run = train(striped, config_to_resume(out), out, second, resume=True)
    assert second.epochs == list(range(done + 1, 4)), "an epoch was done twice or left out"
    if done:
        assert f"resuming {out} at epoch {done + 1}/3" in second.lines
    for resumed, undisturbed in zip(final_state(run), final_state(whole), strict=True):
        np.testing.assert_allclose(resumed, undisturbed, rtol=1e-4, atol=1e-5)
    assert [row.epoch for row in run.history()] == [1, 2, 3]


def test_a_taken_directory_is_refused(
    whole: RunDirectory, striped: Samples, settings: TrainConfig, tmp_path: Path
) -> None:
    """A run is never overwritten: --resume is the remedy; other files are not touched either."""
    with pytest.raises(ConfigError, match="holds a run already; continue it with --resume"):
        train(striped, settings, whole.path, Recorder(), resume=False)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty; choose another --out"):
        train(striped, settings, tmp_path, Recorder(), resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_complete_run_only_gets_its_reports(whole: RunDirectory, striped: Samples) -> None:
    """Resuming a complete run trains nothing and makes its reports anew."""
    reports = ("metrics.json", "learning_curves.png", "confusion_matrix.png")
    before = (whole.path / "metrics.json").read_text()
    for name in reports:
        (whole.path / name).unlink()
    recorder = Recorder()
    train(striped, config_to_resume(whole.path), whole.path, recorder, resume=True)
    assert recorder.epochs == []
    assert any("is complete" in line for line in recorder.lines)
    assert all((whole.path / name).is_file() for name in reports)
    assert (whole.path / "metrics.json").read_text() == before


def test_other_data_can_not_be_resumed_on(
    whole: RunDirectory, striped: Samples, settings: TrainConfig
) -> None:
    """One changed pixel among the training rows is noticed."""
    images = striped.images.copy()
    images[0, 0, 0] ^= 1
    with pytest.raises(ConfigError, match=r"training_data of .* is not that of the data given"):
        train(replace(striped, images=images), settings, whole.path, Recorder(), resume=True)


def test_nothing_to_resume(tmp_path: Path) -> None:
    """--resume of what is not there, or is no run, says so."""
    with pytest.raises(ConfigError, match="no such run; leave --resume out"):
        config_to_resume(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match=r"config\.json: No such file.*run directory"):
        config_to_resume(tmp_path)


@pytest.mark.parametrize(
    ("batch_size", "what"),
    [(16, "the loss is nan"), (48, "an answer to the validation samples is not a number")],
)
def test_divergence_ends_the_run(
    tmp_path: Path, striped: Samples, settings: TrainConfig, batch_size: int, what: str
) -> None:
    """A loss, or at last an answer, that is not a number ends training with a remedy.

    Nothing of such an epoch is kept.
    """
    changes = {"learning_rate": 1e30, "warmup_epochs": 0.0, "epochs": 5, "batch_size": batch_size}
    config = msgspec.structs.replace(settings, **changes)
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match=rf"{what} in epoch 1: .* lower --learning-rate"):
        train(striped, config, out, Recorder(batches=48 // batch_size), resume=False)
    assert sorted(path.name for path in out.rglob("*")) == [
        "checkpoints",
        "config.json",
        "pictures.npz",
        "run.json",
    ]


def test_a_lost_checkpoint_is_not_papered_over(
    tmp_path: Path, striped: Samples, settings: TrainConfig
) -> None:
    """A run whose checkpoints are gone does not silently start again."""
    out = tmp_path / "run"
    with pytest.raises(TrainingError):
        train(striped, settings, out, Recorder(5, press_ctrl_c), resume=False)
    for file in (out / "checkpoints").iterdir():
        file.unlink()
    with pytest.raises(TrainingError, match="no whole checkpoint is left"):
        train(striped, settings, out, Recorder(), resume=True)


def fill_the_disk(room: int) -> None:
    """Let the system refuse to make any file longer than that many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


@contextmanager
def disk_as_it_was() -> Iterator[None]:
    """Undo ``fill_the_disk``."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize(
    ("epoch", "room", "refused"),
    [
        (1, 1_000, "model.keras"),
        (1, 300_000, "checkpoints/epoch-0001.npz"),
        (2, 300_000, "checkpoints/epoch-0002.npz"),
    ],
)
def test_a_full_disk_stops_with_everything_before_safe(
    tmp_path: Path, striped: Samples, settings: TrainConfig, epoch: int, room: int, refused: str
) -> None:
    """What a really full disk refuses is named in one line, and the run resumes to its end."""
    out = tmp_path / "run"
    config = msgspec.structs.replace(settings, architecture="wide", epochs=2)
    filling = Recorder(3 * epoch, lambda: fill_the_disk(room))
    with disk_as_it_was(), pytest.raises(TrainingError) as caught:
        train(striped, config, out, filling, resume=False)
    expected = "cannot be written (File too large); make room, and continue the run with --resume"
    assert str(caught.value) == f"{out / refused}: {expected}"
    assert {name.name for name in out.rglob(".*")} == set(), "something half-written is left"
    assert RunDirectory(out).record().epochs_done == epoch - 1
    second = Recorder()
    train(striped, config_to_resume(out), out, second, resume=True)
    assert second.epochs == list(range(epoch, 3))
