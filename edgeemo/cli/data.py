"""`edgeemo data ...`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgeemo.cli.calibrate import Map
from edgeemo.cli.options import (
    JsonFile,
    Labels,
    Protocol,
    Workers,
    console,
    load_data,
    note_samples,
    processes,
    write_json,
)
from edgeemo.cli.places import in_a_folder

if TYPE_CHECKING:
    from numpy import bool_
    from numpy.typing import NDArray
    from rich.console import Console

    from host_training.data.find_faces import MakeMesher
    from host_training.data.prepared import Recipe
    from host_training.data.samples import Samples

data_app = typer.Typer(
    help="Inspect data sets and prepare them for training.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Data = Annotated[Path, typer.Argument(help="A data set, as for --data of `edgeemo train`.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(data_app, name="data")


@data_app.command()
def audit(
    data: Data,
    labels: Labels = None,
    protocol: Protocol = None,
    names: Map = None,
    near: Annotated[
        bool, typer.Option(help="Find near duplicates (about a minute for FER2013).")
    ] = True,
    faces: Annotated[
        bool, typer.Option("--faces", help="Run face detection on every picture (takes minutes).")
    ] = False,
    prepared: Annotated[
        Path | None,
        typer.Option(help="Read the faces from a folder made by `edgeemo data prepare`."),
    ] = None,
    sheets: Annotated[
        Path | None, typer.Option(help="Write contact sheets (PNG) into this folder.")
    ] = None,
    workers: Workers = None,
    json_file: JsonFile = None,
) -> None:
    """Count samples, duplicates and subjects; report leakage."""
    from host_training.data.audit import audit as examine
    from host_training.data.contact_sheets import write_sheets
    from host_training.data.near_duplicates import near_pairs
    from host_training.data.tables import audit_view

    screen = console()
    samples = load_data(data, labels, protocol, screen, names=names)
    found = _faces(samples, faces, prepared, workers, screen)
    with screen.status("looking for near duplicates"):
        pairs = near_pairs(samples.images) if near else None
    result = examine(samples, pairs, found)
    screen.print(audit_view(result))
    if sheets is not None:
        files = write_sheets(samples, sheets, pairs, found)
        screen.print(f"contact sheets: {len(files)} in {sheets}", highlight=False, markup=False)
        note_samples("contact sheets", sheets, data, samples)
    write_json(json_file, result)


def _faces(
    samples: "Samples", look: bool, prepared: Path | None, workers: int | None, screen: "Console"
) -> "NDArray[bool_] | None":
    """Return in which rows there is a face, from one of two sources, or None."""
    from edge.errors import ConfigError

    if prepared is not None:
        if look:
            raise ConfigError("--faces and --prepared: give one of them")
        from host_training.data.prepared import faces_found

        return faces_found(samples, prepared)
    if not look:
        return None
    from host_training.data.find_faces import Pictures, find_faces
    from host_training.data.picture_progress import ConsolePictureProgress

    _, make = _device_mesher()
    with ConsolePictureProgress(screen) as progress:
        return find_faces(Pictures.of(samples), make, processes(workers), progress)


@data_app.command()
def export(
    data: Data,
    out: Annotated[
        Path,
        typer.Option(
            help="The .json file to write; the labelling interface is written beside it.",
            callback=in_a_folder,
        ),
    ],
    form: Annotated[
        Literal["label-studio"],
        typer.Option(help="The labelling tool; its export can be read as --data again."),
    ] = "label-studio",
    names: Map = None,
) -> None:
    """Write samples as tasks for a labelling tool, each with its label.

    Paths are relative to the data's folder, which the tool serves.
    """
    from host_training.data.label_studio import write_tasks

    screen = console()
    samples = load_data(data, None, None, screen, names=names)
    write_tasks(samples, data if data.is_dir() else data.parent, out)
    told = f"{form}: {len(samples):,} tasks in {out}, interface in {out.with_suffix('.xml')}"
    screen.print(told, highlight=False, markup=False, soft_wrap=True)
    note_samples("labelling tasks", out, data, samples)


@data_app.command()
def prepare(
    data: Data,
    out: Annotated[Path, typer.Option(help="The folder to write; an existing one is continued.")],
    labels: Labels = None,
    protocol: Protocol = None,
    names: Map = None,
    workers: Workers = None,
    shards: Annotated[
        int | None,
        typer.Option(
            metavar="SAMPLES",
            help="Write the samples themselves instead, so many in a file, for --data to stream.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only part I of N, a different one on each machine."),
    ] = None,
) -> None:
    """Compute the mesh and the aligned crop of every picture.

    Can be stopped and run again at any moment. Parts of --shard are put together by copying them
    into one folder; for meshes, run it once more there without --shard.
    """
    from host_training.data.shards import read_part, write_shards

    part = read_part(shard)
    if shards is not None:
        screen = console()
        samples = load_data(data, labels, protocol, screen, names=names)
        written = write_shards(samples, out, shards, part)
        count = sum(own.count for own in written.shards)
        line = f"{count:,} samples in {len(written.shards)} shards: {out}"
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
        note_samples("shards", out, data, samples)
        return
    from host_training.data.picture_progress import ConsolePictureProgress
    from host_training.data.prepare import prepare_pictures
    from host_training.data.tables import prepared_view

    screen = console()
    samples = load_data(data, labels, protocol, screen, names=names)
    recipe, make = _device_mesher()
    with ConsolePictureProgress(screen) as progress:
        record = prepare_pictures(samples, out, recipe, make, processes(workers), progress, part)
    if record is not None:
        screen.print(prepared_view(record, samples))
    screen.print(f"prepared folder: {out}", highlight=False, markup=False, soft_wrap=True)
    note_samples("prepared data", out, data, samples)


def _device_mesher() -> "tuple[Recipe, MakeMesher]":
    """Return the mesher of `edgeemo run` for single pictures of one face, and what identifies it.

    Raises:
        AssetError: the face model could not be had.
    """
    from functools import partial

    from edge.assets.store import FACE_LANDMARKER, asset_path
    from edge.config import MesherConfig
    from edge.stages.mesh.litert import LitertMesher
    from host_training.data.prepared import Recipe

    config = MesherConfig(max_faces=1, blendshapes=True)
    recipe = Recipe(
        mesher="litert",
        model_sha256=FACE_LANDMARKER.sha256,
        min_detection=config.min_detection,
        min_presence=config.min_presence,
    )
    # Fetched here, once, and not by every worker.
    return recipe, partial(LitertMesher, asset_path(FACE_LANDMARKER), config)
