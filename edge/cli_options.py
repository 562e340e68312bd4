"""What the workstation's commands share: options, reading a data set, printing."""

from pathlib import Path
from typing import Annotated, Any

import typer

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
