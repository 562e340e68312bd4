"""`edgeemo train`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeemo.cli.calibrate import Map
from edgeemo.cli.extras import require
from edgeemo.cli.options import Data, Labels, Prepared, Protocol, console, load_data, note_samples

if TYPE_CHECKING:
    from host_training.config import TrainConfig
    from host_training.training.run import Pretrained


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(train)


def train(
    data: Data,
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    labels: Labels = None,
    protocol: Protocol = None,
    names: Map = None,
    prepared: Prepared = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from: default, seed, fine-tune, robust, or a run's config.json."
        ),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="compact (default), large, micro, mesh, fusion or seed.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out at its last epoch.")
    ] = False,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A run or bundle to distil from, `default` too; several times for an ensemble."
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="A run or bundle whose weights to start from; `default`: the packaged one."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="How often each training sample is seen.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples in each training step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The peak of its schedule.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the first weights, the order of samples, and augmentation."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other setting: docs/training.md has them."
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files below --out.")
    ] = False,
) -> Any:
    """Train a network; can be interrupted and resumed at any moment."""
    require("train", "tensorflow", "keras", "sklearn")
    options = {
        "architecture": arch,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    resumed = out if resume else None
    pretrained = _pretrained(teacher or [], init, resumed)
    config = _config(recipe, options, settings or [], pretrained, resumed)
    if config.engine == "torch":
        require("train", "torch")
    screen = console()
    samples = load_data(
        data, labels, protocol, screen, prepared=prepared, crops=config.crops, names=names
    )

    from host_training.training.progress import ConsoleProgress
    from host_training.training.run import train as run_training
    from host_training.training.tensorboard import TensorBoardProgress

    progress = (
        TensorBoardProgress(screen, out / "tensorboard") if tensorboard else ConsoleProgress(screen)
    )
    run = run_training(samples, config, out, progress, resume=resume, pretrained=pretrained)
    screen.print(f"run directory: {run.path}", highlight=False, markup=False, soft_wrap=True)
    note_samples("run", run.path, data, samples)
    return run


def _config(
    recipe: str | None,
    options: dict[str, Any],
    pairs: list[str],
    pretrained: "Pretrained",
    resumed: Path | None,
) -> "TrainConfig":
    """Return the settings: a recipe's or the resumed run's own, changed by single options."""
    from host_training import config as settings
    from host_training.training.run import config_to_resume

    own = None if resumed is None else config_to_resume(resumed)
    base = own if own is not None and recipe is None else settings.recipe(recipe or "default")
    initial = pretrained.initial
    options |= {
        "teachers": tuple(file.sha256 for file in pretrained.teachers) or None,
        "initial": None if initial is None else initial.sha256,
    }
    config = settings.with_changes(base, options, settings.parse_settings(pairs))
    if own is not None:
        settings.check_same_config(own, config)
    return config


def _pretrained(teachers: list[Path], initial: Path | None, resumed: Path | None) -> "Pretrained":
    """Find the models to learn from; a resumed run remembers where its own are."""
    from host_training.runs.directory import RunDirectory
    from host_training.training.distillation import model_file
    from host_training.training.run import Pretrained

    if resumed is not None and (resumed / "run.json").is_file():
        record = RunDirectory(resumed).record()
        teachers = teachers or [Path(path) for path in record.teachers]
        initial = initial or (Path(record.initial) if record.initial else None)

    return Pretrained(
        tuple(model_file(path) for path in teachers),
        None if initial is None else model_file(initial),
    )
