"""`edgeemo train`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import Annotated

import typer

from edge.cli_options import Data, Labels, Protocol, console, load_data


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(train)


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    labels: Labels = None,
    protocol: Protocol = None,
    arch: Annotated[str | None, typer.Option(help="The network; compact by default.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out at its last epoch.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the rows.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Its peak.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decoupled, on kernels.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and views.")] = None,
    class_weights: Annotated[
        bool | None,
        typer.Option("--class-weights/--no-class-weights", help="Weigh rare emotions up."),
    ] = None,
    keep_duplicates: Annotated[
        bool | None,
        typer.Option(
            "--keep-duplicates/--no-keep-duplicates",
            help="Learn also from pictures that are validated on.",
        ),
    ] = None,
) -> None:
    """Train a network; can be interrupted and resumed at any moment."""
    from host_training.config import TrainConfig, check_same_config, with_changes
    from host_training.progress import ConsoleProgress
    from host_training.train import config_to_resume
    from host_training.train import train as run_training

    asked = {
        "architecture": arch,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "seed": seed,
        "class_weights": class_weights,
        "keep_duplicates": keep_duplicates,
    }
    base = config_to_resume(out) if resume else TrainConfig()
    config = with_changes(base, asked)
    if resume:
        check_same_config(base, config)
    screen = console()
    samples = load_data(data, labels, protocol, screen)
    run = run_training(samples, config, out, ConsoleProgress(screen), resume=resume)
    screen.print(f"run directory: {run.path}", highlight=False, markup=False, soft_wrap=True)
