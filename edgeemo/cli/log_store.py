"""`edgeemo logs store`, `sessions` and `fleet`: many devices over a long time."""

import sys
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeemo.cli.logs import DEFAULT_ROOT, Root
from edgeemo.cli.options import JsonFile, show

if TYPE_CHECKING:
    from edgeemo.analysis.store import Update


def store(
    root: Root = DEFAULT_ROOT,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Rebuild it from the raw files.")
    ] = False,
) -> None:
    """Also store logs as Parquet, for fast queries.

    The store lies in edgeemo-store below the logs.

    Only what is new is read. Every other command uses the store, and other programs can.
    """
    from edgeemo.analysis.store import update

    done = update(root, rebuild=rebuild, progress=_progress)
    print(f"store: {_told(root, done)}")
    if done.lacking:
        print(
            f"some of it was stored by an older edgeemo, which did not know {done.lacking}; "
            "--rebuild reads the raw files again"
        )


def store_collected(root: Path) -> None:
    """Bring the store of collected logs in line, where DuckDB is installed."""
    if find_spec("duckdb") is None:
        print("no store is kept without DuckDB: pip install 'edgeemo[analysis]'", file=sys.stderr)
        return
    from edge.contract.logfiles import log_directories
    from edgeemo.analysis.store import update

    if next(log_directories(root), None) is not None:
        print(f"store: {_told(root, update(root))}")


def sessions(
    root: Root = DEFAULT_ROOT,
    device: Annotated[
        list[str] | None, typer.Option(help="Only this device; may be given again.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of rows to show.")] = 50,
    json_file: JsonFile = None,
) -> None:
    """List runs: when, how many records, why they ended."""
    from edgeemo.analysis.fleet_table import sessions_table
    from edgeemo.analysis.sessions import sessions as find
    from edgeemo.cli.log_analysis import logs_of, write_json

    with logs_of(root, devices=device) as logs:
        found = find(logs)
    show(sessions_table(found[:rows]))
    if len(found) > rows:
        print(f"{len(found) - rows} more; --rows {len(found)} shows all")
    if json_file is not None:
        write_json(json_file, found)


def fleet(
    root: Root = DEFAULT_ROOT,
    rules: Annotated[
        Path | None, typer.Option(help="A TOML file that says what needs attention.")
    ] = None,
    json_file: JsonFile = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show only what needs attention.")
    ] = False,
) -> None:
    """Show the state of each device; exit 1 if one needs attention.

    The worst comes first.

    The exit codes suit cron and Nagios-style checks.
    """
    from edgeemo.analysis.fleet import fleet as judge
    from edgeemo.analysis.fleet import read_rules
    from edgeemo.analysis.fleet_table import fleet_table
    from edgeemo.cli.log_analysis import logs_of, write_json

    judging = read_rules(rules)
    with logs_of(root) as logs:
        devices = judge(logs, judging, datetime.now(UTC))
    bad = [one for one in devices if one.problems]
    shown = bad if quiet else devices
    if shown:
        show(fleet_table(shown, datetime.now(UTC)))
    if json_file is not None:
        write_json(json_file, devices)
    if not quiet or bad:
        print(f"{len(bad)} of {len(devices)} need attention")
    if bad:
        raise typer.Exit(1)


def _progress(log: str, files: int) -> None:
    from edge.text import one_line

    if sys.stderr.isatty():
        print(f"{one_line(log)}: {files} files", file=sys.stderr)


def _told(root: Path, done: "Update") -> str:
    from edge.contract.logfiles import STORE_NAME

    files = f"{done.files:,} new file{'' if done.files == 1 else 's'}"
    return (
        f"{files}; {done.records:,} records of {done.logs:,} logs in {root / STORE_NAME}, "
        f"{done.size_bytes / 1e6:,.1f} MB"
    )


def bring_in_line(folder: Path) -> None:
    """Make the store of a folder of logs anew where they have changed."""
    from edgeemo.analysis.store import update

    update(folder)
