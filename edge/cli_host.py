"""The workstation's commands. Each imports what it needs inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from host_training.evaluate import Predict

Data = Annotated[
    Path,
    typer.Option(
        help="fer2013.csv or icml_face_data.csv (.gz too), the train.csv pair, or class folders."
    ),
]
Labels = Annotated[Path | None, typer.Option(help="FER+ votes for the rows: fer2013new.csv.")]
Protocol = Annotated[
    str | None, typer.Option(help="majority (default with votes), plurality or fer2013.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON.")]

data_app = typer.Typer(
    help="Look into a data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the workstation's commands to the application."""
    app.command()(train)
    app.command()(evaluate)
    app.add_typer(data_app, name="data")


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


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A run directory, .keras, .tflite or bundle directory.")
    ],
    data: Data,
    labels: Labels = None,
    protocol: Protocol = None,
    split: Annotated[
        str | None, typer.Option(help="PublicTest by default where there is one, else all rows.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure a model on a data set's rows."""
    from host_training.evaluate import evaluate as measure
    from host_training.evaluate import rows_to_measure
    from host_training.tables import metrics_view

    screen = console()
    rows, remark = rows_to_measure(load_data(data, labels, protocol, screen), split)
    figures = measure(rows, _predictor(model))
    if remark:
        screen.print(remark, highlight=False, markup=False, soft_wrap=True)
    screen.print(metrics_view(figures))
    write_json(json_file, figures)


@data_app.command()
def audit(
    data: Annotated[Path, typer.Argument(help="What --data of `edgeemo train` takes.")],
    labels: Labels = None,
    protocol: Protocol = None,
    json_file: JsonFile = None,
) -> None:
    """Count rows, duplicates, subjects and votes; say what leaks between splits."""
    from host_training.data.audit import audit as examine
    from host_training.tables import audit_view

    screen = console()
    result = examine(load_data(data, labels, protocol, screen))
    screen.print(audit_view(result))
    write_json(json_file, result)


def _predictor(model: Path) -> "Predict":
    """Return the function that runs ``model``, by what kind of file it is."""
    from functools import partial

    from edge.errors import ConfigError

    if not model.exists():
        raise ConfigError(
            f"{model}: no such model; expected a run directory, .keras, .tflite or a bundle"
        )
    if model.suffix == ".keras" or (model / "run.json").is_file():
        from host_training.evaluate import keras_probabilities

        return partial(keras_probabilities, model)
    from converters.predict import tflite_probabilities

    return partial(tflite_probabilities, model)


def load_data(data: Path, labels: Path | None, protocol: str | None, screen: Any) -> Any:
    """Read a data set and say what it was recognised as."""
    from host_training.data.load import load_samples

    samples = load_samples(data, labels, protocol)
    line = f"data: {samples.form}, {len(samples)} rows, protocol {samples.protocol}"
    screen.print(line, highlight=False, markup=False, soft_wrap=True)
    return samples


def console() -> Any:
    """Return a rich console on stdout."""
    from rich.console import Console

    return Console()


def write_json(path: Path | None, value: object) -> None:
    """Write a result to the file that ``--json`` names, if it was given."""
    if path is None:
        return
    from host_training.run_directory import write_json as write

    write(path, value)
