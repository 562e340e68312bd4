"""`edgeemo evaluate`. What it needs is imported inside: `edgeemo --help` stays light."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
import typer

from edge.config import Config
from edge.errors import ConfigError
from edgeemo.cli.calibrate import Map
from edgeemo.cli.extras import require
from edgeemo.cli.options import (
    JsonFile,
    Labels,
    ModelLabels,
    Protocol,
    Workers,
    console,
    labelled,
    load_data,
    note_samples,
    processes,
    read_model_labels,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge.contract.decision import Decision
    from edge.contract.metadata import Crops
    from host_training.evaluation.cross_set import CrossSet
    from host_training.evaluation.cross_validation import FoldPlan
    from host_training.evaluation.evaluate import Evaluation, Measured, Question
    from host_training.evaluation.views import View
    from host_training.metrics.predict import Model
    from host_training.runs.provenance import ModelProvenance

By = Literal["subject", "picture", "random"]
Crop = Literal["raw", "aligned"]
FigureFormat = Literal["png", "svg", "pdf"]


class EvaluateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `edgeemo evaluate` was asked for: its options, by their names."""

    model: Path
    data: list[Path]
    labels: Path | None
    model_labels: str | None
    protocol: str | None
    names: list[str] | None
    split: str | None
    pipeline: bool
    corruptions: bool
    limit: int | None
    prepared: Path | None
    workers: int | None
    crops: Crop | None
    calibrate_on: str | None
    tau: float | None
    seed: int
    json_file: Path | None
    against: Path | None
    report: Path | None
    figures: FigureFormat | None
    folds: int | None
    by: By | None
    out: Path | None
    int8: bool


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(evaluate)


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(
            help="A run directory, .keras, .tflite, bundle directory, or `default`, the packaged "
            "bundle. One of your own takes grey pixels from 0 to 255. With --folds: a run "
            "directory or a config.json, whose settings are retrained on each fold."
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(
            help="FER2013's CSV (.gz too), the train.csv pair, or class folders. Given more than "
            "once: one table over all of them, each marked zero-shot or not."
        ),
    ],
    labels: Labels = None,
    model_labels: ModelLabels = None,
    protocol: Protocol = None,
    names: Map = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="PublicTest by default where there is one, else all samples. Validation: what the "
            "model's run held out itself."
        ),
    ] = None,
    pipeline: Annotated[
        bool,
        typer.Option(
            "--pipeline",
            help="Measure the device's whole pipeline: each full picture through mesh, alignment, "
            "crop and quality gate, with the raw 48-pixel pictures beside it.",
        ),
    ] = False,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions",
            help="Also measure on corrupted pictures: eight kinds, five severities.",
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of samples, stratified by label."),
    ] = None,
    prepared: Annotated[
        Path | None,
        typer.Option(
            help="Meshes and crops of the samples, from `edgeemo data prepare`. With --pipeline: "
            "a folder, new or not, that keeps what the pipeline saw for the next time."
        ),
    ] = None,
    workers: Workers = None,
    crops: Annotated[
        Crop | None,
        typer.Option(help="Of --prepared; by default those that the model learnt from."),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            metavar="SPLIT",
            help="Fit the temperature on this split; by default on each half of the measured "
            "samples for the other.",
        ),
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=2,
            help="How much of the training samples' prior to remove, 0 to 2; by default what the "
            "bundle says, 0 for a run.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(help="Random seed for those halves, the folds, --limit and --corruptions."),
    ] = 0,
    json_file: JsonFile = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Another model to compare with on the same samples: difference, McNemar's test.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write pictures, predictions, a report in Markdown and tables in LaTeX here.",
        ),
    ] = None,
    figures: Annotated[
        FigureFormat | None,
        typer.Option(help="With --report: also write the figures in this format, beside png."),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Cross-validate with this many folds.")] = None,
    by: Annotated[
        By | None,
        typer.Option(
            help="What lies in one fold only: subject (default where known), picture, or random "
            "(LEAKS)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --folds: folder for the runs; an existing one is continued."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", help="With --folds: quantise each model, measure what a device runs."
        ),
    ] = False,
) -> Any:
    """Measure a model on data, or its settings by cross-validation."""
    return _measure(EvaluateRequest(**locals()))


