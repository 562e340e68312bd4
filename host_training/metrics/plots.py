"""Pictures of a run or an evaluation: PNG, SVG or PDF, by the suffix of the file.

Matplotlib's object interface only: no window system, no global state.
"""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.contract.decision import leading
from edge.contract.scores import Reliability
from host_training.atomic import RESUME, write_atomically
from host_training.data.corruptions import HELD_OUT, SEVERITIES
from host_training.evaluation.robustness import CorruptionFigures
from host_training.metrics.coverage import Coverage
from host_training.metrics.predict import Predictions
from host_training.metrics.scores import Metrics, wilson_interval
from host_training.training.checkpoint import EpochRow, best_row

MISTAKES: Final = 40
"""On the sheet of the worst."""

Format = Literal["png", "svg", "pdf"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

_SHEET_COLUMNS: Final = 8
_DPI: Final = 200
_CHARACTER: Final = 0.6
"""Width of one, as a share of its font's size; few are wider."""


def draw_learning_curves(history: Sequence[EpochRow], path: Path, title: str) -> None:
    """Draw loss and accuracy over the epochs, the chosen epoch marked.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = new_figure(10, 4)
    epochs = [row.epoch for row in history]
    best = best_row(tuple(history))
    for place, name in enumerate(("loss", "accuracy"), 1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(epochs, [getattr(row, name) for row in history], label="training (augmented)")
        axes.plot(epochs, [getattr(row, f"val_{name}") for row in history], label="validation")
        axes.axvline(best.epoch, color="0.6", linestyle=":", label=f"chosen: epoch {best.epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend()
    _title(figure, title)
    _save(figure, path)


def draw_compared_curves(histories: Mapping[str, Sequence[EpochRow]], path: Path) -> None:
    """Draw the validation curves of several runs, by name, into one picture.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = new_figure(10, 4.5)
    for place, name in enumerate(("val_loss", "val_accuracy"), 1):
        axes = figure.add_subplot(1, 2, place)
        for label, history in histories.items():
            epochs = [row.epoch for row in history]
            axes.plot(epochs, [getattr(row, name) for row in history], label=label)
        axes.set(xlabel="epoch", ylabel=name.replace("val_", "validation "))
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
    names = [wrapped(figure, label, 8) for label in histories]
    handles = figure.axes[0].get_lines()
    figure.legend(handles, names, loc="outside lower center", fontsize=8, frameon=False)
    _save(figure, path)


def draw_confusion_matrix(figures: Metrics, path: Path, title: str) -> None:
    """Draw the confusion matrix: shares of the true label in %, and the numbers of samples below.

    Raises:
        TrainingError: the disk refuses.
    """
    counts = np.array(figures.confusion)
    sizes = counts.sum(axis=1)
    shares = 100 * counts / np.where(sizes, sizes, np.nan)[:, None]
    names = list(figures.per_class)
    figure = new_figure(8, 7.2)
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=100, cmap="Blues")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("share of the samples with this true label, %")
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), _with_numbers(names, sizes))
    for (row, column), count in np.ndenumerate(counts):
        if not sizes[row]:
            axes.text(column, row, "n/a", ha="center", va="center", color="0.5", fontsize=8)
        elif count:
            _draw_cell(axes, row, column, int(count), float(shares[row, column]))
    axes.set(xlabel="predicted label", ylabel="true label (samples)")
    _title(
        figure,
        f"Confusion matrix: {title}",
        f"{_measured_on(figures)}\nlarge: % of the true label, small: samples",
    )
    _save(figure, path)


def _with_numbers(names: Sequence[str], sizes: NDArray[np.int64]) -> list[str]:
    return [f"{name}\n({size})" for name, size in zip(names, sizes, strict=True)]


def _draw_cell(axes: Any, row: int, column: int, count: int, share: float) -> None:
    color = "white" if share > 55 else "0.1"
    text = f"{share:.0f}" if share >= 0.5 else "<1"
    weight = "bold" if row == column else "normal"
    place = {"ha": "center", "va": "center", "color": color}
    axes.text(column, row - 0.12, text, fontsize=12, fontweight=weight, **place)
    axes.text(column, row + 0.26, str(count), fontsize=7.5, **place)


