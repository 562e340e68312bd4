"""A training run from the first epoch, or from where it was stopped."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from edge import __version__
from edge.contract.align import FER48
from edge.contract.mesh_features import FeatureNorm
from edge.errors import ConfigError
from edge.inference.trial import remember
from host_training.architectures import architecture, build
from host_training.architectures.cost import cost
from host_training.atomic import RESUME, write_atomically
from host_training.config import TrainConfig
from host_training.data.partition import Partition, partition
from host_training.data.rehearse import with_rehearsal
from host_training.data.samples import Samples
from host_training.distributed.fingerprints import code_fingerprint, digest
from host_training.distributed.strategy import strategy_of
from host_training.distributed.workers import ALONE, Workers, check_alike
from host_training.frameworks import configure_backend, keras_backend
from host_training.lock import locked
from host_training.metrics.inputs import MeshRows, norm_of
from host_training.metrics.predict import load_keras_model
from host_training.runs.directory import (
    RunDirectory,
    RunRecord,
    check_free,
    create_run,
    new_run_id,
    versions,
)
from host_training.runs.known_pictures import PICTURES, known_pictures
from host_training.training.batches import (
    TrainingBatches,
    balanced_class_weights,
    shown_shares,
)
from host_training.training.classifier import retrain_classifier
from host_training.training.distillation import ModelFile, Teachers
from host_training.training.epochs import Run, run_epochs, save_model, validate
from host_training.training.last_layer import fit_last_layer
from host_training.training.optimizer import learner_of, untrained_model
from host_training.training.precise_batch_norm import estimate_batch_norm
from host_training.training.pretrained import load_pretrained
from host_training.training.progress import TrainingProgress
from host_training.training.report import write_reports
from host_training.training.targets import with_targets
from host_training.training.weight_average import WeightAverage

if TYPE_CHECKING:
    import keras

TEACHER_CACHE = "teacher"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Trained models that a run learns from; their hashes stand in its settings.

    Attributes:
        teachers: that answer beside the labels.
        initial: whose weights it starts from.
        anchor: whose weights are averaged with its own; those of ``initial`` when None.
    """

    teachers: tuple[ModelFile, ...] = ()
    initial: ModelFile | None = None
    anchor: ModelFile | None = None


def train(  # noqa: PLR0913 - most are keywords
    samples: Samples,
    config: TrainConfig,
    out: Path,
    progress: TrainingProgress,
    *,
    resume: bool,
    pretrained: Pretrained = Pretrained(),
    workers: Workers = ALONE,
    general: Samples | None = None,
) -> RunDirectory:
    """Train a network and write its run directory, which of several workers the chief alone does.

    Args:
        samples: the whole data set; see ``host_training.data.partition`` for what is done with it.
        config: the settings; with ``resume`` the run's own (``config_to_resume``).
        out: the run directory.
        progress: told of every batch and epoch.
        resume: continue the run that ``out`` holds. A complete one only gets its reports anew.
        pretrained: the models that ``config`` names by their hashes.
        workers: those who train together.
        general: samples to rehearse beside them, see ``host_training.data.rehearse``.

    Raises:
        ConfigError: ``out`` is taken, or holds no run to resume, or one on other data, or another
            process trains in it; an ancestor is missing or does not fit; a worker has other data,
            code or settings.
        DataError: the data cannot be trained on.
        TrainingError: interrupted, the loss is not a number, or the disk refuses.
    """
    if not resume and workers.is_chief:
        check_free(out)
    _check_engine(config, workers)
    _check_pretrained(config, pretrained)
    parts, mine = _partition(samples, config, progress, general)
    if workers.count > 1:
        configure_backend(config.precision, deterministic=config.deterministic)
        check_alike(workers, facts(config, parts))
    if not workers.is_chief:
        return _assist(parts, mine, config, out, progress, pretrained, workers)
    if resume:
        directory = _same_data(RunDirectory(out), parts)
    else:
        directory = create_run(out, config, run_record(config, parts, pretrained))
    with locked(out):
        _keep_pictures(directory, parts)
        state = directory.record().state
        workers.from_chief(state.encode)
        if state == "complete":
            progress.report(f"{out} is complete: only its reports are made")
            write_reports(directory, parts.validation, directory.history())
            return directory
        directory.remove_leftovers()
        run = _prepared(directory, config, parts, mine, progress, pretrained, workers)
        with progress:
            history = run_epochs(run)
        if run.config.precise_batch_norm or run.config.classifier_retraining:
            _refine(run, directory, parts.training, mine)
        remember(directory.model)
        write_reports(directory, parts.validation, history)
        record = msgspec.structs.replace(directory.record(), state="complete")
        directory.write_record(record)
    return directory