def _measure(request: EvaluateRequest) -> "Evaluation | CrossSet":
    from edge.contract.bundle import bundle_path

    others = {"model": bundle_path(request.model)}
    if request.against is not None:
        others["against"] = bundle_path(request.against)
    request = msgspec.structs.replace(request, **others)
    _check_options(request)
    _check_libraries(request)
    for model in others.values():
        _check_kind(model, request.folds)
    if request.corruptions and not request.pipeline and _takes_mesh(request.model):
        raise ConfigError(
            f"--corruptions: {request.model} takes mesh features, which a corrupted 48-pixel "
            "picture has not; add --pipeline, which meshes the corrupted picture"
        )
    screen = console()
    if request.folds is not None and request.out is not None:
        measured, view = _by_folds(request, request.folds, request.out, screen)
    elif len(request.data) > 1:
        return _across(request, screen)
    else:
        from host_training.evaluation.tables import evaluation_view

        with _view(request, screen) as seen:
            _, measured, _ = _one(request, request.data[0], request.labels, seen, screen)
        if request.against is not None:
            measured = _held_against(request, request.against, measured)
        view = evaluation_view(measured.figures)
    screen.print(view)
    write_json(request.json_file, measured.figures)
    if request.report is not None:
        from host_training.evaluation.report import write_report

        write_report(request.report, measured, request.figures)
        _say(screen, f"report: {request.report}")
    return measured.figures


def _check_libraries(request: EvaluateRequest) -> None:
    """Refuse to begin without what the extra `host` brings, as far as it will be needed."""
    from edge.contract.bundle import SUMS
    from host_training.frameworks import keras_backend

    models = [model for model in (request.model, request.against) if model is not None]
    for_devices = all(model.suffix == ".tflite" or (model / SUMS).is_file() for model in models)
    by_keras = () if for_devices and request.folds is None else (keras_backend(), "keras")
    drawn = () if request.report is None else ("matplotlib",)
    require("evaluate", "sklearn", "scipy", *by_keras, *drawn)


def _say(screen: Any, line: str) -> None:
    screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _one(
    request: EvaluateRequest,
    data: Path,
    labels: Path | None,
    view: "View",
    screen: Any,
    known: "Decision | None" = None,
) -> "tuple[Any, Measured, ModelProvenance]":
    """Measure the model on one data set; returns the set, all figures and where it comes from."""
    from host_training.evaluation.evaluate import evaluate_in_full

    # The pipeline cuts its own crops; what --prepared holds for it is in its view.
    prepared = None if request.pipeline else request.prepared
    crops = "raw" if request.pipeline else request.crops or _crops(request.model)
    protocol = request.protocol if labels is not None or len(request.data) == 1 else None
    samples = load_data(
        data, labels, protocol, screen, prepared=prepared, crops=crops, names=request.names
    )
    model, origin = _opened(request, samples, known)
    samples = _with_held_out(samples, request.split, request.model, origin)
    measured = evaluate_in_full(samples, _question(request, view), model, origin)
    _note_copies(request, data, samples)
    return samples, measured, origin


def _note_copies(request: EvaluateRequest, data: Path, samples: Any) -> None:
    """Write down beside captured pictures what was made from them, see ``note_samples``."""
    kept = request.prepared if request.pipeline else None
    made = {"cross-validation": request.out, "report": request.report, "prepared data": kept}
    for what, out in made.items():
        if out is not None:
            note_samples(what, out, data, samples)


def _question(request: EvaluateRequest, view: "View") -> "Question":
    from host_training.evaluation.evaluate import Question

    return Question(
        split=request.split,
        calibrate_on=request.calibrate_on,
        seed=request.seed,
        limit=request.limit,
        view=view,
        beside_raw=request.pipeline and not _takes_mesh(request.model),
        corruptions=request.corruptions,
    )


