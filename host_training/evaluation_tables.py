"""An evaluation as rich tables, for the command line."""

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.cross_validation import Figures, FoldReport
from host_training.evaluation import Evaluation
from host_training.metrics import Metrics


def evaluation_view(figures: Evaluation) -> RenderableType:
    """Show all figures with the rows and the protocol that they were measured on."""
    notes = [Text(f"note: {remark}") for remark in figures.remarks]
    return Group(_pairs(figure_lines(figures)), per_class_view(figures), *notes)


def fold_report_view(report: FoldReport) -> RenderableType:
    """Show the pooled figures, their spread over the folds, and what leaks."""
    table = Table("fold", title=f"held-out rows by fold: {report.model}")
    for name in ("accuracy", "balanced accuracy", "macro-F1", "n"):
        table.add_column(name, justify="right")
    for number, fold in enumerate(report.per_fold, 1):
        table.add_row(str(number), *three(fold), str(fold.n))
    table.add_section()
    for name, row in (("mean", report.mean), ("spread (s)", report.spread)):
        table.add_row(name, *three(row))
    return Group(table, evaluation_view(report))


def figure_lines(figures: Evaluation) -> list[tuple[str, str]]:
    """Return what there is to say beside the figures by class, as name and value."""
    low, high = figures.accuracy_interval
    lines = [
        ("protocol", figures.protocol),
        ("split", figures.split),
        ("n", str(figures.n)),
        ("accuracy", f"{figures.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"),
    ]
    if figures.accuracy_interval_by_subject:
        low, high = figures.accuracy_interval_by_subject
        lines.append(("  by subject", f"95 % interval {low:.2%} to {high:.2%} (bootstrap)"))
    lines += [
        ("balanced accuracy", f"{figures.balanced_accuracy:.2%}"),
        ("macro-F1", f"{figures.macro_f1:.4f}"),
        ("calibration error", f"{figures.ece_untempered:.4f} before temperature scaling"),
    ]
    if figures.ece_tempered is not None:
        used = " and ".join(f"{temperature:.3f}" for temperature in figures.temperatures)
        if len(figures.temperatures) > 1:
            used += f" ({figures.temperature:.3f} on all rows)"
        lines.append(("", f"{figures.ece_tempered:.4f} after, at temperature {used}"))
    lines.append(("  temperature fitted on", figures.calibrated_on))
    if figures.own_temperature is not None:
        own = f"{figures.ece:.4f} at the model's own temperature, {figures.own_temperature:.3f}"
        lines.append(("  as it is used", own))
    brier = f"{figures.brier_untempered:.4f} before"
    if figures.brier_tempered is not None:
        brier += f", {figures.brier_tempered:.4f} after"
    return [*lines, ("Brier score", brier)]


CLASS_HEADER: Final = ("emotion", "precision", "recall", "recall, 95 %", "F1", "n")
NOT_APPLICABLE: Final = "n/a"


def class_rows(figures: Metrics) -> list[tuple[str, ...]]:
    """Return a line an emotion, as ``CLASS_HEADER`` names its columns."""
    return [
        (
            label, share_text(row.precision), share_text(row.recall),
            interval_text(row.recall_interval),
            NOT_APPLICABLE if row.f1 is None else f"{row.f1:.3f}", str(row.n),
        )
        for label, row in figures.per_class.items()
    ]  # fmt: skip


def share_text(share: float | None) -> str:
    """Return a share in per cent, or that there is none."""
    return NOT_APPLICABLE if share is None else f"{share:.1%}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Return an interval of a share in per cent, or that there is none."""
    return NOT_APPLICABLE if interval is None else f"{interval[0]:.1%} to {interval[1]:.1%}"


def per_class_view(figures: Metrics) -> Table:
    """Show precision, recall and F1 of each emotion."""
    table = Table(CLASS_HEADER[0])
    for name in CLASS_HEADER[1:]:
        table.add_column(name, justify="right")
    for row in class_rows(figures):
        table.add_row(*row)
    return table


def _pairs(lines: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in lines:
        table.add_row(name, Text(value))
    return table


def three(figures: Metrics | Figures) -> tuple[str, str, str]:
    """Return accuracy, balanced accuracy and macro-F1 as text."""
    return (
        f"{figures.accuracy:.2%}",
        f"{figures.balanced_accuracy:.2%}",
        f"{figures.macro_f1:.4f}",
    )
