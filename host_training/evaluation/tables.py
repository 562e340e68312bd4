"""An evaluation as rich tables, for the command line."""

from typing import Final

import numpy as np
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from host_training.data.corruptions import HELD_OUT, SEVERITIES
from host_training.evaluation.cross_set import CrossSet, comparison
from host_training.evaluation.cross_validation import FoldReport, FoldScores
from host_training.evaluation.evaluate import Evaluation
from host_training.evaluation.robustness import CorruptionFigures
from host_training.metrics.scores import Metrics
from host_training.runs.known_pictures import Seen


def evaluation_view(figures: Evaluation) -> RenderableType:
    """Show all figures with the rows and the protocol that they were measured on."""
    notes = [Text(f"note: {remark}") for remark in figures.remarks]
    worse = [] if figures.corruptions is None else [corruptions_view(figures.corruptions)]
    return Group(_pairs(figure_lines(figures)), per_class_view(figures), *worse, *notes)


def fold_report_view(report: FoldReport) -> RenderableType:
    """Show the pooled figures, their spread over the folds, and what leaks."""
    header, *rows = fold_rows(report)
    table = Table(header[0], title=f"held-out samples by fold: {report.model}")
    for name in header[1:]:
        table.add_column(name, justify="right")
    for place, row in enumerate(rows, 1):
        table.add_row(*row, end_section=place == len(report.per_fold))
    return Group(table, evaluation_view(report))


def fold_rows(report: FoldReport) -> list[tuple[str, ...]]:
    """Return a header, a line a fold, and their mean and spread."""
    return [
        ("fold", "accuracy", "balanced accuracy", "macro-F1", "n"),
        *((str(i), *three(fold), str(fold.n)) for i, fold in enumerate(report.per_fold, 1)),
        ("mean", *three(report.mean), ""),
        ("spread (s)", *three(report.spread), ""),
    ]


def cross_set_view(sets: CrossSet) -> RenderableType:
    """Show several data sets, a column each."""
    header, *lines = comparison(sets)
    table = Table(*header[:1], title="accuracy, balanced accuracy and recall in per cent")
    for name in header[1:]:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    corrupted = [one for one in sets.sets if one.figures.corruptions is not None]
    return Group(
        table,
        *(corruptions_view(one.figures.corruptions, one.name) for one in corrupted),
        *(Text(f"note: {one.name}: {text}") for one in sets.sets for text in one.figures.remarks),
    )


