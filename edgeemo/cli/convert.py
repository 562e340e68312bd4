"""The commands around a bundle: make one with proof, and look into one."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer

from edge.errors import BundleError, ConfigError
from edgeemo.cli.calibrate import Map
from edgeemo.cli.extras import require
from edgeemo.cli.options import (
    Data,
    JsonFile,
    Labels,
    ModelLabels,
    Prepared,
    Protocol,
    console,
    labelled,
    load_data,
    note_samples,
    read_model_labels,
    write_json,
)

if TYPE_CHECKING:
    from converters.labelled_images import LabelledImages
    from converters.parity.check import ParityReport
    from converters.request import ConvertRequest, Prior
    from edge.contract.metadata import Crops, Quantization

TemperatureOn = Literal["clean", "robust"]
_OPTIONS: Final = {"mixed": "--recipe or --keep-float"}
"""How a form is asked for whose option has another name."""


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(convert)
    app.command()(inspect)


def convert(
    model: Annotated[
        Path,
        typer.Argument(
            help="A .keras file, a run directory of `edgeemo train`, or a SavedModel. One of your "
            "own takes grey 48 x 48 pixels from 0 to 255: put any rescaling into the model."
        ),
    ],
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="The bundle directory to write; required to convert.")
    ] = None,
    labels: Labels = None,
    protocol: Protocol = None,
    names: Map = None,
    prepared: Prepared = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Full integer: int8 in, int8 out (the default).")
    ] = False,
    int8_float_io: Annotated[
        bool,
        typer.Option("--int8-float-io", help="Integer inside, float input and output."),
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half-precision weights.")] = False,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="int8 weights, float input.")] = False,
    split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate on; by default PublicTest if there is one."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model; by default that of --out.")
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Maximum loss of accuracy, in percentage points.", min=0)
    ] = 0.5,
    max_balanced_drop: Annotated[
        float, typer.Option(help="Maximum loss of balanced accuracy, in percentage points.", min=0)
    ] = 2.0,
    min_agreement: Annotated[
        float,
        typer.Option(help="Minimum share of samples with the same prediction.", min=0, max=1),
    ] = 0.97,
    significance: Annotated[
        float,
        typer.Option(
            help="p value at which a loss past a limit is more than chance and refused; above it "
            "there is a warning. 1 refuses any.",
            min=0,
            max=1,
        ),
    ] = 0.05,
    calibration_rows: Annotated[
        int, typer.Option(help="Number of training samples to calibrate on.", min=1)
    ] = 400,
    seed: Annotated[int, typer.Option(help="Random seed for choosing those samples.")] = 0,
    model_labels: ModelLabels = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Quantise by a recipe of ai-edge-quantizer: its name, or a .json file."),
    ] = None,
    keep_float: Annotated[
        list[str] | None, typer.Option(help="A layer to keep in float; repeatable.")
    ] = None,
    tau: Annotated[
        str,
        typer.Option(
            help="How much of the training samples' prior to remove, 0 to 2, or auto: the most "
            "that costs no more accuracy than --max-drop. Rare emotions are named more often."
        ),
    ] = "0",
    temperature_on: Annotated[
        TemperatureOn | None,
        typer.Option(
            help="Fit the temperature on clean samples, or robust: on each clean and corrupted "
            "once, against overconfidence on poor pictures. robust by default, clean for "
            "a model that takes meshes."
        ),
    ] = None,
    debug_layers: Annotated[
        bool,
        typer.Option("--debug-layers", help="Rank layers by quantisation error; write nothing."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write the bundle even if the gate is not met; it is marked as forced."
        ),
    ] = False,
) -> Any:
    """Convert a model to a TFLite bundle and measure the cost."""
    recipes = ("ai_edge_quantizer",) if recipe is not None or keep_float else ()
    require("convert", "tensorflow", "keras", "sklearn", "scipy", "matplotlib", *recipes)
    _check_backend()
    quantization = _quantization_of(
        {
            "int8": int8,
            "int8-float-io": int8_float_io,
            "fp16": fp16,
            "dynamic": dynamic,
            "mixed": recipe is not None or bool(keep_float),
        }
    )
    if out is None and not debug_layers:
        raise ConfigError("no bundle directory to write was given; give --out DIR")
    _check_model(model)
    from converters.parity.gate import Gate
    from converters.request import ConvertRequest

    screen = console()
    learnt, chosen_tau = _crops(model), _tau(tau)
    robust = temperature_on or ("clean" if _takes_mesh(model) else "robust")
    shown = "raw" if learnt == "both" else learnt
    samples = load_data(data, labels, protocol, screen, prepared=prepared, crops=shown, names=names)
    evaluation, calibration = _rows(samples, split, learnt)
    request = ConvertRequest(
        model=model,
        out=out or Path(),
        quantization=quantization,
        evaluation=evaluation,
        calibration=calibration,
        calibration_rows=calibration_rows,
        seed=seed,
        name=name,
        gate=Gate(
            max_drop=max_drop / 100,
            max_balanced_drop=max_balanced_drop / 100,
            min_agreement=min_agreement,
            significance=significance,
        ),
        labels=read_model_labels(model_labels),
        recipe=recipe,
        keep_float=tuple(keep_float or ()),
        force=force,
        tau=chosen_tau,
        prior=_prior(samples),
        corrupted=_corrupted(evaluation) if robust == "robust" else None,
    )
    if debug_layers:
        return _show_layers(request, screen)
    report = _write(request, screen)
    note_samples("bundle", request.out, data, samples)
    return report


def _check_model(model: Path) -> None:
    """Refuse a bundle, and what is not there, before a large data set is read."""
    from edge.contract.bundle import SUMS, bundle_path

    expected = "expected a .keras file, a run directory of `edgeemo train`, or a SavedModel"
    if (bundle_path(model) / SUMS).is_file():
        raise ConfigError(f"{model}: a bundle, which is converted already; {expected}")
    if not model.exists():
        raise ConfigError(f"{model}: no such file or folder; {expected}")


def _show_layers(request: "ConvertRequest", screen: Any) -> None:
    from converters.convert.mixed.debug_layers import layer_errors_view, rank_layers

    total, errors = rank_layers(request, lambda step: screen.print(step, highlight=False))
    screen.print(layer_errors_view(total, errors))


def _write(request: "ConvertRequest", screen: Any) -> "ParityReport":
    from converters.convert.convert import convert as run_conversion
    from converters.parity.view import parity_view

    report = run_conversion(request, lambda step: screen.print(step, highlight=False))
    screen.print(parity_view(report))
    screen.print(f"bundle: {request.out}", highlight=False, soft_wrap=True)
    return report


def inspect(
    bundle: Annotated[
        Path, typer.Argument(help="A bundle directory; `default`: the packaged one.")
    ],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Show every operation and its output tensor.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Show the contents of a bundle and verify it.

    That is: its hashes hold, and the model gives its golden outputs.
    """
    from converters.bundle.inspect import bundle_view, describe
    from edge.contract.bundle import bundle_path, open_bundle

    description = describe(open_bundle(bundle_path(bundle)))
    console().print(bundle_view(description, every_operation=tensors))
    write_json(json_file, description)
    if not math.isfinite(description.golden_steps):
        raise BundleError(
            f"{bundle}: its golden outputs are not numbers; convert the model again, with --int8 "
            "or without --fp16"
        )


