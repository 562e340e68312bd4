"""Runs as tables, for the command line."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.runs import RunSummary, comparable, differing_settings, validation_differences


def runs_view(runs: Sequence[RunSummary]) -> RenderableType:
    """Show a line a run."""
    table = Table("run", "network", "epochs", "state")
    for name in ("accuracy", "balanced", "best epoch", "minutes"):
        table.add_column(name, justify="right")
    table.add_column("validated on")
    for run in runs:
        best, record = run.best, run.record
        minutes = sum(row.seconds for row in run.history) / 60
        figures = ("", "", "") if best is None else _figures(run)
        epochs = f"{record.epochs_done}/{record.epochs}"
        table.add_row(
            Text(run.path), record.architecture, epochs, record.state, *figures, f"{minutes:.0f}",
            Text(run.protocol),
        )  # fmt: skip
    return table


def comparison_view(runs: Sequence[RunSummary]) -> RenderableType:
    """Show runs in columns: what came of them, and the settings in which they differ."""
    table = Table("")
    for run in runs:
        table.add_column(Text(run.path), justify="right")
    for name, values in (
        ("accuracy", [_figures(run)[0] for run in runs]),
        ("balanced accuracy", [_figures(run)[1] for run in runs]),
        ("best epoch", [_figures(run)[2] for run in runs]),
        ("parameters", [f"{run.record.parameters:,}" for run in runs]),
        ("multiplications", [f"{run.record.macs / 1e6:.1f} M" for run in runs]),
        ("training rows", [f"{run.record.training_data.rows:,}" for run in runs]),
    ):
        table.add_row(name, *values)
    table.add_section()
    for name, row in differing_settings(runs).items():
        table.add_row(name, *(Text(_shown(value)) for value in row))
    if comparable(runs):
        return Group(table, Text(f"validated on {runs[0].protocol}"))
    lines = [
        f"  {name}: "
        + ", ".join(f"{value} ({run.path})" for value, run in zip(values, runs, strict=True))
        for name, values in validation_differences(runs).items()
    ]
    warning = "NOT COMPARABLE: the runs were not validated on the same samples and answers:"
    return Group(table, Text(warning), *map(Text, lines))


def _figures(run: RunSummary) -> tuple[str, str, str]:
    best = run.best
    if best is None:
        return "", "", ""
    return f"{best.val_accuracy:.2%}", f"{best.val_balanced_accuracy:.2%}", str(best.epoch)


def _shown(value: object) -> str:
    if isinstance(value, list):  # hashes of teachers
        return ", ".join(str(entry)[:8] for entry in value) or "-"
    return "-" if value is None else str(value)