def corruptions_view(figures: CorruptionFigures | None, name: str = "") -> RenderableType:
    """Show accuracy by kind and severity, and the means."""
    if figures is None:
        return Group()
    title = f"{name + ': ' if name else ''}{figures.n} corrupted samples"
    header, *lines = corruption_lines(figures)
    table = Table(
        *header[:1],
        title=title,
        caption=corruptions_key(figures),
        caption_justify="left",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for column in header[1:]:
        table.add_column(column, justify="right")
    for number, line in enumerate(lines):
        table.add_row(*line, end_section=number == len(figures.kinds) - 1)
    return table


def corruptions_key(figures: CorruptionFigures) -> str:
    """Explain the table of corruptions."""
    key = (
        "Accuracy in per cent by severity; its mean, that of the balanced accuracy, what is lost "
        "against clean pictures, and the calibration error. * never trained on."
    )
    shares = {
        (kind, severity): share
        for kind, row in figures.kinds.items()
        for severity, share in zip(SEVERITIES, row.classified, strict=True)
    }
    (kind, severity), least = min(shares.items(), key=lambda item: item[1])
    if least == 1:
        return key
    return (
        f"{key} {np.mean(list(shares.values())):.1%} of the corrupted pictures are classified, the "
        f"others count as wrong; fewest of {kind.replace('_', ' ')} {severity}: {least:.1%}."
    )


def corruption_lines(figures: CorruptionFigures) -> list[tuple[str, ...]]:
    """Return the table of corruptions: a header, a line a kind, and the means."""
    severities = tuple(map(str, SEVERITIES))
    lines = [("kind", *severities, "mean", "balanced", "loss", "ECE")]
    for kind, row in figures.kinds.items():
        mean = float(np.mean(row.accuracy))
        known = [value for value in row.ece if value is not None]
        lines.append(
            (
                kind.replace("_", " ") + (" *" if kind in HELD_OUT else ""),
                *map(_percent, row.accuracy),
                _percent(mean),
                _percent(float(np.mean(row.balanced_accuracy))),
                _percent(figures.clean_accuracy - mean),
                f"{np.mean(known):.3f}" if known else "-",
            )
        )
    empty = ("",) * len(severities)
    clean = _percent(figures.clean_accuracy), _percent(figures.clean_balanced_accuracy)
    lines.append(("clean", *empty, *clean, "", ""))
    for name, group in (
        ("all kinds", figures.all),
        ("trainable", figures.trainable),
        ("held out *", figures.held_out),
    ):
        pair = _percent(group.accuracy), _percent(group.balanced_accuracy)
        ece = "-" if group.ece is None else f"{group.ece:.3f}"
        lines.append((name, *empty, *pair, _percent(group.drop), ece))
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def figure_lines(figures: Evaluation) -> list[tuple[str, str]]:
    """Return what there is to say beside the figures by class, as name and value."""
    low, high = figures.accuracy_interval
    lines = [
        ("protocol", figures.protocol),
        ("split", figures.split),
        ("n", str(figures.n)),
        ("tau", f"{figures.tau:g}"),
        ("accuracy", f"{figures.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%})"),
    ]
    if figures.accuracy_interval_by_subject:
        low, high = figures.accuracy_interval_by_subject
        lines.append(("  by subject", f"95 % interval {low:.2%} to {high:.2%} (bootstrap)"))
    if figures.seen is not None:
        lines += _seen_lines(figures.seen)
    if figures.against is not None:
        said = figures.against.lines
        lines += zip(("against", *[""] * (len(said) - 1)), said, strict=True)
    lines += [
        ("balanced accuracy", f"{figures.balanced_accuracy:.2%}"),
        ("macro-F1", f"{figures.macro_f1:.4f}"),
        ("calibration error", f"{figures.ece_untempered:.4f} before temperature scaling"),
    ]
    if figures.ece_tempered is not None:
        used = " and ".join(f"{temperature:.3f}" for temperature in figures.temperatures)
        if len(figures.temperatures) > 1:
            used += f" ({figures.temperature:.3f} on all samples)"
        lines.append(("", f"{figures.ece_tempered:.4f} after, at temperature {used}"))
    lines.append(("  temperature fitted on", figures.calibrated_on))
    if figures.own_temperature is not None:
        own = f"{figures.ece:.4f} at the model's own temperature, {figures.own_temperature:.3f}"
        lines.append(("  as it is used", own))
    lines.append(("mean confidence", f"{figures.mean_confidence:.4f}"))
    points = ", ".join(
        f"{point.accuracy:.1%} at {point.coverage:.0%}"
        for point in figures.coverage.points
        if point.coverage < 1
    )
    lines.append(("accuracy at coverage", points))
    brier = f"{figures.brier_untempered:.4f} before"
    if figures.brier_tempered is not None:
        brier += f", {figures.brier_tempered:.4f} after"
    return [*lines, ("Brier score", brier), *pipeline_lines(figures)]


def pipeline_lines(figures: Evaluation) -> list[tuple[str, str]]:
    """Return how the samples went through the device's pipeline; nothing where they did not."""
    if (through := figures.pipeline) is None:
        return []
    n, whole = through.all.n, through.all
    low, high = whole.accuracy_interval
    reasons = "".join(
        f", {count} {name.replace('_', ' ')}" for name, count in through.not_classified.items()
    )
    lines = [
        ("pipeline", f"face found in {through.found} of {n}, {through.classified} classified"),
        ("  not classified", f"{n - through.classified}{reasons}"),
        (
            f"  of all {n}",
            f"{whole.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}), "
            f"balanced {whole.balanced_accuracy:.2%}; not classified is wrong",
        ),
    ]
    for name, figure in (
        ("  as 48-pixel pictures", through.raw),
        ("  of them the classified", through.raw_of_classified),
    ):
        if figure is not None:
            told = f"{figure.accuracy:.2%}, balanced {figure.balanced_accuracy:.2%}"
            lines.append((name, told))
    return lines


def _seen_lines(seen: Seen) -> list[tuple[str, str]]:
    new = seen.unseen_figures
    lines = [("seen before", seen.words)]
    if new is not None and seen.unseen < len(seen.samples):
        low, high = new.accuracy_interval
        told = f"{new.accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}), n = {new.n}"
        lines.append(("  on the new ones", f"{told}, balanced {new.balanced_accuracy:.2%}"))
    return lines


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


def three(figures: Metrics | FoldScores) -> tuple[str, str, str]:
    """Return accuracy, balanced accuracy and macro-F1 as text."""
    return (
        f"{figures.accuracy:.2%}",
        f"{figures.balanced_accuracy:.2%}",
        f"{figures.macro_f1:.4f}",
    )
