"""Results as rich tables, for the command line."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.data.audit import Audit
from host_training.metrics import Metrics


def metrics_view(figures: Metrics) -> RenderableType:
    """Show figures with the rows and the protocol that they were measured on."""
    low, high = figures.accuracy_interval
    summary = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in (
        ("protocol", figures.protocol),
        ("split", figures.split),
        ("n", str(figures.n)),
        ("accuracy", f"{figures.accuracy:.2%}  (95 % interval {low:.2%} to {high:.2%})"),
        ("balanced accuracy", f"{figures.balanced_accuracy:.2%}"),
        ("macro-F1", f"{figures.macro_f1:.4f}"),
        ("calibration error", f"{figures.ece:.4f}"),
    ):
        summary.add_row(name, value)
    table = Table("emotion")
    for name in ("precision", "recall", "F1", "n"):
        table.add_column(name, justify="right")
    for label, row in figures.per_class.items():
        table.add_row(
            label, f"{row.precision:.1%}", f"{row.recall:.1%}", f"{row.f1:.3f}", str(row.n)
        )
    return Group(summary, table)


def audit_view(audit: Audit) -> RenderableType:
    """Show counts, duplicates, subjects and agreement."""
    table = Table("rows", title=f"protocol {audit.protocol}")
    for name in audit.splits:
        table.add_column(name, justify="right")
    splits = list(audit.splits.values())
    for label in audit.labels:
        table.add_row(label, *(str(split.per_class[label]) for split in splits))
    table.add_section()
    table.add_row("measurable", *(str(split.measurable) for split in splits))
    table.add_row("trainable", *(str(split.trainable) for split in splits))
    table.add_row("all", *(str(split.rows) for split in splits))
    return Group(table, *(Text(line) for line in audit_lines(audit)))


def audit_lines(audit: Audit) -> list[str]:
    """Say in words what the table of counts does not show; what leaks is called so."""
    twins = audit.duplicates
    lines = [
        f"exact duplicates: {twins.groups} pictures occur more than once ({twins.rows} rows); "
        f"{twins.groups_disagreeing} of them with different answers"
    ]
    lines += [f"  within {name}: {n}" for name, n in twins.groups_within.items() if n]
    lines += [f"  LEAK: in both {pair}: {n}" for pair, n in twins.groups_across.items() if n]
    if subjects := audit.subjects:
        lines.append(
            f"subjects: {subjects.subjects}, {subjects.fewest_rows} to {subjects.most_rows} rows "
            "each: a split must be disjoint by subject"
        )
        if subjects.across_splits:
            lines.append(f"  LEAK: {subjects.across_splits} subjects are in more than one split")
    if votes := audit.votes:
        per_class = ", ".join(f"{k} {v:.2f}" for k, v in votes.mean_entropy_bits_per_class.items())
        lines.append(
            f"votes: unanimous in {votes.unanimous:.1%} of the trainable rows, mean entropy "
            f"{votes.mean_entropy_bits:.2f} bits ({per_class})"
        )
    return lines
