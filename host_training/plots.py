"""PNGs of a run. Matplotlib's object interface only: no window system, no global state."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from host_training.atomic import RESUME, write_atomically
from host_training.checkpoint import EpochRow, best_row
from host_training.metrics import Metrics


def learning_curves_png(history: Sequence[EpochRow], path: Path, title: str) -> None:
    """Draw loss and accuracy over the epochs, the chosen epoch marked.

    Raises:
        TrainingError: the disk refuses.
    """
    figure = _figure(10, 4)
    epochs = [row.epoch for row in history]
    best = best_row(tuple(history))
    for place, name in enumerate(("loss", "accuracy"), 1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot(epochs, [getattr(row, name) for row in history], label="training (augmented)")
        axes.plot(epochs, [getattr(row, f"val_{name}") for row in history], label="validation")
        axes.axvline(best.epoch, color="0.6", linestyle=":", label=f"chosen: epoch {best.epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    _save(figure, path)


def confusion_matrix_png(figures: Metrics, path: Path, title: str) -> None:
    """Draw the confusion matrix: colour by share of the true label, numbers are rows.

    Raises:
        TrainingError: the disk refuses.
    """
    counts = np.array(figures.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(7, 6.5)
    axes = figure.add_subplot()
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    names = list(figures.per_class)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=9)
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_title(
        f"{title}\n{figures.split}, {figures.protocol}, n = {figures.n}, "
        f"accuracy {figures.accuracy:.1%}",
        fontsize=10,
    )
    _save(figure, path)


def _figure(width_in: float, height_in: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), layout="constrained")


def _save(figure: Any, path: Path) -> None:
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110), remedy=RESUME)
