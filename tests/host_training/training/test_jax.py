"""Keras on JAX trains without TensorFlow, and each backend takes the other's runs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from host_training.runs.directory import RunDirectory

pytest.importorskip("jax")

PROGRAM = """
import os, sys
from pathlib import Path

import numpy as np


class Without:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(name)


if os.environ["KERAS_BACKEND"] == "jax":
    sys.meta_path.insert(0, Without())  # as where it is not installed
from edge.errors import EdgeEmoError
from host_training.config import TrainConfig
from host_training.frameworks import import_keras
from host_training.metrics.predict import keras_probabilities
from host_training.training.distillation import model_file
from host_training.training.progress import SilentProgress
from host_training.training.run import Pretrained, train
from tests.host_training.grey import grey_samples, register_tiny

out, mode, teachers = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
import_keras()


register_tiny()
samples = grey_samples()


class Progress(SilentProgress):
    def begin_epoch(self, epoch, epochs, batches):
        if mode == "stops" and epoch == 2:
            raise KeyboardInterrupt


files = tuple(model_file(Path(teacher)) for teacher in teachers)
config = TrainConfig(
    architecture="tiny", epochs=2, batch_size=16, seed=3, ema=0.9, class_weights=True,
    keep_near_duplicates=True, teachers=tuple(file.sha256 for file in files), mixup=0.2,
)
if mode == "answers":
    _, answers = keras_probabilities(out, samples)
    np.save(sys.stdout.buffer, answers)
else:
    try:
        train(
            samples, config, out, Progress(), resume=mode == "resumes",
            pretrained=Pretrained(teachers=files),
        )
    except EdgeEmoError as error:
        sys.exit(f"{error}")
sys.stdout.flush()
os._exit(0)
"""


def run(backend: str, out: Path, mode: str, *teachers: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), mode, *map(str, teachers)],
        env=os.environ | {"KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        timeout=600,
        check=False,
    )


def answers(backend: str, out: Path) -> np.ndarray:
    done = run(backend, out, "answers")
    assert done.returncode == 0, done.stderr
    (out / "answers.npy").write_bytes(done.stdout)
    return np.load(out / "answers.npy")


def test_a_run_goes_from_backend_to_backend(tmp_path: Path) -> None:
    """Begun on JAX without TensorFlow, resumed on TensorFlow, answering and teaching on JAX."""
    out, student = tmp_path / "run", tmp_path / "student"
    stopped = run("jax", out, "stops")
    assert b"interrupted in epoch 2/2, 1 are safe" in stopped.stderr
    assert "tensorflow" not in RunDirectory(out).record().versions
    resumed = run("tensorflow", out, "resumes")
    assert resumed.returncode == 0, resumed.stderr
    assert [row.epoch for row in RunDirectory(out).history()] == [1, 2]
    np.testing.assert_allclose(answers("jax", out), answers("tensorflow", out), atol=1e-5)
    taught = run("jax", student, "whole", out)
    assert taught.returncode == 0, taught.stderr
    assert RunDirectory(student).record().state == "complete"
    assert RunDirectory(student).record().versions["jax"]
