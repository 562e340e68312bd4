"""Reading the trained model: a ``.keras`` file, the run directory it lies in, or a SavedModel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.model.saved_model import is_saved_model, load_saved_model
from edge.contract.align import FER48, TEMPLATES, Template
from edge.contract.labels import EMOTIONS, is_label
from edge.contract.mesh_features import FEATURE_COUNT, FeatureNorm, standardized
from edge.contract.metadata import Dataset
from edge.errors import not_there
from edge.inference.trial import OPEN_KERAS, problem_of_opening
from host_training.frameworks import import_keras, quiet
from host_training.keras_file import KERAS, refusal, written_by
from host_training.runs.known_pictures import PICTURES, KnownPictures, read_known_pictures

MODEL_FILE: Final = "model.keras"
RUN_FILE: Final = "run.json"
"""The names in a training run's directory."""

UNKNOWN: Final = "unknown"

InputKind = Literal["crop", "mesh"]

_MESH_RANK: Final = 2

_NO_NORM: Final = (
    f"takes mesh features, and no {RUN_FILE} with mesh_norm beside it tells how they were "
    "standardised; convert the whole run directory of `edgeemo train`"
)


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a run's ``run.json`` that a bundle tells on; other fields are left alone.

    Attributes:
        mesh_norm: what standardised the mesh features, for a model that takes them.
        temperature: fitted by the run on its validation rows.
    """

    run_id: str
    architecture: str
    labels: tuple[str, ...]
    template_id: str = FER48.template_id
    training_data: Dataset
    validation_data: Dataset | None = None
    mesh_norm: FeatureNorm | None = None
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class TrainedModel:
    """A Keras model with what is known about it.

    Attributes:
        keras: the ``keras.Model``: ``(n, size, size, 1)`` float pixels 0 to 255, standardised mesh
            features ``(n, FEATURE_COUNT)`` or both in, ``(n, k)`` probabilities out.
        path: the ``.keras`` file or the SavedModel's folder.
        run: from ``run.json``; ``UNKNOWN`` where there is none.
    """

    keras: Any
    path: Path
    run: RunInfo

    @property
    def kinds(self) -> tuple[InputKind, ...]:
        """What its inputs are, in their order."""
        return input_kinds(self.keras)

    def inputs(self, rows: LabelledImages) -> tuple[NDArray[np.float32], ...]:
        """Return what the model is fed for rows, one array for each of its inputs, in their order.

        Raises:
            ConversionError: it takes mesh features, and the rows have none.
        """
        return tuple(
            rows.images[..., None].astype(np.float32) if kind == "crop" else self._mesh(rows)
            for kind in self.kinds
        )

    def _mesh(self, rows: LabelledImages) -> NDArray[np.float32]:
        if rows.mesh is None:
            raise ConversionError(no_mesh(rows.dataset.name))
        if self.run.mesh_norm is None:
            raise ConversionError(f"{self.path}: {_NO_NORM}")
        return standardized(rows.mesh, self.run.mesh_norm)

    @property
    def known(self) -> KnownPictures | None:
        """The pictures of its training, where the run kept them.

        Raises:
            TrainingError: their file is damaged.
        """
        # Resolved: a SavedModel may be given as ".", whose parent is itself.
        file = self.path.resolve().parent / PICTURES
        return read_known_pictures(file, self.run.training_data.fingerprint)

    @property
    def parameters(self) -> int:
        """How many weights it has, those not trained included."""
        return int(self.keras.count_params())

    @property
    def template(self) -> Template:
        """The alignment of its crops."""
        return TEMPLATES[self.run.template_id]

    @property
    def size(self) -> int:
        """Width and height of its crops in pixels."""
        return self.template.size


def input_kinds(model: Any) -> tuple[InputKind, ...]:
    """Return what a Keras model's inputs are, in their order; told by their dimensions."""
    return tuple("mesh" if len(tensor.shape) == _MESH_RANK else "crop" for tensor in model.inputs)


def no_mesh(name: str) -> str:
    """Say that rows lack the mesh features which a model takes."""
    return (
        f"the model takes mesh features, {name} has none; make them with `edgeemo data prepare` "
        "and give the folder as --prepared"
    )


