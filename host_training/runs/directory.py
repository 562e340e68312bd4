"""The directory that a training run leaves: plain files that others read."""

import csv
import importlib
import io
import platform
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.mesh_features import FeatureNorm
from edge.contract.metadata import Dataset
from edge.errors import ConfigError
from host_training.atomic import CHECK, RESUME, write_atomically
from host_training.config import TrainConfig, decode_config
from host_training.errors import TrainingError
from host_training.frameworks import import_keras, keras_backend
from host_training.training.checkpoint import EpochRow

CONFIG: Final = "config.json"
RUN: Final = "run.json"
HISTORY: Final = "history.csv"
CHECKPOINTS: Final = "checkpoints"
MODEL: Final = "model.keras"
METRICS: Final = "metrics.json"
ANSWERS: Final = "answers.csv"

_MODULES: Final = ("numpy", "keras", "sklearn", "cv2")
_ENGINES: Final = ("torch",)
"""Of these, those that are in use."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``: what the run is, and how far it has come.

    Attributes:
        labels: the emotions in the order of the network's outputs.
        template_id: the alignment that the pictures are taken to have.
        parameters: number of weights, batch normalisation's included.
        protocol: of the validation figures.
        macs: multiplications for one picture.
        device: what it was trained on, in words.
        validation_data: the rows that chose ``model.keras``.
        mesh_norm: how the network's mesh features are standardised, where it takes them.
        teachers: paths of the models that answered beside the labels, as given.
        initial: path of the model that it started from, as given.
        anchor: path of the model that its weights were averaged with, as given.
        temperature: fitted on the validation rows at the end, see
            ``edge.contract.quantize.temper``.
        epochs_done: epochs behind the newest checkpoint.
    """

    run_id: str
    created_at: str
    edgeemo_version: str
    architecture: str
    labels: tuple[str, ...]
    template_id: str
    parameters: int = 0
    macs: int = 0
    device: str = ""
    protocol: str
    seed: int
    data_form: str
    training_data: Dataset
    validation_data: Dataset
    versions: dict[str, str] = {}
    mesh_norm: FeatureNorm | None = None
    teachers: tuple[str, ...] = ()
    initial: str | None = None
    anchor: str | None = None
    temperature: float = 1.0
    state: Literal["running", "complete"] = "running"
    epochs: int
    epochs_done: int = 0


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths of a run, and the writing of its small files."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def model(self) -> Path:
        """The network of the best validation accuracy."""
        return self.path / MODEL

    @property
    def before_refinement(self) -> Path:
        """The same as the epochs left it, where something was fitted to it after the last."""
        return self.path / "before-refinement.keras"

    def config(self) -> TrainConfig:
        """Read ``config.json``.

        Raises:
            TrainingError: it is missing or damaged: this is no run directory.
        """
        return decode_config(self._read(CONFIG), str(self.path / CONFIG))

    def record(self) -> RunRecord:
        """Read ``run.json``.

        Raises:
            TrainingError: it is missing or damaged: this is no run directory.
        """
        try:
            return msgspec.json.decode(self._read(RUN), type=RunRecord)
        except msgspec.MsgspecError as error:
            raise TrainingError(f"{self.path / RUN}: not a run's record ({error})") from error

    def history(self) -> tuple[EpochRow, ...]:
        """Read ``history.csv``.

        Raises:
            TrainingError: it is missing or damaged.
        """
        rows = csv.DictReader(io.StringIO(self._read(HISTORY).decode("utf-8", "replace")))
        try:
            return msgspec.convert(list(rows), tuple[EpochRow, ...], strict=False)
        except msgspec.MsgspecError as error:
            raise TrainingError(f"{self.path / HISTORY}: not a run's history ({error})") from error

    def write_answers(self, are_right: Sequence[bool] | NDArray[np.bool_]) -> None:
        """Write which validation rows the kept model answers right, in their order."""
        data = ("right\n" + "".join(f"{int(right)}\n" for right in are_right)).encode()
        write_atomically(self.path / ANSWERS, lambda file: file.write(data), remedy=RESUME)

    def answers(self) -> NDArray[np.bool_] | None:
        """Read which validation rows were answered right; None for a run that kept none.

        Raises:
            TrainingError: the file is damaged.
        """
        if not (self.path / ANSWERS).is_file():
            return None
        header, *lines = self._read(ANSWERS).decode("utf-8", "replace").splitlines() or [""]
        if header != "right" or not set(lines) <= {"0", "1"}:
            raise TrainingError(
                f"{self.path / ANSWERS}: not a run's answers; `edgeemo train --resume` makes them"
            )
        return np.array([line == "1" for line in lines], bool)

    def remove_leftovers(self) -> None:
        """Remove what a killed process left half-written; nothing of it is ever read."""
        for pattern in (
            ".*.json.*",
            ".*.csv.*",
            ".*.png.*",
            ".*.npz.*",
            ".partial-*",
            "checkpoints/.epoch-*",
        ):
            for file in self.path.glob(pattern):
                file.unlink(missing_ok=True)

    def write_record(self, record: RunRecord) -> None:
        """Replace ``run.json`` in one step."""
        self.write_json(RUN, record)

    def write_json(self, name: str, value: object) -> None:
        """Write a value as indented JSON in one step."""
        write_json(self.path / name, value, remedy=RESUME)

    def write_history(self, rows: Sequence[EpochRow]) -> None:
        """Replace ``history.csv`` in one step."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(EpochRow.__struct_fields__)
        writer.writerows(msgspec.structs.astuple(row) for row in rows)
        data = text.getvalue().encode()
        write_atomically(self.path / HISTORY, lambda file: file.write(data), remedy=RESUME)

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise TrainingError(
                f"{self.path / name}: {error.strerror}; expected a run directory of `edgeemo train`"
            ) from error


def create_run(path: Path, config: TrainConfig, record: RunRecord) -> RunDirectory:
    """Make the directory of a new run; it appears with its config and record, or not at all.

    Raises:
        ConfigError: ``path`` is taken.
        TrainingError: it cannot be written.
    """
    check_free(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        staging.chmod(0o755)
        (staging / CHECKPOINTS).mkdir()
        (staging / CONFIG).write_bytes(json_bytes(config))
        (staging / RUN).write_bytes(json_bytes(record))
        if sys.platform == "win32" and path.exists():  # it renames over nothing
            path.rmdir()
        staging.rename(path)  # over an empty directory at most
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return RunDirectory(path)


def check_free(path: Path) -> None:
    """Refuse to start a run where something is already.

    Raises:
        ConfigError: naming the remedy.
    """
    if (path / RUN).exists():
        raise ConfigError(f"{path}: holds a run already; continue it with --resume")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path}: exists and is not empty; choose another --out")


def write_json(path: Path, value: object, *, remedy: str = CHECK) -> None:
    """Write a value as indented JSON in one step; ``remedy`` ends the message of a failure.

    Raises:
        TrainingError: the disk refuses; an older file stays as it was.
    """
    data = json_bytes(value)
    write_atomically(path, lambda file: file.write(data), remedy=remedy)


def json_bytes(value: object) -> bytes:
    """Return a value as indented JSON with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def new_run_id(architecture: str) -> str:
    """Return a name that no other run has: architecture, UTC time, and a random part."""
    return f"{architecture}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def versions() -> dict[str, str]:
    """Return the versions that a run's result depends on."""
    import_keras()
    # Asked of the modules: each comes in distributions of several names (tensorflow-cpu, ...).
    names = (*_MODULES, keras_backend(), *(name for name in _ENGINES if name in sys.modules))
    modules = {name: str(importlib.import_module(name).__version__) for name in names}
    return {"python": platform.python_version()} | modules
