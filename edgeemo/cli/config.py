"""`edgeemo config ...`: the configuration file."""

import sys
from importlib import resources
from pathlib import Path
from typing import Final

import typer

from edge.errors import ConfigError

_EXAMPLE: Final = "edgeemo.example.toml"

config_app = typer.Typer(
    help="Show the configuration keys.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(config_app, name="config")


@config_app.command()
def example() -> None:
    """Print the example configuration: every key with its default."""
    package = Path(str(resources.files("edge")))
    # A wheel brings it inside; a checkout has it where the service's files are.
    for path in (package / _EXAMPLE, package.parent / "systemd" / _EXAMPLE):
        if path.is_file():
            sys.stdout.write(path.read_text("utf-8"))
            return
    raise ConfigError(f"{package / _EXAMPLE}: is missing; install edgeemo again")
