"""`edgeemo runs ...`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import Annotated

import typer

from edge.errors import ConfigError
from edgeemo.cli.options import JsonFile, console, write_json
from edgeemo.cli.places import in_a_folder

runs_app = typer.Typer(
    help="List and compare training runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(runs_app, name="runs")


@runs_app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(help="Where the run directories are.")] = Path("runs"),
    json_file: JsonFile = None,
) -> None:
    """List runs: network, progress, best validation figures."""
    from host_training.runs.registry import find_runs
    from host_training.runs.tables import runs_view

    screen = console()
    runs, remarks = find_runs(folder)
    if not runs and not remarks:
        raise ConfigError(f"{folder}: no run in it; `edgeemo train --out {folder}/NAME` makes one")
    screen.print(runs_view(runs, folder))
    for remark in remarks:
        screen.print(f"not read: {remark}", highlight=False, markup=False, soft_wrap=True)
    write_json(json_file, runs)


@runs_app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two run directories or more.")],
    png: Annotated[
        Path | None,
        typer.Option(
            help="Draw their learning curves together: .png, .svg or .pdf.", callback=in_a_folder
        ),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Show runs side by side: figures, settings, McNemar's test."""
    from host_training.metrics.plots import FORMATS, draw_compared_curves
    from host_training.runs.registry import held_against_first, read_run
    from host_training.runs.tables import comparison_view

    if len(runs) < 2:
        raise ConfigError(f"one run ({runs[0]}) cannot be compared; name two or more")
    if png is not None and png.suffix[1:].lower() not in FORMATS:
        raise ConfigError(f"--png {png}: expected a name that ends in .{', .'.join(FORMATS)}")
    read = held_against_first([read_run(path) for path in runs])
    console().print(comparison_view(read))
    if png is not None:
        draw_compared_curves({run.path: run.history for run in read}, png)
    write_json(json_file, read)
