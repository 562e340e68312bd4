"""What the workstation's commands share: options, reading a data set, printing."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import ConfigError
from edgeemo.cli.calibrate import note_made, read_map
from edgeemo.cli.places import in_a_folder

if TYPE_CHECKING:
    from rich.table import Table

    from converters.labelled_images import LabelledImages
    from edge.contract.metadata import Crops

_ENDLESS = 100_000
"""Columns: no row of a table is wider, so that none is folded."""

Data = Annotated[
    Path,
    typer.Option(
        help="fer2013.csv or icml_face_data.csv (.gz too), the train.csv pair, class folders, a "
        "manifest (.csv, .jsonl), or the lists of RAF-DB and AffectNet."
    ),
]
Labels = Annotated[Path | None, typer.Option(help="FER+ votes for the samples: fer2013new.csv.")]
Protocol = Annotated[
    str | None, typer.Option(help="majority (default with votes), plurality or fer2013.")
]
Prepared = Annotated[
    Path | None, typer.Option(help="Meshes and crops of the samples, from `edgeemo data prepare`.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes that mesh; one a processor core by default.")
]
ModelLabels = Annotated[
    str | None,
    typer.Option(
        help="Emotions of the model's outputs, in their order, with commas: needed for a model of "
        "your own whose files do not name them."
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON.", callback=in_a_folder)
]


def load_data(
    data: Path,
    labels: Path | None,
    protocol: str | None,
    screen: Any,
    *,
    prepared: Path | None = None,
    crops: "Crops" = "raw",
    names: list[str] | None = None,
    stream: bool = False,
) -> Any:
    """Read a data set, with its meshes where they are given, and say what it was recognised as.

    With ``stream`` the pictures of shards stay on the disk.
    """
    from host_training.data.load import load_samples
    from host_training.data.prepared import with_prepared
    from host_training.data.shards import in_memory

    samples = load_samples(data, labels, protocol, read_map(names))
    samples = samples if stream else in_memory(samples)
    if prepared is not None:
        samples = with_prepared(samples, prepared, crops=crops)
    elif crops != "raw":
        raise ConfigError(
            "aligned crops come from prepared data; make it with `edgeemo data prepare` and give "
            "--prepared DIR"
        )
    line = f"data: {samples.form}, {len(samples):,} samples, protocol {samples.protocol}"
    screen.print(line, highlight=False, markup=False, soft_wrap=True)
    return samples


def note_samples(what: str, out: Path, data: Path, samples: Any) -> None:
    """Write down beside captured pictures what was made from them, see ``note_made``."""
    people = () if samples.subjects is None else tuple(sorted(set(map(str, samples.subjects))))
    note_made(what, out, data, samples.fingerprint().fingerprint, people)


def processes(workers: int | None) -> int:
    """Return how many processes mesh."""
    from edge.system.machine import usable_cores

    return workers or usable_cores()


def read_model_labels(text: str | None) -> tuple[str, ...] | None:
    """Read `--model-labels`: canonical emotions, from names as data sets spell them.

    Raises:
        ConfigError: a name that is no emotion, or one that comes twice.
    """
    from edge.contract.labels import canonical
    from edge.errors import LabelError

    if text is None:
        return None
    try:
        labels = tuple(canonical(name) for name in text.split(","))
    except LabelError as error:
        raise ConfigError(f"--model-labels {text}: {error}") from error
    if twice := sorted({name for name in labels if labels.count(name) > 1}):
        raise ConfigError(f"--model-labels {text}: {', '.join(twice)} comes twice; give each once")
    return labels


def labelled(samples: Any, learnt: "Crops") -> "LabelledImages":
    """Return measurable rows as the converters take them.

    Args:
        samples: ``host_training``'s.
        learnt: which crops the model learnt from.
    """
    from converters.labelled_images import LabelledImages

    return LabelledImages(
        images=samples.images,
        labels=samples.class_ids,
        label_names=samples.labels,
        dataset=samples.fingerprint(),
        protocol=samples.protocol,
        mesh=samples.mesh,
        crops=learnt,
    )


def show(table: "Table") -> None:
    """Print a table; in a pipe or a file, a line a row, as wide as the row, for grep and mail."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(table)
        return
    endless = Console(width=_ENDLESS)
    with endless.capture() as shown:
        endless.print(table)
    print(*(line.rstrip() for line in shown.get().splitlines()), sep="\n")


def console(*, quiet: bool = False) -> Any:
    """Return a rich console on stdout; a quiet one shows nothing."""
    from rich.console import Console

    return Console(quiet=quiet)


def write_json(path: Path | None, value: object) -> None:
    """Write a result to the file that ``--json`` names, if it was given."""
    if path is None:
        return
    from host_training.runs.directory import write_json as write

    write(path, value)
