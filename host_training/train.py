"""A training run from the first epoch, or from where it was stopped."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edge._version import __version__
from edge.contract.align import FER48
from edge.errors import ConfigError
from host_training.batches import TrainingBatches, balanced_class_weights
from host_training.config import TrainConfig
from host_training.data.partition import Partition, partition
from host_training.data.samples import Samples
from host_training.epochs import Run, run_epochs
from host_training.optimizer import compiled_model
from host_training.progress import TrainingProgress
from host_training.report import write_reports
from host_training.run_directory import (
    RunDirectory,
    RunRecord,
    check_free,
    create_run,
    new_run_id,
    versions,
)


def train(
    samples: Samples, config: TrainConfig, out: Path, progress: TrainingProgress, *, resume: bool
) -> RunDirectory:
    """Train a network and write its run directory.

    Args:
        samples: the whole data set; see ``host_training.data.partition`` for what is done with it.
        config: the settings; with ``resume`` the run's own (``config_to_resume``).
        out: the run directory.
        progress: told of every batch and epoch.
        resume: continue the run that ``out`` holds. A complete one only gets its reports anew.

    Raises:
        ConfigError: ``out`` is taken, or holds no run to resume, or one on other data.
        DataError: the data can not be trained on.
        TrainingError: interrupted, the loss is not a number, or the disk refuses.
    """
    if not resume:
        check_free(out)
    parts = _partition(samples, config, progress)
    if resume:
        directory = _same_data(RunDirectory(out), parts)
        if directory.record().state == "complete":
            progress.say(f"{out} is complete ({config.epochs} epochs): only its reports are made")
            write_reports(directory, parts.validation, directory.history())
            return directory
    run = _prepared(config, parts, out, progress, resume=resume)
    with progress:
        history = run_epochs(run)
    record = msgspec.structs.replace(run.directory.record(), state="complete")
    write_reports(run.directory, parts.validation, history)
    run.directory.write_record(record)
    return run.directory


def config_to_resume(out: Path) -> TrainConfig:
    """Return the settings of the run in ``out``.

    Raises:
        ConfigError: there is no run.
        TrainingError: its ``config.json`` is missing or damaged.
    """
    if not out.is_dir():
        raise ConfigError(f"--resume: {out}: no such run; leave --resume out to start it")
    return RunDirectory(out).config()


def _partition(samples: Samples, config: TrainConfig, progress: TrainingProgress) -> Partition:
    parts = partition(
        samples,
        share=config.validation_share,
        seed=config.seed,
        keep_duplicates=config.keep_duplicates,
    )
    for remark in parts.remarks:
        progress.say(remark)
    progress.say(f"training on {len(parts.training)} rows, validating on {len(parts.validation)}")
    return parts


def _prepared(
    config: TrainConfig, parts: Partition, out: Path, progress: TrainingProgress, *, resume: bool
) -> Run:
    """Build the network and, unless it is there, the run's directory."""
    weights = balanced_class_weights(parts.training) if config.class_weights else None
    batches = TrainingBatches(
        parts.training, config.batch_size, config.seed, config.augmentation, weights
    )
    model = compiled_model(config, len(parts.training.labels), len(batches))
    if resume:
        directory = RunDirectory(out)
        directory.remove_leftovers()
    else:
        directory = create_run(out, config, run_record(config, parts, model.count_params()))
    return Run(directory, config, model, batches, parts.validation, progress)


def run_record(config: TrainConfig, parts: Partition, parameters: int) -> RunRecord:
    """Describe a run that begins now: what ``run.json`` tells of it."""
    rows = parts.training
    return RunRecord(
        run_id=new_run_id(config.architecture),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        edgeemo_version=__version__,
        architecture=config.architecture,
        labels=rows.labels,
        template_id=FER48.template_id,
        parameters=parameters,
        protocol=rows.protocol,
        seed=config.seed,
        data_form=rows.form,
        training_data=rows.fingerprint(),
        validation_data=parts.validation.fingerprint(),
        versions=versions(),
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
                "the run's own --data, --labels and --protocol, or start a new run with another "
                "--out"
            )
    return directory
