"""`edgeemo data ...`. What it needs is imported inside: `edgeemo --help` stays light."""

from pathlib import Path
from typing import Annotated

import typer

from edge.cli_options import JsonFile, Labels, Protocol, console, load_data, write_json

data_app = typer.Typer(
    help="Look into a data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(data_app, name="data")


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