def _across(request: EvaluateRequest, screen: Any) -> "CrossSet":
    """Measure the model on several data sets, and print them in one table."""
    from host_training.evaluation.cross_set import CrossSet, SetFigures, relation
    from host_training.evaluation.report import write_cross_set, write_report
    from host_training.evaluation.tables import cross_set_view

    sets: list[SetFigures] = []
    decision = None
    names = _names(request.data)
    with _view(request, screen) as view:
        for name, data in zip(names, request.data, strict=True):
            labels = request.labels if _takes_votes(data) else None
            samples, measured, origin = _one(request, data, labels, view, screen, decision)
            decision = origin.decision
            known = relation(samples, origin)
            sets.append(SetFigures(name=name, relation=known, figures=measured.figures))
            if request.report is not None:
                write_report(request.report / name, measured, request.figures)
    result = CrossSet(sets=tuple(sets))
    screen.print(cross_set_view(result))
    write_json(request.json_file, result)
    if request.report is not None:
        write_cross_set(request.report, result)
        _say(screen, f"report: {request.report}")
    return result


def _names(data: list[Path]) -> list[str]:
    """Return a name for each data set, that of its file or folder, made different if need be."""
    stems = [path.resolve().name.split(".")[0] for path in data]
    return [
        stem if stems.count(stem) == 1 else f"{stem}-{stems[: i + 1].count(stem)}"
        for i, stem in enumerate(stems)
    ]


def _takes_votes(data: Path) -> bool:
    """Tell FER2013's CSVs, the only data that FER+ votes belong to, from class folders."""
    from host_training.data.load import is_fer2013

    return is_fer2013(data)


@contextmanager
def _view(request: EvaluateRequest, screen: Any) -> "Iterator[View]":
    """Yield what the model gets to see of samples, with a progress bar for what takes long."""
    from host_training.data.picture_progress import ConsolePictureProgress
    from host_training.evaluation.views import PipelineView, RawView

    if not request.pipeline:
        with ConsolePictureProgress(screen, doing="measuring", done="measured") as progress:
            yield RawView(progress)
        return
    from functools import partial

    from edge.assets.store import FACE_LANDMARKER, asset_path
    from edge.runtime.build import compose_pipeline

    asset_path(FACE_LANDMARKER)  # fetched here, once, and not by every worker
    config, with_mesh = Config(), _takes_mesh(request.model)
    make = partial(compose_pipeline, config, blendshapes=with_mesh)
    store = _store(request.prepared, config, with_mesh=with_mesh)
    with ConsolePictureProgress(screen) as progress:
        yield PipelineView(make, processes(request.workers), progress, with_mesh, store)


def _store(folder: Path | None, config: Config, *, with_mesh: bool) -> Any:
    """Return where what the pipeline saw is kept, if anywhere."""
    if folder is None:
        return None
    from hashlib import sha256

    from edge.assets.store import FACE_LANDMARKER
    from edge.contract.align import FER48
    from host_training.data.prepared import FORMAT
    from host_training.evaluation.seen import SeenStore

    decides = (
        FORMAT,
        FACE_LANDMARKER.sha256,
        FER48.template_id,
        config.mesher,
        config.quality,
        with_mesh,
    )
    return SeenStore(folder, sha256(msgspec.json.encode(decides)).hexdigest()[:12])


def _by_folds(
    request: EvaluateRequest, folds: int, out: Path, screen: Any
) -> "tuple[Measured, Any]":
    """Train the settings anew on each fold; returns what was measured, and its view."""
    from host_training.evaluation.tables import fold_report_view

    crops = request.crops or _learnt(request.model)
    samples = load_data(
        request.data[0],
        request.labels,
        request.protocol,
        screen,
        prepared=request.prepared,
        crops=crops,
        names=request.names,
    )
    plan = _plan(samples, folds, request.by, request.seed, request.split)
    done = _cross_validated(request.model, samples, plan, out, screen, request.int8)
    _note_copies(request, request.data[0], samples)
    return done.measured, fold_report_view(done.report)


