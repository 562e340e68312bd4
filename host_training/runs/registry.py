"""Runs side by side: what they were asked to do, and what came of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import ConfigError, EdgeEmoError
from host_training.config import TrainConfig
from host_training.metrics.paired import Paired, paired
from host_training.runs.directory import RUN, RunDirectory, RunRecord
from host_training.training.checkpoint import EpochRow, best_row


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        path: its directory, as given or found.
        record: its ``run.json``.
        config: its settings.
        history: its epochs; empty before the first one is done.
        against_first: the first of the compared runs held against it, see ``held_against_first``.
    """

    path: str
    record: RunRecord
    config: TrainConfig
    history: tuple[EpochRow, ...]
    against_first: Paired | None = None

    @property
    def best(self) -> EpochRow | None:
        """The epoch whose weights are kept."""
        return best_row(self.history) if self.history else None

    @property
    def protocol(self) -> str:
        """What its validation figures were measured on."""
        rows = self.record.validation_data
        return f"{rows.name} {rows.split}, {self.record.protocol}, n = {rows.rows}"


def find_runs(folder: Path) -> tuple[tuple[RunSummary, ...], tuple[str, ...]]:
    """Find the runs below a folder, two levels deep.

    Returns:
        The runs, the oldest first, and a line for each that could not be read.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder; expected one with run directories in it")
    runs, remarks = [], []
    files = (file for depth in ("*", "*/*") for file in folder.glob(f"{depth}/{RUN}"))
    for file in sorted(files):
        try:
            runs.append(read_run(file.parent))
        except EdgeEmoError as error:
            remarks.append(str(error))
    return tuple(sorted(runs, key=lambda run: run.record.created_at)), tuple(remarks)


def read_run(path: Path) -> RunSummary:
    """Read a run directory.

    Raises:
        ConfigError: there is no run.
        TrainingError: it is damaged.
    """
    if not (path / RUN).is_file():
        what = "no run directory" if path.exists() else "no such folder"
        raise ConfigError(f"{path}: {what} (no {RUN}); `edgeemo runs list FOLDER` shows the runs")
    directory = RunDirectory(path)
    record = directory.record()
    history = directory.history() if record.epochs_done else ()
    return RunSummary(path=str(path), record=record, config=directory.config(), history=history)


def differing_settings(runs: Sequence[RunSummary]) -> dict[str, tuple[Any, ...]]:
    """Return the settings, by name, that are not the same in all runs; one value a run."""
    tables = [_flat(run.config) for run in runs]
    names = dict.fromkeys(name for table in tables for name in table)
    values = {name: tuple(table.get(name) for table in tables) for name in names}
    return {name: row for name, row in values.items() if any(value != row[0] for value in row)}


def comparable(runs: Sequence[RunSummary]) -> bool:
    """Tell whether the runs were validated on the very same rows under the same protocol."""
    return len({(run.record.validation_data.fingerprint, run.record.protocol) for run in runs}) < 2


def held_against_first(runs: Sequence[RunSummary]) -> tuple[RunSummary, ...]:
    """Hold the first run against each other one, on the validation rows that both have answered.

    Returns:
        The runs with the outcomes; None where the two were validated on other rows, or one of them
        kept no answers (older versions; `edgeemo train --resume` makes them).

    Raises:
        TrainingError: the answers of a run are damaged.
    """
    first, *others = runs
    ours = RunDirectory(Path(first.path)).answers()
    tested = []
    for run in others:
        theirs, outcome = RunDirectory(Path(run.path)).answers(), None
        if ours is not None and theirs is not None and comparable((first, run)):
            outcome = paired(ours, theirs, run.path)
        tested.append(msgspec.structs.replace(run, against_first=outcome))
    return first, *tested


def validation_differences(runs: Sequence[RunSummary]) -> dict[str, tuple[str, ...]]:
    """Return what is not the same about the samples that the runs were validated on.

    Returns:
        By what it is, one text a run; empty for runs that are ``comparable``.
    """
    facts: dict[str, tuple[str, ...]] = {
        "data set": tuple(run.record.validation_data.name for run in runs),
        "split": tuple(run.record.validation_data.split for run in runs),
        "protocol": tuple(run.record.protocol for run in runs),
        "labels": tuple(", ".join(run.record.labels) for run in runs),
        "samples": tuple(f"{run.record.validation_data.rows:,}" for run in runs),
        "fingerprint": tuple(run.record.validation_data.fingerprint[:12] for run in runs),
    }
    if comparable(runs):
        return {}
    return {name: values for name, values in facts.items() if len(set(values)) > 1}


def _flat(config: TrainConfig) -> dict[str, Any]:
    settings: dict[str, Any] = msgspec.to_builtins(config)
    views: dict[str, Any] = settings.pop("augmentation")
    return settings | views
