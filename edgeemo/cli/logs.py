"""`edgeemo logs ...`: what needs no more than a device has; the others are in ``log_analysis``."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from edgeemo.cli.extras import add_refusals, is_here

logs_app = typer.Typer(
    help="Read what `edgeemo run` wrote, on one device or many.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Root = Annotated[Path, typer.Argument(help="A --log-dir, or a folder that holds several.")]
DEFAULT_ROOT = Path("edgeemo-logs")


def register(app: typer.Typer) -> None:
    """Add the commands to the application; a device has nothing to analyse and collect with."""
    if is_here("logs summary"):
        from edgeemo.cli import log_analysis

        log_analysis.register(logs_app)
    add_refusals(logs_app, "logs")
    app.add_typer(logs_app, name="logs")


@logs_app.command()
def tail(
    root: Root = DEFAULT_ROOT,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, over rotations.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the JSON as it is.")] = False,
) -> None:
    """Show the last records, one a line. Works on a device without more packages."""
    from edge.logs.table import HEADING, line_for_people
    from edge.logs.tail import directories_in, last_lines

    found = directories_in(root)
    if not raw:
        print(HEADING)
    with suppress(KeyboardInterrupt):
        for line in last_lines(found, lines, follow=follow):
            if raw:
                sys.stdout.buffer.write(line + b"\n")
                sys.stdout.buffer.flush()
            else:
                print(line_for_people(line), flush=follow)
