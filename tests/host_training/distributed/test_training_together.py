"""Two processes train as one does: the same batches, the same losses, one run directory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from host_training.runs.directory import RunDirectory
from host_training.training.checkpoint import load_newest

PROGRAM = """
import os, signal, sys
from pathlib import Path

import numpy as np

from edge.errors import EdgeEmoError
from edgeemo.cli.train import joined_workers
from host_training.config import TrainConfig
from host_training.frameworks import import_keras, import_tensorflow
from host_training.training.progress import SilentProgress
from host_training.training.run import Pretrained, config_to_resume, train
from tests.host_training.grey import grey_samples, register_tiny

out, mode = Path(sys.argv[1]), sys.argv[2]
import_keras()
if mode == "devices":
    tf = import_tensorflow()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


register_tiny()
samples = grey_samples()


class Progress(SilentProgress):
    epochs = 0

    def begin_epoch(self, epoch, epochs, batches):
        self.epoch = epoch

    def batch(self, loss):
        if mode == "dies" and workers.index == 1 and self.epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


config = TrainConfig(
    architecture="tiny", epochs=3, batch_size=24, warmup_epochs=0.5, seed=3, deterministic=True,
    keep_near_duplicates=True, class_weights=True, ema=0.9, mixup=0.3, label_smoothing=0.1,
    anchor=0.1, schedule="plateau", plateau_patience=1,
)
try:
    with joined_workers() as workers:
        train(samples, config, out, Progress(), resume=mode == "resumes", workers=workers)
except EdgeEmoError as error:
    print(error, file=sys.stderr, flush=True)
    os._exit(error.exit_code)
os._exit(0)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(places: list[Any]) -> Iterator[Start]:
    """Return a function that starts worker ``index`` of ``count``."""
    addresses = [place.address for place in places]

    def started(out: Path, mode: str, index: int = 0, count: int = 1) -> subprocess.Popen[str]:
        cluster = {"worker": addresses[:count]}
        task = {"type": "worker", "index": index}
        process = subprocess.Popen(
            [*places[index].prefix, sys.executable, "-c", PROGRAM, str(out), mode],
            env=os.environ
            | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}
            | {"CUDA_VISIBLE_DEVICES": "-1"},
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        return process

    with ExitStack() as stack:
        yield started


def ends_well(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err


def history(out: Path) -> np.ndarray:
    """Return every figure of the epochs but their seconds."""
    return np.array(
        [
            (row.learning_rate, row.loss, row.accuracy, row.val_loss, row.val_accuracy)
            for row in RunDirectory(out).history()
        ]
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), "whole"],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return out


def same(out: Path, expected: Path) -> None:
    """Compare two runs: figures within 1e-4, and every variable of the last checkpoint."""
    np.testing.assert_allclose(history(out), history(expected), rtol=1e-4, atol=1e-6)
    mine, theirs = (load_newest(RunDirectory(path).checkpoints) for path in (out, expected))
    assert mine is not None
    assert theirs is not None
    for own, other in zip(
        (*mine.arrays, *mine.average), (*theirs.arrays, *theirs.average), strict=True
    ):
        np.testing.assert_allclose(own, other, rtol=1e-2, atol=1e-4)


def test_two_processes_train_as_one(start: Start, alone: Path, tmp_path: Path) -> None:
    """Dropout, mixup, class weights, averages and plateau give what one process gives.

    That both hold the same weights to the bit is checked by every run itself. Only the chief
    writes.
    """
    out, other = tmp_path / "chief", tmp_path / "other"
    processes = [start(out, "whole", 0, 2), start(other, "whole", 1, 2)]
    for process in processes:
        ends_well(process)
    same(out, alone)
    assert not other.exists()
    assert "2 workers" in RunDirectory(out).record().device


def test_a_killed_worker_is_named_and_one_process_goes_on(
    start: Start, alone: Path, tmp_path: Path
) -> None:
    """The chief ends with its name, the first epoch is safe, and one process finishes the run."""
    out = tmp_path / "run"
    chief, other = start(out, "dies", 0, 2), start(out, "dies", 1, 2)
    other.wait(400)
    _, err = chief.communicate(timeout=60)
    assert chief.returncode == 1
    assert "worker 1 (1" in err
    assert "has died" in err
    assert RunDirectory(out).record().epochs_done == 1
    ends_well(start(out, "resumes"))
    same(out, alone)


def test_two_devices_train_as_one(start: Start, alone: Path, tmp_path: Path) -> None:
    """Several devices of one machine share the steps by themselves."""
    ends_well(start(tmp_path / "run", "devices"))
    same(tmp_path / "run", alone)
