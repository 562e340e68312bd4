"""Runs as tables, for the command line."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.runs.registry import (
    RunSummary,
    comparable,
    differing_settings,
    validation_differences,
)


def runs_view(runs: Sequence[RunSummary], folder: Path) -> RenderableType:
    """Show a line a run, under what it was validated on: only those can be compared.

    Args:
        runs: as ``find_runs`` gives them.
        folder: where they are; their names are shown relative to it.
    """
    groups: dict[tuple[str, str], list[RunSummary]] = {}
    for run in runs:
        key = run.protocol, run.record.validation_data.fingerprint
        groups.setdefault(key, []).append(run)
    told = [protocol for protocol, _ in groups]
    parts: list[RenderableType] = []
    for (protocol, fingerprint), members in groups.items():
        which = f", samples {fingerprint[:8]}" if told.count(protocol) > 1 else ""
        heading = Text(f"validated on {protocol}{which}", style="bold")
        parts += [*([""] if parts else []), heading, _table(members, folder)]
    return Group(*parts)


def _table(runs: Sequence[RunSummary], folder: Path) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("run", overflow="fold")
    for name in ("network", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("epochs", "best", "accuracy", "balanced", "minutes"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in runs:
        record, (accuracy, balanced, best) = run.record, _figures(run)
        minutes = sum(row.seconds for row in run.history) / 60
        table.add_row(
            Text(str(Path(run.path).relative_to(folder))), record.architecture, record.state,
            f"{record.epochs_done}/{record.epochs}", best, accuracy, balanced, f"{minutes:.0f}",
        )  # fmt: skip
    return table


def comparison_view(runs: Sequence[RunSummary]) -> RenderableType:
    """Show runs in columns: what came of them, the settings that differ, and McNemar's tests."""
    table = Table("")
    for run in runs:
        table.add_column(Text(run.path), justify="right")
    for name, values in (
        ("accuracy", [_figures(run)[0] for run in runs]),
        ("balanced accuracy", [_figures(run)[1] for run in runs]),
        ("best epoch", [_figures(run)[2] for run in runs]),
        ("parameters", [f"{run.record.parameters:,}" for run in runs]),
        ("multiplications", [f"{run.record.macs / 1e6:.1f} M" for run in runs]),
        ("training samples", [f"{run.record.training_data.rows:,}" for run in runs]),
    ):
        table.add_row(name, *values)
    table.add_section()
    for name, row in differing_settings(runs).items():
        table.add_row(name, *(Text(_shown(value)) for value in row))
    told = [Text(line) for line in _test_lines(runs)]
    if comparable(runs):
        return Group(table, Text(f"validated on {runs[0].protocol}"), *told)
    lines = [
        f"  {name}: "
        + ", ".join(f"{value} ({run.path})" for value, run in zip(values, runs, strict=True))
        for name, values in validation_differences(runs).items()
    ]
    warning = "NOT COMPARABLE: the runs were not validated on the same samples and answers:"
    return Group(table, Text(warning), *map(Text, lines), *told)


def _test_lines(runs: Sequence[RunSummary]) -> Iterator[str]:
    first, *others = runs
    for run in others:
        if run.against_first is not None:
            yield f"{first.path} against {'; '.join(run.against_first.lines)}"
        elif comparable((first, run)):
            yield (
                f"{first.path} against {run.path}: not tested, for one kept no answers; `edgeemo "
                "train --resume` makes them, `edgeemo evaluate --against` asks both anew"
            )


def _figures(run: RunSummary) -> tuple[str, str, str]:
    best = run.best
    if best is None:
        return "", "", ""
    return f"{best.val_accuracy:.2%}", f"{best.val_balanced_accuracy:.2%}", str(best.epoch)


def _shown(value: object) -> str:
    if isinstance(value, list):  # hashes of teachers
        return ", ".join(str(entry)[:8] for entry in value) or "-"
    return "-" if value is None else str(value)
