"""A user can always see where a run is, on a terminal and in a log file."""

import io

from rich.console import Console

from host_training.training.checkpoint import EpochRow
from host_training.training.progress import ConsoleProgress

ROW = EpochRow(
    epoch=2,
    learning_rate=1e-3,
    loss=0.5,
    accuracy=0.75,
    val_loss=0.25,
    val_accuracy=0.875,
    val_balanced_accuracy=0.5,
    seconds=12.4,
)


def shown(*, terminal: bool, line_every_s: float = 30.0) -> str:
    """Return what an epoch of three batches writes."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, color_system=None)
    with ConsoleProgress(console, line_every_s) as progress:
        progress.begin_epoch(2, 7, 3)
        for loss in (0.9, 0.7, 0.5):
            progress.batch(loss)
        progress.end_epoch(ROW, best=True)
    return stream.getvalue()


def test_lines_in_a_file() -> None:
    """Without a terminal there are plain lines only: no control codes, one line an epoch."""
    text = shown(terminal=False)
    assert text == (
        "epoch 2/7  loss 0.5000  accuracy 0.7500  val_loss 0.2500  val_accuracy 0.8750  12 s"
        "  best so far\n"
    )


def test_long_epochs_give_signs_of_life() -> None:
    """Without a terminal a line comes within an epoch, too, when the time for one has passed."""
    lines = shown(terminal=False, line_every_s=0.0).splitlines()
    assert lines[0] == "epoch 2/7  batch 1/3  loss 0.9000"
    assert len(lines) == 4


def test_a_bar_on_a_terminal() -> None:
    """On a terminal a bar shows epoch, batch, loss and the validation accuracy."""
    text = shown(terminal=True)
    for part in ("epoch 2/7", "3/3", "loss 0.5000", "val_accuracy 0.8750", "━"):
        assert part in text
