"""A parity report on a console."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from converters.parity.check import ParityReport
from converters.parity.gate import told_of
from converters.parity.paired_tests import Interval

NOT_APPLICABLE: Final = "n/a"
_OVERALL: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro-F1",
}
"""How the figures are called that hold for all emotions together."""


class Change(NamedTuple):
    """A figure before and after the conversion, and the 95 % interval of the difference."""

    name: str
    before: float
    after: float
    interval: Interval | None


def parity_view(report: ParityReport, *, gate: bool = True) -> RenderableType:
    """Lay a report out for a console; without one, rich prints it as plain text.

    Args:
        report: of a conversion.
        gate: whether to say what the gate says.
    """
    table = Table("figure", "Keras", report.quantization, "change", "95 % interval")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in _rows(report):
        table.add_row(*row)
    # Text, for names may hold brackets, which rich would take for markup.
    rows = f"{report.dataset.rows:,} samples of {report.dataset.name} {report.dataset.split}"
    return Group(
        Text(f"Parity on all {rows}, protocol {report.protocol}, {report.runtime}"),
        table,
        *(Text(line) for line in _lines(report)),
        *([Text(f"gate {gate_words(report)}")] if gate else ()),
    )


def gate_words(report: ParityReport, how: str = "") -> str:
    """Say whether the gate was met, and what was measured at each of its limits.

    Args:
        report: of the conversion.
        how: what else is to be said of a gate that was not met.
    """
    state = gate_state(report)
    if how and not report.passed:
        state += f": {how}"
    return "; ".join((state, *_limits(report)))


def gate_state(report: ParityReport) -> str:
    """Say in a word or two whether the gate was met."""
    if not report.passed:
        return "NOT met"
    unsure = any(verdict.outcome == "undecided" for verdict in report.verdicts)
    return "met, with a warning" if unsure else "met"


def _limits(report: ParityReport) -> list[str]:
    if report.verdicts:
        return [verdict.words for verdict in report.verdicts]
    # An older report's, which took both figures at their word.
    comparison, gate = report.comparison, report.gate
    return [
        told_of("accuracy", comparison.drop, gate.max_drop),
        told_of("agreement", comparison.agreement, gate.min_agreement),
    ]


def overall_changes(report: ParityReport) -> list[Change]:
    """Return accuracy, balanced accuracy and macro-F1."""
    comparison = report.comparison
    return [
        Change(
            name,
            getattr(comparison.keras, field),
            getattr(comparison.tflite, field),
            None if comparison.intervals is None else getattr(comparison.intervals, field),
        )
        for field, name in _OVERALL.items()
    ]


def recall_changes(report: ParityReport) -> list[Change]:
    """Return the recalls, named by emotion and, where it is known, how many rows it has."""
    comparison = report.comparison
    return [
        Change(
            f"{label} ({comparison.rows[label]:,})" if comparison.rows else label,
            comparison.keras.recall[label],
            recall,
            None if comparison.intervals is None else comparison.intervals.recall[label],
        )
        for label, recall in comparison.tflite.recall.items()
    ]


def _rows(report: ParityReport) -> Iterator[tuple[str, ...]]:
    for name, before, after, interval in overall_changes(report):
        if name == "macro-F1":
            change = f"{after - before:+.3f}"
            yield name, f"{before:.3f}", f"{after:.3f}", change, _range(interval, 1, 3)
        else:
            change = f"{(after - before) * 100:+.2f}"
            yield name, f"{before:.2%}", f"{after:.2%}", change, _range(interval)
    keras, tflite = report.comparison.keras.ece, report.comparison.tflite.ece
    if keras is not None and tflite is not None:
        yield "calibration error", f"{keras:.4f}", f"{tflite:.4f}", f"{tflite - keras:+.4f}", ""
    for name, before, after, interval in recall_changes(report):
        change = f"{(after - before) * 100:+.2f}"
        yield f"recall {name}", f"{before:.1%}", f"{after:.1%}", change, _range(interval)
    for label, n in report.comparison.rows.items():
        if not n:
            yield f"recall {label} (0)", *(NOT_APPLICABLE,) * 4


def _lines(report: ParityReport) -> Iterator[str]:
    comparison, latency = report.comparison, report.latency
    intervals = comparison.intervals
    within = "" if intervals is None else f" ({_shares(intervals.agreement)})"
    yield (
        f"same answer on {comparison.agreement:.2%}{within}; only Keras right "
        f"{comparison.only_keras_right}, only {report.quantization} right "
        f"{comparison.only_tflite_right}, McNemar's exact p = {comparison.mcnemar_p:.3g}, two-sided"
    )
    yield (
        f"probabilities differ by {comparison.mean_difference:.4f} on average, "
        f"{comparison.max_difference:.3f} at most"
    )
    if report.recipe is not None:
        kept = ", ".join(report.kept_float)
        yield f"recipe {report.recipe}{', in float: ' if kept else ''}{kept}"
    if (seen := report.seen) is not None:
        new = ""
        if report.unseen is not None and seen.unseen < report.dataset.rows:
            keras, tflite = report.unseen
            new = f": accuracy {keras:.2%} Keras, {tflite:.2%} {report.quantization}"
        yield f"{seen.words}{new}"
    yield _cost(report)
    if latency is not None:
        low, high = latency.ratio_interval
        yield (
            f"one thread, this machine: {latency.median_ms:.3g} ms, the float file "
            f"{latency.float_median_ms:.3g} ms: {latency.ratio:.2f} of it ({low:.2f} to {high:.2f})"
        )
    if (kernels := report.kernels) is not None:
        yield (
            f"on tflite-runtime's kernels: up to {kernels.steps:g} steps apart, same "
            f"answer on {kernels.same_answers} of {kernels.probes} probes"
        )
    if (decision := report.decision) is not None:
        yield f"all figures at tau {decision.tau:g} and temperature {decision.temperature:g}"


def _cost(report: ParityReport) -> str:
    size = f"{report.size_bytes:,} bytes"
    if report.float_size_bytes is not None:
        share = report.size_bytes / report.float_size_bytes
        size += f" ({share:.2f} of the float file's {report.float_size_bytes:,})"
    macs = "" if report.macs is None else f", {report.macs / 1e6:,.2f} million multiplications"
    return f"{size}, {report.parameters:,} parameters{macs}"


def _range(interval: Interval | None, factor: int = 100, digits: int = 2) -> str:
    if interval is None:
        return ""
    low, high = (f"{value * factor:+.{digits}f}" for value in interval)
    return f"{low} to {high}"


def _shares(interval: Interval) -> str:
    return f"{interval[0]:.2%} to {interval[1]:.2%}"
