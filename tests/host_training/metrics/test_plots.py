"""Pictures for reports and papers: whole, readable, and in the form that was asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.contract.labels import EMOTIONS
from edge.contract.scores import reliability
from host_training.data.load import one_hot
from host_training.data.samples import Samples
from host_training.metrics import plots
from host_training.metrics.coverage import coverage_curve, risk_coverage
from host_training.metrics.predict import Predictions
from host_training.metrics.scores import metrics
from host_training.training.checkpoint import EpochRow

LONG = "a-run-with-a-name-that-says-everything-of-what-it-was-made-from-" * 2

Draw = Callable[[str, Path], object]


def answers(n: int = 90) -> Predictions:
    generator = np.random.default_rng(0)
    class_ids = np.arange(n) % 7  # contempt has no sample
    scores = generator.dirichlet(np.full(8, 0.4), n).astype(np.float32) + 0.4 * one_hot(
        class_ids, 8
    )
    rows = Samples(
        images=generator.integers(0, 256, (n, 48, 48), np.uint8),
        targets=one_hot(class_ids, 8),
        labels=EMOTIONS,
        class_ids=class_ids,
        split=np.full(n, "Training, 10 folds by random, LEAKING"),
        name="made",
        form="made",
        protocol="majority",
    )
    return Predictions(rows, EMOTIONS, scores / scores.sum(axis=1, keepdims=True), class_ids)


def history(n: int) -> list[EpochRow]:
    return [
        EpochRow(epoch=i, learning_rate=1, loss=1 / i, accuracy=0.5, val_loss=1, val_accuracy=0.5,
                 val_balanced_accuracy=0.4, seconds=1)
        for i in range(1, n + 1)
    ]  # fmt: skip


def drawings() -> dict[str, Draw]:
    given = answers()
    scores, right = given.probabilities, given.right
    split = given.rows.splits[0]
    figures = metrics(scores, right, EMOTIONS, protocol="majority", split=split)
    bins = reliability(scores, right)
    sure = scores.max(axis=1)
    curve, _ = coverage_curve(sure, given.are_right)
    few = given.where(plots.worst_mistakes(given)[0] == np.arange(90))
    return {
        "confusion": lambda name, path: plots.draw_confusion_matrix(figures, path, name),
        "one panel": lambda name, path: plots.draw_reliability(
            {"before temperature scaling": bins}, figures, path, name
        ),
        "two panels": lambda name, path: plots.draw_reliability(
            {"before": bins, "after, at temperature 0.64 and 0.65": bins}, figures, path, name
        ),
        "mistakes": lambda name, path: plots.draw_worst_mistakes(given, path, name),
        "one mistake": lambda name, path: plots.draw_worst_mistakes(few, path, name),
        "curves": lambda name, path: plots.draw_learning_curves(history(9), path, name),
        "coverage": lambda name, path: plots.draw_coverage(
            curve, figures, risk_coverage(sure, given.are_right), path, name
        ),
        "compared": lambda name, path: plots.draw_compared_curves(
            {f"runs/{name}{i}": history(9) for i in range(6)}, path
        ),
    }


DRAWINGS = drawings()


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn."""
    drawn, make = [], plots.new_figure

    def remembered(width_in: float, height_in: float) -> Any:
        drawn.append(make(width_in, height_in))
        return drawn[-1]

    monkeypatch.setattr(plots, "new_figure", remembered)
    return drawn


@pytest.mark.parametrize("name", ["fer7", LONG])
@pytest.mark.parametrize("drawing", DRAWINGS)
def test_no_label_is_cut_off(tmp_path: Path, figures: list[Any], drawing: str, name: str) -> None:
    """Every text lies whole within the picture, however long the names are."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    DRAWINGS[drawing](name, tmp_path / "a.png")
    (figure,) = figures
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box, (width, height) = figure.get_tightbbox(canvas.get_renderer()), figure.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


@pytest.mark.parametrize("kind", plots.FORMATS)
@pytest.mark.parametrize("drawing", ["confusion", "two panels"])
def test_each_form_is_what_it_is_called(tmp_path: Path, drawing: str, kind: str) -> None:
    """PNG, SVG and PDF by the suffix; the same figures give the same bytes."""
    files = [tmp_path / f"{i}.{kind}" for i in range(2)]
    for file in files:
        DRAWINGS[drawing]("name", file)
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind]
    first, second = (file.read_bytes() for file in files)
    assert first.startswith(start)
    assert first == second


def test_the_confusion_matrix_says_what_it_shows(tmp_path: Path, figures: list[Any]) -> None:
    """It has a title, a colour bar with its unit, and n/a where an emotion has no sample."""
    from matplotlib.text import Text

    DRAWINGS["confusion"]("fer7", tmp_path / "a.png")
    texts = [text.get_text() for text in figures[0].findobj(Text)]
    assert any(text.startswith("Confusion matrix: fer7\n") for text in texts)
    assert "share of the samples with this true label, %" in texts
    assert texts.count("n/a") == 8
    assert "contempt\n(0)" in texts


@pytest.mark.parametrize("drawing", ["coverage", "compared", "confusion", "two panels"])
def test_no_legend_covers_what_is_drawn(tmp_path: Path, figures: list[Any], drawing: str) -> None:
    """A legend lies outside of the axes: data may be anywhere within."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.legend import Legend

    DRAWINGS[drawing]("fer7", tmp_path / "a.png")
    renderer = FigureCanvasAgg(figures[0]).get_renderer()
    figures[0].draw(renderer)
    for legend in figures[0].findobj(Legend):
        box = legend.get_window_extent(renderer)
        assert not any(box.overlaps(axes.get_window_extent(renderer)) for axes in figures[0].axes)


@pytest.mark.parametrize("epochs", [1, 2, 9])
def test_epochs_are_whole(tmp_path: Path, figures: list[Any], epochs: int) -> None:
    """There is no epoch 1.2."""
    plots.draw_learning_curves(history(epochs), tmp_path / "a.png", "fer7")
    plots.draw_compared_curves({"a": history(epochs)}, tmp_path / "b.png")
    for axes in (axes for figure in figures for axes in figure.axes):
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
