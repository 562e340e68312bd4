"""`edgeemo logs ...`: what needs no more than a device has; the others are in ``log_analysis``."""

import shutil
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from edge.errors import ConfigError
from edgeemo.cli.extras import add_refusals, is_here

logs_app = typer.Typer(
    help="Query the logs of one device or many.",
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
        int, typer.Option("--lines", "-n", min=0, help="Number of lines to start with.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep following new records, across rotations.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Print the raw JSON.")] = False,
) -> None:
    """Show the last records, one per line. Works on a device without extra packages."""
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


@logs_app.command()
def mark(
    text: Annotated[str, typer.Argument(help="What the marker says.")],
    log_dir: Annotated[
        Path, typer.Option(help="The --log-dir of the edgeemo that runs.")
    ] = DEFAULT_ROOT,
    start: Annotated[bool, typer.Option("--start", help="Something of this name begins.")] = False,
    end: Annotated[bool, typer.Option("--end", help="It ends.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds to wait for a run that begins.")
    ] = 0.0,
) -> None:
    """Mark this moment in the log of a run on this machine."""
    from edge.contract.logrecord import Phase
    from edge.service.marks import LONGEST_TEXT, send_mark
    from edge.text import one_line

    if start and end:
        raise ConfigError("--start and --end exclude each other; give one of them, or none")
    if not text.strip() or len(text) > LONGEST_TEXT:
        raise ConfigError(f"a marker of {len(text)} characters; expected 1 to {LONGEST_TEXT}")
    shown = one_line(text, LONGEST_TEXT)
    phase: Phase = "start" if start else "end" if end else "point"
    send_mark(log_dir, shown, phase, wait)
    print(f"marked: {shown}{f' ({phase})' if phase != 'point' else ''}")


@logs_app.command()
def forget(
    root: Root,
    participant: Annotated[str, typer.Option(help="The code, as in [study] of the configuration.")],
) -> None:
    """Remove a participant's code from a log; keep all else."""
    from edge.logs.forget import forget_participant
    from edge.text import plain

    if not participant:
        raise ConfigError("--participant: expected a code, got nothing")
    done = forget_participant(root, participant)
    if not done.sessions:
        print(f"no session of {plain(participant)} is in {root}")
        return
    print(
        f"{plain(participant)}: forgotten in {done.sessions} session(s), {done.files} file(s) "
        "rewritten; other copies of the log keep it until they are treated the same"
    )
    _forget_in_stores(root)


def _forget_in_stores(root: Path) -> None:
    """Bring the stores that were made of these files in line, or let them go."""
    from edge.contract.logfiles import STORE_NAME

    for folder in (root, root.absolute().parent):
        store = folder / STORE_NAME
        if not store.is_dir():
            continue
        if is_here("logs store") and find_spec("duckdb") is not None:
            from edgeemo.cli import log_store

            log_store.bring_in_line(folder)
            print(f"{store}: brought in line")
        else:
            shutil.rmtree(store)
            print(f"{store}: removed; `edgeemo logs store` recreates it")