def load_model(path: Path, labels: tuple[str, ...] | None = None) -> TrainedModel:
    """Load a trained model without running code from the file.

    Args:
        path: a ``.keras`` file, a run directory of ``edgeemo train``, or the folder of a SavedModel
            that takes a crop. A ``run.json`` beside the file or folder is read too.
        labels: the emotions in the order of the model's output; needed where there is no
            ``run.json``, refused where it says something else.

    Raises:
        ConversionError: not such a file, a form that could run code, tensors that are not a crop
            or mesh features and probabilities, mesh features of unknown standardisation, or labels
            unknown or contradictory.
    """
    if is_saved_model(path):
        # Resolved: the folder may be given as ".", whose parent is itself.
        info, file = _run_info(path.resolve().parent / RUN_FILE, labels), path
        model = load_saved_model(path)
    else:
        file = path / MODEL_FILE if path.is_dir() else path
        _check_file(file)
        info = _run_info(file.parent / RUN_FILE, labels)
        model = _load_keras(file)
    run = info or _bare_info(model.name, labels or ())
    _check_tensors(model, run, file)
    return TrainedModel(model, file, run)


def _load_keras(file: Path) -> Any:
    keras = import_keras()
    if problem := problem_of_opening(file, OPEN_KERAS):
        raise ConversionError(f"{file}: refused, {problem}")
    try:
        with quiet():
            return keras.saving.load_model(file, compile=False, safe_mode=True)
    # Keras gives anything from KeyError to UnicodeDecodeError for a damaged or unsafe file.
    except Exception as error:
        raise ConversionError(
            f"{file}: Keras cannot load it safely ({_first_line(error)}); it was "
            f"{written_by(file)}, expected are layers of Keras only, saved by Keras "
            f"{keras.__version__} or an older 3"
        ) from error


def _check_file(file: Path) -> None:
    if file.suffix == KERAS and not file.is_file():
        raise not_there(
            ConversionError(
                f"{file}: no such file; expected a .keras file, a run directory of `edgeemo train` "
                f"with {MODEL_FILE} in it, or the folder of a SavedModel"
            )
        )
    if reason := refusal(file):
        raise ConversionError(f"{file}: {reason}")


def _run_info(file: Path, labels: tuple[str, ...] | None) -> RunInfo | None:
    if not file.is_file():
        if labels is None:
            raise not_there(
                ConversionError(
                    f"{file}: no such file, so the order of the model's outputs is unknown; "
                    "give them (--model-labels), or convert the whole run directory"
                )
            )
        return None
    try:
        info = msgspec.json.decode(file.read_bytes(), type=RunInfo)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConversionError(f"{file}: not the record of a training run ({error})") from error
    if labels is not None and labels != info.labels:
        raise ConversionError(
            f"labels {list(labels)} were given, {file} says {list(info.labels)}; leave them out"
        )
    return info


def _bare_info(name: str, labels: tuple[str, ...]) -> RunInfo:
    nothing = Dataset(name=UNKNOWN, split=UNKNOWN, rows=0, fingerprint=UNKNOWN)
    return RunInfo(run_id=UNKNOWN, architecture=name, labels=labels, training_data=nothing)


def _check_tensors(model: Any, run: RunInfo, file: Path) -> None:
    if wrong := [label for label in run.labels if not is_label(label)]:
        raise ConversionError(
            f"{file}: unknown labels {wrong}; expected some of {EMOTIONS}, or names of your own of "
            "small letters, digits, - and _"
        )
    if run.template_id not in TEMPLATES:
        raise ConversionError(
            f"{file}: unknown template {run.template_id!r}; known: {sorted(TEMPLATES)}"
        )
    _check_inputs(model, run, file)
    k = len(run.labels)
    if len(model.outputs) != 1 or tuple(model.outputs[0].shape) != (None, k):
        got = [tuple(tensor.shape) for tensor in model.outputs]
        raise ConversionError(
            f"{file}: outputs have shapes {got}, expected one (None, {k}) for the labels "
            f"{', '.join(run.labels)}"
        )


def _check_inputs(model: Any, run: RunInfo, file: Path) -> None:
    size = TEMPLATES[run.template_id].size
    expected = {"crop": (None, size, size, 1), "mesh": (None, FEATURE_COUNT)}
    kinds, got = input_kinds(model), [tuple(tensor.shape) for tensor in model.inputs]
    if len(set(kinds)) != len(kinds) or got != [expected[kind] for kind in kinds]:
        raise ConversionError(
            f"{file}: inputs have shapes {got}, expected {expected['crop']} for template "
            f"{run.template_id}, {expected['mesh']} for mesh features, or both"
        )
    if "mesh" in kinds and run.mesh_norm is None:
        raise ConversionError(f"{file}: {_NO_NORM}")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
