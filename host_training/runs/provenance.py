"""What a model's own files tell of it: its decision, and the rows that it knows already."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from edge.contract.bundle import MODEL, SUMS, Bundle, bundle_path, open_bundle
from edge.contract.decision import Decision
from edge.errors import EdgeEmoError
from host_training.errors import TrainingError
from host_training.runs.directory import RUN, RunDirectory, RunRecord
from host_training.runs.known_pictures import PICTURES, KnownPictures, read_known_pictures


@dataclass(frozen=True, slots=True)
class ModelProvenance:
    """Where a measured model comes from.

    Attributes:
        model: its name or path.
        sha256: of its file.
        decision: what makes scores of its output for its users; None where it carries none.
        training: fingerprint of the rows that it learnt from, where it is known.
        validation: of the rows that chose its best epoch.
        data_names: of the data sets that it learnt from, or that chose its best epoch, those of
            the models that it started from or was taught by included.
        is_traced: all of those models could be found, so that no name is missing.
        measured: of the rows that a bundle's own figures are of.
        known: the pictures of its training, where they were kept.
        is_own: whether nothing but the file is known: a model that edgeemo did not make.
    """

    model: str
    sha256: str
    decision: Decision | None = None
    training: str | None = None
    validation: str | None = None
    data_names: tuple[str, ...] = ()
    is_traced: bool = True
    measured: str | None = None
    known: KnownPictures | None = None
    is_own: bool = False

    @property
    def temperature(self) -> float | None:
        """What its users' answers are tempered with; None where it carries none."""
        return None if self.decision is None else self.decision.temperature


def origin_of_file(path: Path) -> ModelProvenance:
    """Describe a bare model file.

    Raises:
        TrainingError: it cannot be read.
    """
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return ModelProvenance(str(path), digest, is_own=True)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from error


def origin_of_bundle(bundle: Bundle) -> ModelProvenance:
    """Describe a bundle."""
    metadata = bundle.metadata
    return ModelProvenance(
        str(bundle.path),
        bundle.sha256[MODEL],
        metadata.decision,
        metadata.training_data.fingerprint,
        data_names=(metadata.training_data.name,),
        measured=metadata.metrics.dataset.fingerprint,
        known=read_known_pictures(beside(bundle.path), metadata.training_data.fingerprint),
    )


def beside(bundle: Path) -> Path:
    """Return where the pictures of a bundle's run lie: beside it, for a device needs none."""
    whole = bundle.resolve()
    return whole.with_name(f"{whole.name}.{PICTURES}")


def origin_of_run(path: Path) -> ModelProvenance:
    """Describe a run directory, or the ``.keras`` file in one or anywhere.

    Raises:
        TrainingError: a file is missing or damaged.
    """
    run = RunDirectory(path if path.is_dir() else path.parent)
    file = origin_of_file(run.model if path.is_dir() else path)
    if not (run.path / RUN).is_file():
        return file
    record = run.record()
    before = [_origin_of_ancestor(Path(name)) for name in _ancestors(record)]
    names = [record.training_data.name, record.validation_data.name]
    names += [name for origin in before if origin is not None for name in origin.data_names]
    return ModelProvenance(
        str(path),
        file.sha256,
        # 1 exactly is what a record has before a temperature is fitted.
        None if record.temperature == 1 else Decision(temperature=record.temperature),
        record.training_data.fingerprint,
        record.validation_data.fingerprint,
        tuple(dict.fromkeys(names)),
        all(origin is not None and origin.is_traced for origin in before),
        known=read_known_pictures(run.path / PICTURES, record.training_data.fingerprint),
    )


def _ancestors(record: RunRecord) -> list[str]:
    return [*record.teachers, *filter(None, (record.initial, record.anchor))]


def _origin_of_ancestor(path: Path) -> ModelProvenance | None:
    """Describe a model by the path that a record has of it; None where it is no longer there."""
    path = bundle_path(path)
    try:
        if (path / SUMS).is_file():
            return origin_of_bundle(open_bundle(path))
        origin = origin_of_run(path)
    except EdgeEmoError:
        return None
    return origin if origin.data_names else None