def _tau(text: str) -> "float | Literal['auto']":
    from edge.contract.decision import MOST_TAU

    if text == "auto":
        return "auto"
    try:
        tau = float(text)
    except ValueError:
        tau = -1.0
    if not 0 <= tau <= MOST_TAU:
        raise ConfigError(f"--tau {text}: expected a number from 0 to {MOST_TAU:g}, or auto")
    return tau


def _takes_mesh(model: Path) -> bool:
    """Tell whether a run's record says that its network takes meshes; a foreign model has none."""
    from converters.model.model_file import RUN_FILE, RunInfo

    file = (model if model.is_dir() else model.resolve().parent) / RUN_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunInfo).mesh_norm is not None
    except (OSError, msgspec.MsgspecError):  # which the conversion itself will speak of
        return False


def _corrupted(rows: "LabelledImages") -> "LabelledImages":
    from dataclasses import replace

    from host_training.data.corruptions import one_each

    return replace(rows, images=one_each(rows.images))


def _prior(samples: Any) -> "Prior":
    """Return how frequent each emotion is in the samples to learn from, or else in all."""
    from converters.request import Prior
    from host_training.data.samples import TRAINING
    from host_training.metrics.predict import prior_of

    learned = samples.split_rows(TRAINING) if TRAINING in samples.splits else samples
    shares = dict(zip(samples.labels, prior_of(learned, samples.labels), strict=True))
    split = "+".join(learned.splits)
    count = f"{learned.trainable.sum():,} samples"
    return Prior(shares=shares, source=f"mean target of {samples.name} {split}, {count}")


def _check_backend() -> None:
    """Refuse another backend of Keras than the one whose graphs are converted."""
    from host_training.frameworks import keras_backend

    if (backend := keras_backend()) != "tensorflow":
        raise ConfigError(
            f"KERAS_BACKEND={backend}: `edgeemo convert` converts TensorFlow's graphs; unset it, a "
            "run trained on either backend is read"
        )


def _quantization_of(asked: "dict[Quantization, bool]") -> "Quantization":
    given: list[Quantization] = [name for name, on in asked.items() if on]
    if len(given) > 1:
        options = " and ".join(_OPTIONS.get(name, f"--{name}") for name in given)
        raise ConfigError(f"{options} exclude each other; give one")
    return given[0] if given else "int8"


def _crops(model: Path) -> "Crops":
    """Return which crops the run learnt from: it is proven on the same, with both on raw ones."""
    from converters.model.saved_model import is_saved_model
    from host_training.runs.directory import CONFIG, RunDirectory

    in_folder = model.is_dir() and not is_saved_model(model)
    run = RunDirectory(model if in_folder else model.resolve().parent)
    return run.config().crops if (run.path / CONFIG).is_file() else "raw"


def _rows(
    samples: Any, split: str | None, learnt: "Crops"
) -> "tuple[LabelledImages, LabelledImages]":
    """Return the rows to measure on, and those to calibrate on (Training, where there is one)."""
    from host_training.data.samples import TRAINING
    from host_training.metrics.predict import rows_to_measure

    measured, _ = rows_to_measure(samples, split)
    learned = samples.split_rows(TRAINING) if TRAINING in samples.splits else samples
    return labelled(measured, learnt), labelled(learned.where(learned.measurable), learnt)
