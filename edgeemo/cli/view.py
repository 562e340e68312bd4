"""`edgeemo view`. The server is imported inside: a device that shows no page needs none."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from edge.config import MesherKind
from edge.runtime.request import RunRequest
from edgeemo.cli.extras import require


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(view)


def view(
    source: Annotated[str | None, typer.Option(help="What `edgeemo run` takes.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="Write the log, too, into this directory.")
    ] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    mesher: Annotated[MesherKind | None, typer.Option(help="What finds the faces.")] = None,
    frames: Annotated[
        bool,
        typer.Option(
            "--frames", help="Show the pictures, behind a token; without, the mesh alone."
        ),
    ] = False,
    bind: Annotated[
        str, typer.Option(help="Address to listen at; any but the loopback one asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8765,
    token_file: Annotated[
        Path | None, typer.Option(help="Ask for the token in this file, made if there is none.")
    ] = None,
    no_token: Annotated[
        bool,
        typer.Option("--no-token", help="Let every account of this machine see the pictures."),
    ] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name by which the page may be opened.")
    ] = None,
) -> None:
    """Watch a source and show what is seen as a live page."""
    require("view", "starlette", "uvicorn")
    from edge.view.session import ViewRequest, run_view

    request = RunRequest(
        source=source,
        model=model,
        config=config,
        log_dir=log_dir,
        max_frames=max_frames,
        mesher=mesher,
    )
    page = ViewRequest(
        address=bind,
        port=port,
        token_file=token_file,
        no_token=no_token,
        hosts=tuple(allow_host or ()),
        frames=frames,
    )
    with ExitStack() as stack:
        run_view(request, page, stack)