def _refine(run: Run, directory: RunDirectory, rows: Samples, mine: int) -> None:
    """Do what is done once, on the network that the epochs gave, and keep the result.

    The network as the epochs left it stays beside it: broken off, this is done again from there.
    """
    source, network = directory.before_refinement, run.inference
    if not source.is_file():
        temporary = source.with_name(f".partial-{source.name}")
        shutil.copyfile(directory.model, temporary)
        temporary.replace(source)
    network.set_weights(load_keras_model(source).get_weights())
    steps: list[tuple[bool, str, Callable[..., None]]] = [
        (run.config.precise_batch_norm, "batch normalisation estimated", estimate_batch_norm),
        (run.config.classifier_retraining > 0, "classifier retrained", retrain_classifier),
    ]
    last = run.config.epochs - 1
    before, _ = validate(run, last, ALONE)
    for is_asked_for, what, step in steps:
        if not is_asked_for:
            continue
        step(network, rows, run.config, run.norm, mine)
        after, _ = validate(run, last, ALONE)
        run.progress.report(
            f"{what}: validation accuracy {before.accuracy:.2%} before, "
            f"{after.accuracy:.2%} after; balanced {before.balanced_accuracy:.2%} before, "
            f"{after.balanced_accuracy:.2%} after"
        )
        before = after
    save_model(run, directory.model)


def _assist(
    parts: Partition,
    mine: int,
    config: TrainConfig,
    out: Path,
    progress: TrainingProgress,
    pretrained: Pretrained,
    workers: Workers,
) -> RunDirectory:
    """Take the chief's steps with it; nothing is written."""
    if workers.from_chief(bytes) != b"complete":
        run = _prepared(None, config, parts, mine, progress, pretrained, workers)
        with progress:
            run_epochs(run)
    return RunDirectory(out)


def _check_engine(config: TrainConfig, workers: Workers) -> None:
    """Refuse several workers where the engine knows one process only."""
    engine = config.engine if config.engine != "keras" else keras_backend()
    if workers.count > 1 and engine != "tensorflow":
        raise ConfigError(
            f"TF_CONFIG: several workers train on TensorFlow only, not on {engine}; leave --set "
            "engine and KERAS_BACKEND out, or unset TF_CONFIG"
        )


def _keep_pictures(directory: RunDirectory, parts: Partition) -> None:
    """Write down which pictures the run knows, for whoever measures it later."""
    path = directory.path / PICTURES
    if not path.is_file():
        content = known_pictures(parts.training, parts.validation).encode()
        write_atomically(path, lambda file: file.write(content), remedy=RESUME)


def config_to_resume(out: Path) -> TrainConfig:
    """Return the settings of the run in ``out``.

    Raises:
        ConfigError: there is no run.
        TrainingError: its ``config.json`` is missing or damaged.
    """
    if not out.is_dir():
        raise ConfigError(f"--resume: {out}: no such run; leave --resume out to start it")
    return RunDirectory(out).config()


def _check_pretrained(config: TrainConfig, pretrained: Pretrained) -> None:
    """Refuse models that are not those that the settings name."""
    given = tuple(file.sha256 for file in pretrained.teachers)
    if given != config.teachers:
        raise ConfigError(
            f"--teacher: this run learns from {len(config.teachers)} models, "
            f"{len(given)} were found, or others; give the very --teacher models it began with"
        )
    for option, what, file, sha256 in (
        ("--init", "starts from", pretrained.initial, config.initial),
        ("--anchor", "is averaged with", pretrained.anchor, config.anchor_model),
    ):
        if sha256 is not None and (file is None or file.sha256 != sha256):
            raise ConfigError(f"{option}: the model that this run {what} is gone or has changed")
    if config.anchor_model is not None and not config.anchor:
        raise ConfigError("--anchor: say how large its share is, --set anchor=0.3 for example")


def divided(samples: Samples, config: TrainConfig) -> Partition:
    """Divide a data set into what a run with these settings learns from and is validated on.

    Raises:
        DataError: the data cannot be trained on.
    """
    return partition(
        samples,
        share=config.validation_share,
        seed=config.seed if config.validation_seed is None else config.validation_seed,
        keep_duplicates=config.keep_duplicates,
        keep_near_duplicates=config.keep_near_duplicates,
        groups=config.validation_groups,
    )


def _partition(
    samples: Samples, config: TrainConfig, progress: TrainingProgress, general: Samples | None
) -> tuple[Partition, int]:
    """Return what is learnt from and validated on, and how many of the former are one's own."""
    parts = divided(samples, config)
    mine = len(parts.training)
    if general is not None:
        if architecture(config.architecture).takes_mesh:
            raise ConfigError(
                f"--with: rehearses pictures only, --arch {config.architecture} takes mesh "
                "features; leave --with out, or give another --arch"
            )
        parts, mine = with_rehearsal(parts, general)
    elif config.rehearsal:
        progress.report("without --with nothing general is rehearsed: other faces are forgotten")
    parts = replace(parts, training=with_targets(parts.training, config))
    for remark in parts.remarks:
        progress.report(remark)
    progress.report(
        f"training on {len(parts.training)} samples, validating on {len(parts.validation)}"
    )
    return parts, mine


