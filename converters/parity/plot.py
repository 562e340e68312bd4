"""A parity report as a picture. Matplotlib's object interface only: no window, no global state."""

import io
from typing import Any, Final

from converters.errors import ConversionError
from converters.parity.check import ParityReport
from converters.parity.view import NOT_APPLICABLE, gate_state, overall_changes, recall_changes
from edge.errors import MissingExtraError
from host_training.metrics.plots import wrapped

_DPI: Final = 160
_TITLE_SIZE: Final = 11
_BEFORE, _AFTER, _LIMIT = "0.7", "#7aa6d6", "#e07a5f"


def parity_png(report: ParityReport) -> bytes:
    """Draw recalls before and after, what changed and how surely, and how far outputs moved.

    Returns:
        The content of a ``.png`` file.

    Raises:
        ConversionError: the report is of the first schema, which knows no intervals.
        MissingExtraError: matplotlib is not installed.
    """
    if report.comparison.intervals is None:
        raise ConversionError(
            "the parity report is an older edgeemo's, without intervals; convert the model again"
        )
    figure = _figure()
    recalls, changes, differences = figure.subplots(1, 3, width_ratios=(3, 3, 2))
    _draw_recalls(recalls, report)
    _draw_changes(changes, report)
    _draw_differences(differences, report)
    dataset, gate = report.dataset, gate_state(report)
    title = (
        f"{report.quantization} against Keras float, all {dataset.rows:,} samples of "
        f"{dataset.name} {dataset.split}, {report.runtime}: gate {gate}"
    )
    figure.suptitle(wrapped(figure, title, _TITLE_SIZE), fontsize=_TITLE_SIZE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _draw_recalls(axes: Any, report: ParityReport) -> None:
    changes = recall_changes(report)
    for shift, name, color, recalls in (
        (-0.2, "Keras float", _BEFORE, [change.before for change in changes]),
        (0.2, report.quantization, _AFTER, [change.after for change in changes]),
    ):
        places = [place + shift for place in range(len(changes))]
        axes.barh(places, [100 * recall for recall in recalls], 0.4, color=color, label=name)
    absent = [f"{label} (0)" for label, n in report.comparison.rows.items() if not n]
    for place in range(len(changes), len(changes) + len(absent)):
        axes.text(1, place, NOT_APPLICABLE, va="center", fontsize=8)
    names = [change.name for change in changes] + absent
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set(xlabel="recall, % (samples in brackets)", xlim=(0, 100))
    axes.legend(fontsize=8, loc="lower right")


def _draw_changes(axes: Any, report: ParityReport) -> None:
    changes = [*overall_changes(report), *recall_changes(report)]
    for place, (_, before, after, interval) in enumerate(changes):
        low, high = interval or (after - before, after - before)
        axes.plot((100 * low, 100 * high), (place, place), color="0.4", lw=1.5)
        axes.plot(100 * (after - before), place, "o", color=_AFTER, mec="0.2", ms=5)
    axes.axvline(0, color="0.2", lw=1)
    limits = (report.gate.max_drop, report.gate.max_balanced_drop if report.verdicts else None)
    for place, limit in enumerate(limits):
        if limit is not None:
            axes.plot((-100 * limit,) * 2, (place - 0.4, place + 0.4), color=_LIMIT, lw=2)
    axes.plot([], [], color=_LIMIT, lw=2, label="gate")
    axes.set_yticks(range(len(changes)), [change.name for change in changes])
    axes.invert_yaxis()
    axes.set(xlabel=f"{report.quantization} less float, points, 95 %")
    axes.legend(fontsize=8, loc="upper left")


def _draw_differences(axes: Any, report: ParityReport) -> None:
    quantiles = report.comparison.difference_quantiles
    names = [f"{100 * float(share):g} %" for share in quantiles] + ["all"]
    values = [*quantiles.values(), report.comparison.max_difference]
    bars = axes.bar(names, values, color=_AFTER)
    axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set(ylim=(0, max(1e-3, *values) * 1.1), xlabel="of the samples differ by no more than")
    axes.set_ylabel("largest difference of a sample's probabilities")
    axes.tick_params(axis="x", labelsize=8)


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            f"matplotlib cannot be imported ({error}); `pip install 'edgeemo[host]'`"
        ) from error
    return Figure(figsize=(13, 4.6), layout="constrained")
