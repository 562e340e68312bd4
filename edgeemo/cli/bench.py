"""`edgeemo bench`: what a run costs on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from edge.config import MesherKind
from edge.runtime.request import RunRequest
from edgeemo.cli.places import STDOUT, in_a_folder


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(bench)


def bench(
    source: Annotated[
        str | None,
        typer.Option(help="A source as for `edgeemo run`; by default that of --config, else demo."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    mesher: Annotated[MesherKind | None, typer.Option(help="What finds the faces.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Maximum number of frames to measure.")] = 290,
    starts: Annotated[
        int, typer.Option(min=0, help="Number of starts timed to the first result.")
    ] = 3,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the result as JSON; - prints it.", callback=in_a_folder),
    ] = None,
) -> None:
    """Measure the cost of a run: stages, CPU, memory, start-up."""
    from rich.console import Console

    from edge.bench.command import run_bench
    from edge.bench.report import as_json, show

    if config is None:
        source = source or "demo"
    request = RunRequest(source=source, model=model, config=config, mesher=mesher)
    report = run_bench(request, frames, starts)
    if json_file == STDOUT:
        print(as_json(report))
        return
    if json_file is not None:
        json_file.write_text(as_json(report) + "\n", "utf-8")
    show(report, Console())