def _prepared(
    directory: RunDirectory | None,
    config: TrainConfig,
    parts: Partition,
    mine: int,
    progress: TrainingProgress,
    pretrained: Pretrained,
    workers: Workers,
) -> Run:
    """Build all that the epochs need; without a ``directory`` nothing is written."""
    rows = parts.training
    device = configure_backend(config.precision, deterministic=config.deterministic)
    strategy = None
    if config.engine == "keras" and keras_backend() == "tensorflow":
        strategy = strategy_of(workers)
    if workers.count > 1:
        device = f"{workers.count} workers, each {device}"
    progress.report(f"device: {device}")
    norm = norm_of(rows) if architecture(config.architecture).takes_mesh else None
    teachers = None
    if pretrained.teachers:
        cache = Path() if directory is None else directory.path / TEACHER_CACHE
        teachers = Teachers(
            pretrained.teachers,
            rows,
            config.teacher_views,
            cache,
            engine=config.engine,
            precision=config.precision,
            workers=workers,
        )
    shown = rows.targets * shown_shares(len(rows), mine, config)[:, None]
    batches = TrainingBatches(
        rows,
        config,
        mesh=None if norm is None else MeshRows(rows, norm),
        weights=balanced_class_weights(shown) if config.class_weights else None,
        teachers=teachers,
        workers=workers,
        mine=mine,
    )
    model = untrained_model(config, len(rows.labels))
    if pretrained.initial is not None:
        progress.report(load_pretrained(model, rows.labels, pretrained.initial, rows.images))
    if config.last_layer_first:
        first = np.isin(np.arange(len(rows)), batches.shown(0))
        progress.report(fit_last_layer(model, rows.where(first), norm))
    anchor = None
    if pretrained.anchor is not None:
        other = untrained_model(config, len(rows.labels))
        load_pretrained(other, rows.labels, pretrained.anchor, rows.images)
        anchor = [np.asarray(weight, np.float32) for weight in other.get_weights()]
    learner = learner_of(model, config, len(batches), shown, strategy=strategy, workers=workers)
    # Built apart, without optimiser and mixed precision, as the converters want it.
    inference = build(config.architecture, len(rows.labels), dropout=config.dropout, inference=True)
    if directory is not None:
        _record_network(directory, inference, device, norm)
    return Run(
        directory=directory,
        config=config,
        learner=learner,
        average=WeightAverage(learner, config.ema, config.anchor, anchor),
        inference=inference,
        batches=batches,
        norm=norm,
        validation=parts.validation,
        progress=progress,
        workers=workers,
    )


def _record_network(
    directory: RunDirectory, model: "keras.Model", device: str, norm: FeatureNorm | None
) -> None:
    """Add to ``run.json`` what is only known once the network is built."""
    costs = cost(model)
    record = msgspec.structs.replace(
        directory.record(),
        parameters=costs.parameters,
        macs=costs.macs,
        device=device,
        mesh_norm=norm,
        versions=versions(),
    )
    directory.write_record(record)


def facts(config: TrainConfig, parts: Partition) -> dict[str, str]:
    """Return what must be the same on all workers of a run, by its name in a message."""
    rows = parts.training
    settings = msgspec.to_builtins(config)
    return {
        "edgeemo version": __version__,
        "code of edgeemo": code_fingerprint(),
        **{f"version of {name}": it for name, it in versions().items() if name != "python"},
        **{f"setting {name}": msgspec.json.encode(settings[name]).decode() for name in settings},
        "labels": ", ".join(rows.labels),
        "protocol": rows.protocol,
        "training data": rows.fingerprint().fingerprint,
        "validation data": parts.validation.fingerprint().fingerprint,
        "face meshes": digest(rows.mesh),
        "aligned crops": digest(rows.aligned),
    }


def run_record(config: TrainConfig, parts: Partition, pretrained: Pretrained) -> RunRecord:
    """Describe a run that begins now: what ``run.json`` tells of it."""
    rows = parts.training
    initial = pretrained.initial
    return RunRecord(
        run_id=new_run_id(config.architecture),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        edgeemo_version=__version__,
        architecture=config.architecture,
        labels=rows.labels,
        template_id=FER48.template_id,
        protocol=rows.protocol,
        seed=config.seed,
        data_form=rows.form,
        training_data=rows.fingerprint(),
        validation_data=parts.validation.fingerprint(),
        teachers=tuple(str(file.path) for file in pretrained.teachers),
        initial=None if initial is None else str(initial.path),
        anchor=None if pretrained.anchor is None else str(pretrained.anchor.path),
        epochs=config.epochs,
    )


def _same_data(directory: RunDirectory, parts: Partition) -> RunDirectory:
    """Refuse to resume a run on other data than it was started on."""
    before = directory.record()
    now = {
        "labels": parts.training.labels,
        "protocol": parts.training.protocol,
        "training_data": parts.training.fingerprint(),
        "validation_data": parts.validation.fingerprint(),
    }
    for name, value in now.items():
        if getattr(before, name) != value:
            raise ConfigError(
                f"--resume: the {name} of {directory.path} is not that of the data given now; give "
                "the run's own --data, --labels, --protocol and --with, or start a new run with "
                "another --out"
            )
    return directory