def draw_reliability(
    panels: Mapping[str, Reliability], figures: Metrics, path: Path, title: str
) -> None:
    """Draw accuracy against confidence, and below it how often each confidence is given.

    Args:
        panels: by what stands above each, such as "before temperature scaling".
        figures: tell which rows these are.
        path: of the picture.
        title: its first line.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = new_figure(4.4 * len(panels) + 0.4, 6.4)
    grid = figure.subplots(
        2, len(panels), sharex=True, sharey="row", height_ratios=(3, 1), squeeze=False
    )
    for (name, bins), upper, lower in zip(panels.items(), *grid, strict=True):
        _draw_reliability(upper, bins)
        upper.set_title(f"{name}\nECE {bins.error:.4f}", fontsize=10)
        edges = np.linspace(0, 1, len(bins.count) + 1)
        share = 100 * bins.count / bins.count.sum()
        lower.bar(edges[:-1], share, width=np.diff(edges), align="edge", color="0.6", ec="white")
        lower.set(xlabel="confidence", xlim=(0, 1))
        lower.grid(axis="y", alpha=0.3)
        lower.set_axisbelow(True)
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("% of the samples")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    columns = 1 + len(panels)
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False
    )
    _title(figure, title, _measured_on(figures))
    _save(figure, path)


def _draw_reliability(axes: Any, bins: Reliability) -> None:
    held = bins.count > 0
    count, confidence, accuracy = bins.count[held], bins.confidence[held], bins.accuracy[held]
    width = 1 / len(bins.count)
    left = np.flatnonzero(held) * width
    bars = {"width": width, "align": "edge", "ec": "white"}
    axes.bar(left, accuracy, color="#7aa6d6", label="accuracy", **bars)
    for label, color, gap in (
        ("confidence too high", "#e07a5f", np.maximum(confidence - accuracy, 0)),
        ("confidence too low", "#f2c14e", np.minimum(confidence - accuracy, 0)),
    ):
        axes.bar(left, gap, bottom=accuracy, color=color, label=label, **bars)
    right = np.rint(accuracy * count).astype(int)
    limits = np.array([wilson_interval(int(r), int(n)) for r, n in zip(right, count, strict=True)])
    error = np.maximum(np.abs(limits.T - accuracy), 0)
    axes.errorbar(
        left + width / 2, accuracy, error, fmt=".", color="0.15", elinewidth=0.9, capsize=2,
        markersize=3, label="accuracy, 95 % interval",
    )  # fmt: skip
    axes.plot((0, 1), (0, 1), color="0.3", linestyle="--", lw=1, label="calibrated")
    axes.set(ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)


def draw_worst_mistakes(answers: Predictions, path: Path, title: str) -> int:
    """Draw the wrong answers that the model is surest of, as many as ``MISTAKES`` at most.

    Returns:
        How many there are in the picture; none is drawn for no mistake.

    Raises:
        TrainingError: the disk refuses.
    """
    wrong = worst_mistakes(answers)
    chosen = wrong[:MISTAKES]
    if not len(chosen):
        return 0
    columns = min(_SHEET_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(max(1.36 * columns, 5), 1.66 * rows + 0.7)
    for place, row in enumerate(chosen, 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(answers.rows.images[row], cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        scores, true = answers.probabilities[row], answers.labels[answers.right[row]]
        given = answers.labels[leading(scores)]
        axes.set_title(f"true: {true}\n{given} {scores.max():.3f}", fontsize=8, pad=3)
    _title(
        figure,
        f"{title}: the {len(chosen)} most confident of {len(wrong)} wrong answers",
        "true label, then the answer and its confidence before temperature scaling",
    )
    _save(figure, path)
    return len(chosen)


def worst_mistakes(answers: Predictions) -> NDArray[np.int64]:
    """Return the places of all wrong answers, the surest first.

    Of equals, as int8 has many, the one that leaves least to the truth is first.
    """
    places = np.arange(len(answers.right))
    sure = answers.probabilities.max(axis=1)
    truth = answers.probabilities[places, answers.right]
    order = np.lexsort((truth, -sure))
    wrong = leading(answers.probabilities) != answers.right
    return np.asarray(order[wrong[order]], np.int64)


def draw_coverage(
    accuracy: NDArray[np.float64], figures: Metrics, coverage: Coverage, path: Path, title: str
) -> None:
    """Draw accuracy against the share of the samples that is answered, the surest first.

    Args:
        accuracy: ``(n,)`` of the surest 1, 2, ... n answers.
        figures: tell which rows these are.
        coverage: the points to mark.
        path: of the picture.
        title: its first line.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = new_figure(6.4, 4.4)
    axes = figure.add_subplot()
    share = np.arange(1, len(accuracy) + 1) / len(accuracy)
    axes.plot(100 * share, 100 * accuracy, color="#7aa6d6")
    for number, point in enumerate(coverage.points):
        axes.plot(
            100 * point.coverage, 100 * point.accuracy, "o", color=f"C{number}", label=(
                f"{point.coverage:.0%} answered: {point.accuracy:.1%}, "
                f"confidence {point.confidence:.2f} and up"
            ),
        )  # fmt: skip
    low = max(0.0, 100 * float(accuracy[len(accuracy) // 20 :].min()) - 8)
    axes.set(xlabel="samples answered, %", ylabel="accuracy of the answers, %", ylim=(low, 104))
    axes.set_xlim(0, 103)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    _title(figure, f"{title}: the most confident answers alone", _measured_on(figures))
    _save(figure, path)


def draw_corruptions(figures: CorruptionFigures, path: Path, title: str) -> None:
    """Draw accuracy against severity, a line a kind; kinds that training never uses are dashed.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = new_figure(7.6, 5)
    axes = figure.add_subplot()
    severities = (0, *SEVERITIES)
    for number, (kind, row) in enumerate(figures.kinds.items()):
        style = {
            "color": f"C{number}",
            "marker": ".",
            "linestyle": "--" if kind in HELD_OUT else "-",
        }
        values = [100 * figures.clean_accuracy, *(100 * value for value in row.accuracy)]
        axes.plot(severities, values, label=kind.replace("_", " "), **style)
    mean = np.mean([row.accuracy for row in figures.kinds.values()], axis=0)
    values = [100 * figures.clean_accuracy, *(100 * mean)]
    axes.plot(severities, values, color="0.1", linewidth=2.5, label="mean")
    axes.set_xticks(severities, ["clean", *map(str, SEVERITIES)])
    axes.set(xlabel="severity", ylabel="accuracy, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="dashed: held out of training", title_fontsize=8, ncols=2)
    _title(
        figure,
        f"{title}: {figures.n} corrupted samples, mean accuracy {figures.all.accuracy:.1%}, "
        f"clean {figures.clean_accuracy:.1%}",
    )
    _save(figure, path)


def _measured_on(figures: Metrics) -> str:
    return (
        f"{figures.split}, protocol {figures.protocol}, n = {figures.n}, "
        f"accuracy {figures.accuracy:.1%}"
    )


def new_figure(width_in: float, height_in: float) -> Any:
    """Return an empty figure, drawn without a display."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def _title(figure: Any, title: str, *more: str, size: float = 10) -> None:
    """Set a title, and what belongs to it, in lines that the figure is wide enough for."""
    lines = [line for text in (title, *more) for line in text.split("\n")]
    figure.suptitle("\n".join(wrapped(figure, line, size) for line in lines), fontsize=size)


def wrapped(figure: Any, text: str, size: float) -> str:
    """Break a text into lines that fit into the figure; names may be longer than any line."""
    width = int(figure.get_figwidth() * 72 / (size * _CHARACTER)) - 2
    return textwrap.fill(text, width, break_on_hyphens=False)


def _save(figure: Any, path: Path) -> None:
    import matplotlib as mpl

    kind = path.suffix[1:].lower()
    # No dates, so that the same figures give the same bytes; letters stay letters in a PDF.
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    settings = {"svg.hashsalt": "edgeemo", "pdf.fonttype": 42}
    with mpl.rc_context(settings):
        write_atomically(
            path,
            lambda file: figure.savefig(file, format=kind, dpi=_DPI, metadata=dates.get(kind)),
            remedy=RESUME,
        )