def _check_options(request: EvaluateRequest) -> None:
    """Refuse options that do not go together."""
    given = {
        "--calibrate-on": request.calibrate_on,
        "--split": request.split,
        "--pipeline": request.pipeline,
        "--corruptions": request.corruptions,
        "--limit": request.limit,
        "--tau": request.tau,
        "--crops": request.crops,
        "--by": request.by,
        "--out": request.out,
        "--int8": request.int8,
        "--prepared": request.prepared,
        "--against": request.against,
        "--figures": request.figures,
        "--folds": request.folds,
    }
    wanted = {name: value for name, value in given.items() if value not in (None, False)}
    if request.folds is not None and request.out is None:
        raise ConfigError(
            f"--folds {request.folds}: trains {request.folds} models; name a folder for them, --out"
        )
    for refused, when, why in _CLASHES:
        for name in sorted(refused & wanted.keys()):
            if when(request):
                value = "" if wanted[name] is True else f" {wanted[name]}"
                raise ConfigError(f"{name}{value}: {why.format(folds=request.folds)}")


_CLASHES: "Final[tuple[tuple[set[str], Callable[[EvaluateRequest], bool], str], ...]]" = (
    (
        {"--int8"},
        lambda request: request.folds is None,
        "only with --folds N; make a bundle with `edgeemo convert --int8` and evaluate that",
    ),
    (
        {"--by", "--out"},
        lambda request: request.folds is None,
        "only with --folds N, which trains N models",
    ),
    (
        {"--calibrate-on"},
        lambda request: request.folds is not None,
        "not with --folds, where the temperature is fitted on held-out samples; leave it out",
    ),
    (
        {"--pipeline", "--corruptions", "--limit"},
        lambda request: request.folds is not None,
        "not with --folds {folds}, which trains models on the 48-pixel pictures; leave it out, or "
        "evaluate a trained one",
    ),
    (
        {"--tau"},
        lambda request: request.folds is not None,
        "not with --folds {folds}, whose models are measured at tau 0; leave it out",
    ),
    (
        {"--crops"},
        lambda request: request.pipeline,
        "not with --pipeline, which cuts its own; leave it out",
    ),
    (
        {"--folds", "--split", "--calibrate-on"},
        lambda request: len(request.data) > 1,
        "only with one --data; each of several is measured on its own default split",
    ),
    (
        {"--against"},
        lambda request: request.folds is not None or request.pipeline or len(request.data) > 1,
        "only on one --data as it is, without --folds and --pipeline; compare the predictions.csv "
        "of two --report folders",
    ),
    (
        {"--figures"},
        lambda request: request.report is None,
        "only with --report DIR, where they are drawn",
    ),
    (
        {"--prepared"},
        lambda request: len(request.data) > 1 and not request.pipeline,
        "with several --data only together with --pipeline",
    ),
)
"""Options, when they are refused, and what to do about it."""


def _check_kind(model: Path, folds: int | None) -> None:
    """Refuse early what cannot be evaluated, before a large data set is read."""
    if not model.exists():
        raise ConfigError(
            f"{model}: no such model; expected a run directory, .keras, .tflite or a bundle"
        )
    if folds is None:
        from converters.opened import check_kind

        check_kind(model)
    elif model.suffix != ".json" and not (model / "config.json").is_file():
        raise ConfigError(
            f"{model}: --folds retrains: expected a run directory of `edgeemo train`, or a "
            "config.json"
        )


def _crops(model: Path) -> Crop:
    """Return which crops a model is measured on: those it learnt from, with both the raw ones."""
    learnt = _learnt(model)
    return "raw" if learnt == "both" else learnt


def _learnt(model: Path) -> "Crops":
    """Return which crops a model learnt from."""
    from edge.contract.bundle import SUMS, open_bundle
    from host_training.runs.directory import CONFIG, RunDirectory

    if (model / SUMS).is_file():
        return open_bundle(model).metadata.crops
    if model.suffix == ".json":
        from host_training.config import recipe

        return recipe(str(model)).crops
    run = RunDirectory(model if model.is_dir() else model.parent)
    return run.config().crops if (run.path / CONFIG).is_file() else "raw"


def _takes_mesh(model: Path) -> bool:
    """Tell whether a model takes mesh features."""
    from edge.contract.bundle import SUMS, open_bundle
    from host_training.runs.directory import RUN, RunDirectory

    if (model / SUMS).is_file():
        return open_bundle(model).metadata.mesh_input is not None
    run = RunDirectory(model if model.is_dir() else model.parent)
    return (run.path / RUN).is_file() and run.record().mesh_norm is not None


