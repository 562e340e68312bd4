"""Distillation: trained networks that answer beside the labels.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015. As Beyer et al.,
"Knowledge distillation: A good teacher is patient and consistent", CVPR 2022, found decisive, the
teachers see the very view that the student sees; each view is asked about once and kept.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import MODEL, bundle_path, open_bundle
from edge.contract.mesh_features import FeatureNorm
from edge.errors import ConfigError
from host_training.architectures import architecture, build
from host_training.atomic import RESUME, write_atomically
from host_training.config import Engine, Precision
from host_training.distributed.workers import ALONE, Workers
from host_training.errors import TrainingError
from host_training.frameworks import import_torch
from host_training.metrics.inputs import Inputs, MeshRows, as_model_input, input_names
from host_training.runs.directory import RunDirectory

if TYPE_CHECKING:
    import keras

    from host_training.data.samples import Samples


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A trained model on the disk.

    Attributes:
        path: as it was named: a run directory, the ``.keras`` file within one, a bundle, `default`.
        file: the ``.keras`` file itself.
        sha256: of that file.
    """

    path: Path
    file: Path
    sha256: str


def model_file(path: Path) -> ModelFile:
    """Find and hash a run's model, or that of a bundle; ``default`` is the packaged one.

    Raises:
        ConfigError: there is none.
    """
    # The name stays as it was given: where `default` lies is this machine's affair.
    tflite = bundle_path(path) / MODEL
    if tflite.is_file():
        return hashed(path, tflite)
    run = RunDirectory(path if path.is_dir() else path.parent)
    return hashed(path, run.model if path.is_dir() else path)


def hashed(path: Path, file: Path) -> ModelFile:
    """Return a model's file with its hash; ``path`` is what it was given as.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}; expected a run directory of `edgeemo train`, or a bundle"
        ) from error
    return ModelFile(path, file, digest)


class Teachers:
    """An ensemble that answers with the mean of its members' probabilities.

    Args:
        files: the members.
        samples: the rows that they will be asked about.
        views: how many different views of each there are.
        cache: a folder to keep the answers in, so that a resumed run does not ask again.
        engine: what computes their answers, see ``TrainConfig``.
        precision: see there.
        workers: those who train together: each asks about its own part, and all get to know.

    Raises:
        ConfigError: a member tells other emotions apart than the rows have.
        DataError: a member takes mesh features, and the rows have none.
        TrainingError: a member cannot be opened.
    """

    def __init__(
        self,
        files: Sequence[ModelFile],
        samples: "Samples",
        views: int,
        cache: Path,
        *,
        engine: Engine = "keras",
        precision: Precision = "float32",
        workers: Workers = ALONE,
    ) -> None:
        self._members = [Teacher(file, samples) for file in files]
        if engine == "torch":
            for member in self._members:
                member.use_torch(precision)
        shape = (views, len(samples), len(samples.labels))
        # Half precision: a 1000th of a probability is far below what two teachers differ by.
        self._answers = np.full(shape, np.nan, np.float16)
        self._cache, self._workers = cache, workers
        self._kept: set[int] = set()
        if workers.is_chief:
            for table in range(views):
                self._load(table)
        if workers.count > 1:
            self._share(slice(None))
            kept = workers.from_chief(lambda: msgspec.json.encode(self._kept))
            self._kept = msgspec.json.decode(kept, type=set[int])

    def answers(
        self,
        table: int,
        chosen: NDArray[np.int64],
        pixels: NDArray[np.float32],
        mirrored: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """Return the mean answer to views, float32 ``(b, k)``; rows sum to 1.

        Args:
            table: which views of the rows these are, 0 to ``views - 1``.
            chosen: the rows, ``(b,)``.
            pixels: the views, float32 ``(b, 48, 48, 1)``.
            mirrored: bool ``(b,)``, the views that are; their meshes are mirrored with them.
        """
        known = self._answers[table, chosen]
        if np.isnan(known).any():
            answers = [member.answer(chosen, pixels, mirrored) for member in self._members]
            known = np.mean(answers, axis=0).astype(np.float16)
            self._answers[table, chosen] = known
        wide = known.astype(np.float32)
        return np.asarray(wide / wide.sum(axis=1, keepdims=True), np.float32)

    def keep(self, table: int) -> None:
        """Exchange and write the answers to one table of views; harmless when repeated.

        Raises:
            TrainingError: the disk refuses, or a worker is missing.
        """
        if table in self._kept:
            return
        if self._workers.count > 1:
            self._workers.after_steps()
            self._share(slice(table, table + 1))
        if self._workers.is_chief:
            self._cache.mkdir(exist_ok=True)
            answers = self._answers[table]
            write_atomically(self._file(table), lambda file: np.save(file, answers), remedy=RESUME)
        self._kept.add(table)

    def _share(self, tables: slice) -> None:
        """Take over what any worker knows, of equal ones the first one's answer."""
        own = self._answers[tables]
        for part in reversed(self._workers.gather(own.tobytes())):
            theirs = np.frombuffer(part, own.dtype).reshape(own.shape)
            np.copyto(own, theirs, where=~np.isnan(theirs))

    def _load(self, table: int) -> None:
        try:
            answers = np.load(self._file(table), allow_pickle=False)
        except (OSError, EOFError, ValueError):
            return  # never asked, or damaged: asked again
        if answers.shape == self._answers.shape[1:] and answers.dtype == np.float16:
            self._answers[table] = answers
            self._kept.add(table)

    def _file(self, table: int) -> Path:
        return self._cache / f"views-{table:03d}.npy"


