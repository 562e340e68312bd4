"""`edgeemo evaluate`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edge.cli_options import (
    Data,
    JsonFile,
    Labels,
    Prepared,
    Protocol,
    console,
    labelled,
    load_data,
    write_json,
)
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.contract.metadata import Crops
    from host_training.cross_validation import FoldPlan
    from host_training.evaluate import Predict
    from host_training.origin import Origin

By = Literal["subject", "picture", "random"]
Crop = Literal["raw", "aligned"]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run directory, .keras, .tflite or bundle directory. With --folds: a run "
            "directory or a config.json, whose settings are trained anew on each fold."
        ),
    ],
    data: Data,
    labels: Labels = None,
    protocol: Protocol = None,
    split: Annotated[
        str | None,
        typer.Option(help="PublicTest by default where there is one, else all rows."),
    ] = None,
    prepared: Prepared = None,
    crops: Annotated[
        Crop | None,
        typer.Option(help="Of --prepared; by default those that the model learnt from."),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Fit the temperature on this split; by default on each half of the measured rows "
            "for the other.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of those halves, and of the folds.")] = 0,
    json_file: JsonFile = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write pictures, predictions and a report here."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Cross-validate: train on all folds but one, in turn.")
    ] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="What lies in one fold only: subject (default where known), picture, or random "
            "(LEAKS)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --folds: for the runs; continued when it is there.")
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="With --folds: quantise each model, measure what a device runs."
        ),
    ] = False,
) -> None:
    """Measure a model on a data set's rows, or its settings by cross-validation."""
    _check_options(folds, by, out, calibrate_on, int8)
    _check_kind(model, folds)
    screen = console()
    chosen = crops or (_crops(model) if folds is None else _learnt(model))
    samples = load_data(data, labels, protocol, screen, prepared=prepared, crops=chosen)

    from host_training.evaluation import Question, evaluate_in_full
    from host_training.evaluation_tables import evaluation_view, fold_report_view

    if folds is not None and out is not None:
        plan = _plan(samples, folds, by, seed, split)
        validated = _cross_validated(model, samples, plan, out, screen, int8)
        measured, view = validated.measured, fold_report_view(validated.report)
    else:
        predict, origin = _opened(model)
        measured = evaluate_in_full(samples, Question(split, calibrate_on, seed), predict, origin)
        view = evaluation_view(measured.figures)
    screen.print(view)
    write_json(json_file, measured.figures)
    if report is not None:
        from host_training.evaluation_report import write_report

        write_report(report, measured)
        screen.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)


def _check_options(
    folds: int | None, by: By | None, out: Path | None, calibrate_on: str | None, int8: bool
) -> None:
    if folds is None:
        if int8:
            raise ConfigError(
                "--int8: only with --folds N; make a bundle with `edgeemo convert --int8` and "
                "evaluate that"
            )
        for name, value in (("--by", by), ("--out", out)):
            if value is not None:
                raise ConfigError(f"{name} {value}: only with --folds N, which trains N models")
    elif out is None:
        raise ConfigError(f"--folds {folds}: trains {folds} models; name a folder for them, --out")
    elif calibrate_on is not None:
        raise ConfigError(
            f"--calibrate-on {calibrate_on}: not with --folds, where the temperature is fitted on "
            "held-out rows; leave it out"
        )


def _check_kind(model: Path, folds: int | None) -> None:
    """Refuse early what can not be evaluated, before a large data set is read."""
    if not model.exists():
        raise ConfigError(
            f"{model}: no such model; expected a run directory, .keras, .tflite or a bundle"
        )
    if folds is not None and model.suffix != ".json" and not (model / "config.json").is_file():
        raise ConfigError(
            f"{model}: --folds trains anew: expected a run directory of `edgeemo train`, or a "
            "config.json"
        )


def _crops(model: Path) -> Crop:
    """Return which crops a model is measured on: those it learnt from, with both the raw ones."""
    learnt = _learnt(model)
    return "raw" if learnt == "both" else learnt


def _learnt(model: Path) -> "Crops":
    """Return which crops a model learnt from."""
    from edge.contract.bundle import SUMS, open_bundle
    from host_training.run_directory import CONFIG, RunDirectory

    if (model / SUMS).is_file():
        return open_bundle(model).metadata.crops
    if model.suffix == ".json":
        from host_training.config import recipe

        return recipe(str(model)).crops
    run = RunDirectory(model if model.is_dir() else model.parent)
    return run.config().crops if (run.path / CONFIG).is_file() else "raw"


def _opened(model: Path) -> "tuple[Predict, Origin]":
    """Return the function that runs a model, and what its files tell, by what kind it is."""
    from functools import partial

    from host_training import origin

    if model.suffix == ".keras" or (model / "run.json").is_file():
        from host_training.evaluate import keras_probabilities

        return partial(keras_probabilities, model), origin.origin_of_run(model)
    from converters.predict import tflite_probabilities
    from edge.contract.bundle import open_bundle

    def predict(rows: Any) -> Any:
        return tflite_probabilities(model, rows.images, rows.mesh, tempered=False)

    if model.is_dir():
        return predict, origin.origin_of_bundle(open_bundle(model))
    return predict, origin.origin_of_file(model)


def _plan(samples: Any, folds: int, by: By | None, seed: int, split: str | None) -> "FoldPlan":
    from host_training.cross_validation import FoldPlan
    from host_training.folds import best_by

    return FoldPlan(folds=folds, by=by or best_by(samples), seed=seed, split=split)


def _cross_validated(
    model: Path, samples: Any, plan: "FoldPlan", out: Path, screen: Any, int8: bool
) -> Any:
    """Train the settings of a run, or of a config.json, on each fold."""
    from host_training.config import recipe
    from host_training.cross_validation import (
        AS_TRAINED,
        FoldForm,
        ancestors_of,
        cross_validate,
    )
    from host_training.progress import ConsoleProgress
    from host_training.run_directory import RunDirectory
    from host_training.train import Ancestors

    if model.suffix == ".json":
        config, ancestors = recipe(str(model)), Ancestors()
    else:
        config, ancestors = RunDirectory(model).config(), ancestors_of(RunDirectory(model))
    form = FoldForm("int8", _int8_of_fold) if int8 else AS_TRAINED
    return cross_validate(samples, config, plan, out, ConsoleProgress(screen), ancestors, form)


def _int8_of_fold(run: Path, learnt: Any, held: Any) -> Any:
    """Answer as the device would, with a fold's run quantised on what it learnt from."""
    from converters.predict import int8_probabilities

    calibration = labelled(learnt.where(learnt.measurable), learnt.crops)
    return int8_probabilities(run, calibration, held.images, held.mesh)