def _opened(
    request: EvaluateRequest, samples: Any, known: "Decision | None"
) -> "tuple[Model, ModelProvenance]":
    """Return the function that runs a model under its tau or another, and what its files tell.

    Args:
        request: tells the model and tau.
        samples: the data set; a prior is counted in it where the model carries none.
        known: the decision that such a model got on a data set before.
    """
    from dataclasses import replace

    from converters.opened import opened
    from edge.contract.decision import Decision
    from host_training.metrics.predict import adjusted

    told = read_model_labels(request.model_labels)
    model, labels, origin = opened(request.model, told)
    decision = known or origin.decision or Decision()
    if request.tau is not None:
        if request.tau and not decision.prior:
            decision = _with_prior(decision, origin, samples, labels)
        decision = decision.with_tau(request.tau)
        origin = replace(origin, decision=decision)
    return adjusted(model, decision), origin


def _with_prior(
    decision: "Decision", origin: "ModelProvenance", samples: Any, labels: tuple[str, ...]
) -> "Decision":
    """Count the prior in the data that a model has learnt from, where it carries none."""
    from host_training.data.samples import TRAINING
    from host_training.metrics.predict import prior_of

    if TRAINING not in samples.splits or samples.name not in origin.data_names[:1]:
        raise ConfigError(
            f"--tau: {origin.model} does not say how frequent each emotion is in its training "
            f"samples, and {samples.name} is not known to hold these; convert the model again, or "
            "give the data that it has learnt from as the first --data"
        )
    prior = prior_of(samples.split_rows(TRAINING), labels)
    return msgspec.structs.replace(decision, prior=prior)


def _held_against(request: EvaluateRequest, other: Path, measured: "Measured") -> "Measured":
    """Hold what was measured against another model, under its own decision, on the same samples."""
    from converters.opened import opened
    from edge.contract.decision import Decision
    from host_training.evaluation.evaluate import held_against
    from host_training.metrics.predict import adjusted

    shown = request.crops or _crops(request.model)
    if request.crops is None and _crops(other) != shown:
        raise ConfigError(
            f"--against {other}: learnt from {_crops(other)} crops, the samples measured are "
            f"{shown} ones; say with --crops which ones both are asked about"
        )
    model, _, origin = opened(other, read_model_labels(request.model_labels))
    return held_against(measured, adjusted(model, origin.decision or Decision()), origin)


def _with_held_out(samples: Any, split: str | None, model: Path, origin: "ModelProvenance") -> Any:
    """Name the samples that the model's run held out, where they are asked for."""
    from host_training.data.samples import HELD_OUT
    from host_training.evaluation.held_out import with_held_out

    if split != HELD_OUT or HELD_OUT in samples.splits:
        return samples
    return with_held_out(samples, model, origin)


def _plan(samples: Any, folds: int, by: By | None, seed: int, split: str | None) -> "FoldPlan":
    from host_training.data.folds import best_by
    from host_training.evaluation.cross_validation import FoldPlan

    return FoldPlan(folds=folds, by=by or best_by(samples), seed=seed, split=split)


def _cross_validated(
    model: Path, samples: Any, plan: "FoldPlan", out: Path, screen: Any, int8: bool
) -> Any:
    """Train the settings of a run, or of a config.json, on each fold."""
    from host_training.config import recipe
    from host_training.evaluation.cross_validation import (
        AS_TRAINED,
        FoldForm,
        ancestors_of,
        cross_validate,
    )
    from host_training.runs.directory import RunDirectory
    from host_training.training.progress import ConsoleProgress
    from host_training.training.run import Pretrained

    if model.suffix == ".json":
        config, ancestors = recipe(str(model)), Pretrained()
    else:
        config, ancestors = RunDirectory(model).config(), ancestors_of(RunDirectory(model))
    form = FoldForm("int8", _int8_of_fold) if int8 else AS_TRAINED
    return cross_validate(samples, config, plan, out, ConsoleProgress(screen), ancestors, form)


def _int8_of_fold(run: Path, learnt: Any, held: Any) -> Any:
    """Answer as the device would, with a fold's run quantised on what it learnt from."""
    from converters.convert.int8_predict import int8_probabilities

    calibration = labelled(learnt.where(learnt.measurable), learnt.crops)
    return int8_probabilities(run, calibration, held.images, held.mesh)
