"""`edgeemo evaluate`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli_options import Data, JsonFile, Labels, Protocol, console, load_data, write_json

if TYPE_CHECKING:
    from host_training.evaluate import Predict


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(evaluate)


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

    return lambda rows: tflite_probabilities(model, rows.images)
