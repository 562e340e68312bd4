"""`edgeemo train`. What it needs is imported inside: `edgeemo --help` stays light."""

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import ConfigError
from edgeemo.cli.calibrate import Map
from edgeemo.cli.extras import require
from edgeemo.cli.options import Data, Labels, Prepared, Protocol, console, load_data, note_samples

if TYPE_CHECKING:
    from rich.console import Console

    from host_training.config import TrainConfig
    from host_training.distributed.workers import Workers
    from host_training.runs.directory import RunRecord
    from host_training.training.progress import TrainingProgress
    from host_training.training.run import Pretrained

    Stored = tuple[TrainConfig, RunRecord]


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
            help="Settings to start from: default, seed, fine-tune, adapt, robust, or a run's "
            "config.json."
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
    anchor: Annotated[
        Path | None,
        typer.Option(
            help="A run or bundle whose weights are averaged with the trained ones, by the share "
            "--set anchor=; that of --init by default."
        ),
    ] = None,
    general: Annotated[
        Path | None,
        typer.Option(
            "--with",
            help="General samples to rehearse, fer2013.csv say, so that other faces are not "
            "forgotten; with --recipe adapt.",
        ),
    ] = None,
    general_labels: Annotated[
        Path | None, typer.Option("--with-labels", help="FER+ votes for the samples of --with.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training samples.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Batch size: samples per training step.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Peak of the learning-rate schedule.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed for weights, shuffling and augmentation."),
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
    workers: Annotated[
        str | None,
        typer.Option(
            metavar="HOST,HOST",
            help="Machines that train with this one, over ssh; data and folder as here.",
        ),
    ] = None,
    remote: Annotated[
        str, typer.Option(metavar="COMMAND", help="The command that starts edgeemo on --workers.")
    ] = "edgeemo",
    ssh_config: Annotated[
        Path | None,
        typer.Option(
            help="For --workers; your own ~/.ssh/config otherwise.", exists=True, dir_okay=False
        ),
    ] = None,
    context: typer.Context = None,  # type: ignore[assignment] # a function has none
) -> Any:
    """Train a network; can be interrupted and resumed at any moment."""
    from host_training.distributed.workers import check_alike
    from host_training.frameworks import keras_backend

    require("train", keras_backend(), "keras", "sklearn")
    if tensorboard:
        require("train", "tensorflow")  # it writes the event files
    options = {
        "architecture": arch,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    with _started(context, workers, remote, ssh_config), joined_workers() as team:
        screen = console(quiet=not team.is_chief)
        check_alike(team, {"option --resume": str(resume).lower()})
        stored = _stored(out, team) if resume else None
        pretrained = _pretrained(teacher or [], init, anchor, stored)
        config = _config(recipe, options, settings or [], pretrained, stored)
        if config.engine == "torch":
            require("train", "torch")
        samples = load_data(
            data,
            labels,
            protocol,
            screen,
            prepared=prepared,
            crops=config.crops,
            names=names,
            stream=True,
        )

        rehearsed = None
        if general is not None:
            if not config.rehearsal:
                raise ConfigError(
                    "--with: these settings rehearse nothing; give --recipe adapt, or --set "
                    "rehearsal=3"
                )
            rehearsed = load_data(general, general_labels, None, screen)

        from host_training.training.run import train as run_training

        progress = _progress(screen, team, out / "tensorboard" if tensorboard else None)
        run = run_training(
            samples,
            config,
            out,
            progress,
            resume=resume,
            pretrained=pretrained,
            workers=team,
            general=rehearsed,
        )
    if not team.is_chief:
        return run
    screen.print(f"run directory: {run.path}", highlight=False, markup=False, soft_wrap=True)
    note_samples("run", run.path, data, samples)
    if general is not None:
        note_samples("run", run.path, general, rehearsed)
    return run


def _started(
    context: typer.Context | None, hosts: str | None, remote: str, ssh_config: Path | None
) -> "AbstractContextManager[None]":
    """Start the workers of ``--workers``, where they are asked for."""
    if hosts is None:
        return nullcontext()
    require("train", "pyinfra")

    from edgeemo.remote_workers import remote_workers

    if context is None:
        raise ConfigError("--workers: repeats this command line elsewhere; give it on one")
    words = [*shlex.split(remote), "train", *_words_of(context)]
    return remote_workers([host.strip() for host in hosts.split(",")], words, ssh_config)


def _words_of(context: typer.Context) -> list[str]:
    """Return what this command was given as words, but for what starts other workers."""
    words: list[str] = []
    for option in context.command.params:
        name, values = option.name or "", context.params.get(option.name or "")
        source = context.get_parameter_source(name)
        if (
            name in ("workers", "remote", "ssh_config")
            or source is None
            or source.name == "DEFAULT"
        ):
            continue
        if isinstance(values, bool):
            words += [option.opts[0]] if values else option.secondary_opts[:1]
            continue
        for value in values if isinstance(values, list | tuple) else [values]:
            words += [option.opts[0], str(value)]
    return words


@contextmanager
def joined_workers() -> "Iterator[Workers]":
    """Meet the other workers where ``TF_CONFIG`` names some, until the block is left."""
    from host_training.distributed.cluster import cluster_of_environment
    from host_training.distributed.team import Team
    from host_training.distributed.workers import ALONE

    cluster = cluster_of_environment()
    if cluster is None:
        yield ALONE
        return
    if cluster.is_chief:
        _note(
            f"training with {len(cluster.addresses)} workers; what they send is neither encrypted "
            "nor authenticated: keep the ports of TF_CONFIG on a private network"
        )
    with Team(cluster, _note) as team:
        yield team


def _note(line: str) -> None:
    typer.echo(f"edgeemo: {line}", err=True)


def _progress(screen: "Console", workers: "Workers", events: Path | None) -> "TrainingProgress":
    from host_training.training.progress import ConsoleProgress, SilentProgress
    from host_training.training.tensorboard import TensorBoardProgress

    if not workers.is_chief:
        return SilentProgress()
    return ConsoleProgress(screen) if events is None else TensorBoardProgress(screen, events)


def _stored(out: Path, workers: "Workers") -> "Stored":
    """Return what the run to resume says of itself; of several workers only the chief has it."""
    import msgspec

    from host_training.config import TrainConfig
    from host_training.runs.directory import RunDirectory, RunRecord
    from host_training.training.run import config_to_resume

    def read() -> bytes:
        return msgspec.json.encode((config_to_resume(out), RunDirectory(out).record()))

    return msgspec.json.decode(workers.from_chief(read), type=tuple[TrainConfig, RunRecord])


def _config(
    recipe: str | None,
    options: dict[str, Any],
    pairs: list[str],
    pretrained: "Pretrained",
    stored: "Stored | None",
) -> "TrainConfig":
    """Return the settings: a recipe's or the resumed run's own, changed by single options."""
    from host_training import config as settings

    own = None if stored is None else stored[0]
    base = own if own is not None and recipe is None else settings.recipe(recipe or "default")
    initial, anchor = pretrained.initial, pretrained.anchor
    options |= {
        "teachers": tuple(file.sha256 for file in pretrained.teachers) or None,
        "initial": None if initial is None else initial.sha256,
        "anchor_model": None if anchor is None else anchor.sha256,
    }
    config = settings.with_changes(base, options, settings.parse_settings(pairs))
    if own is not None:
        settings.check_same_config(own, config)
    return config


def _pretrained(
    teachers: list[Path], initial: Path | None, anchor: Path | None, stored: "Stored | None"
) -> "Pretrained":
    """Find the models to learn from; a resumed run remembers where its own are."""
    from host_training.training.distillation import model_file
    from host_training.training.run import Pretrained

    if stored is not None:
        _, record = stored
        teachers = teachers or [Path(path) for path in record.teachers]
        initial = initial or (Path(record.initial) if record.initial else None)
        anchor = anchor or (Path(record.anchor) if record.anchor else None)

    return Pretrained(
        tuple(model_file(path) for path in teachers),
        *(None if path is None else model_file(path) for path in (initial, anchor)),
    )