class Teacher:
    """One teacher, with its own scaling of the mesh features."""

    def __init__(self, file: ModelFile, samples: "Samples") -> None:
        labels, norm, self._model, self._architecture = _opened(file, samples)
        if labels != samples.labels:
            raise ConfigError(
                f"--teacher {file.path}: tells {', '.join(labels)} apart, the samples show "
                f"{', '.join(samples.labels)}; a teacher must know the same emotions"
            )
        self._names = input_names(self._model)
        self._mesh = _mesh_rows(samples, norm) if "mesh" in self._names else None
        self._predict: Callable[[Inputs], Any] = self._by_keras

    def use_torch(self, precision: Precision) -> None:
        """Let PyTorch compute the answers."""
        import_torch()
        from host_training.training.torch_learner import TorchPredictor

        chosen = architecture(self._architecture)
        plain = build(self._architecture, self._model.output_shape[-1])
        plain.set_weights(self._model.get_weights())
        predictor = TorchPredictor(plain, mirrored=chosen.mirrored, precision=precision)
        self._predict = predictor.predict_on_batch

    def answer(
        self,
        chosen: NDArray[np.int64],
        pixels: NDArray[np.float32],
        mirrored: NDArray[np.bool_],
    ) -> NDArray[Any]:
        """Return this teacher's probabilities for views, ``(b, k)``; see ``Teachers.answers``."""
        inputs: Inputs = {"pixels": pixels} if "pixels" in self._names else {}
        if self._mesh is not None:
            inputs["mesh"] = self._mesh.rows(chosen, mirrored)
        return np.asarray(self._predict(inputs))

    def _by_keras(self, inputs: Inputs) -> Any:
        return self._model.predict_on_batch(as_model_input(self._model, inputs))


def _opened(
    file: ModelFile, samples: "Samples"
) -> tuple[tuple[str, ...], FeatureNorm | None, "keras.Model", str]:
    """Return a teacher's labels, scaling of mesh features, network, and architecture's name."""
    if file.file.name == MODEL:
        from host_training.training.bundle_weights import bundle_network

        labels, model = bundle_network(file.file.parent, samples.images)
        return labels, None, model, open_bundle(file.file.parent).metadata.architecture
    from host_training.metrics.predict import load_keras_model

    record = RunDirectory(file.file.parent).record()
    return record.labels, record.mesh_norm, load_keras_model(file.file), record.architecture


def _mesh_rows(samples: "Samples", norm: FeatureNorm | None) -> MeshRows:
    if norm is None:
        raise TrainingError("a teacher takes mesh features, but its run.json has no mesh_norm")
    return MeshRows(samples, norm)
