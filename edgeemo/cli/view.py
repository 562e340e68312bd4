"""`edgeemo view`. The server is imported inside: a device that shows no page needs none."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from edge.config import MesherKind
from edge.errors import ConfigError
from edge.runtime.request import RunRequest
from edgeemo.cli.extras import require


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(view)


def view(
    device: Annotated[
        str | None,
        typer.Argument(help="user@host[:port] whose running service to watch, over ssh."),
    ] = None,
    source: Annotated[str | None, typer.Option(help="A source as for `edgeemo run`.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="Also write the log, into this directory.")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many frames.")
    ] = None,
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
        list[str] | None,
        typer.Option(help="An additional host name under which the page may be opened."),
    ] = None,
    socket: Annotated[
        Path, typer.Option(help="Of the running service; see [live] in its configuration.")
    ] = Path("/run/edgeemo/live"),
    ssh_config: Annotated[
        Path | None, typer.Option(help="ssh configuration to use instead of ~/.ssh/config.")
    ] = None,
) -> None:
    """Show a live page of the running service, or of a source.

    Without --source, --model or --config the page is attached to the service of this machine, where
    one runs, or to that of the device that is named. Otherwise it opens a source itself.
    """
    require("view", "starlette", "uvicorn")
    from edge.view.attach import Feed, is_there
    from edge.view.session import ViewRequest, run_attached, run_view

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
    has_source = any(one is not None for one in (source, model, config, log_dir, mesher))
    if device is not None and has_source:
        raise ConfigError(
            f"{device}: the service there has its source; leave --source, --model, --config, "
            "--log-dir and --mesher out"
        )
    with ExitStack() as stack:
        if device is not None:
            run_attached(Feed(socket, _over_ssh(device, ssh_config)), page, stack)
        elif not has_source and is_there(socket):
            run_attached(Feed(socket), page, stack)
        else:
            run_view(request, page, stack)


def _over_ssh(device: str, ssh_config: Path | None) -> tuple[str, ...]:
    from deploy.ssh.targets import parse_target
    from edge.view.attach import over_ssh

    target = parse_target(device)
    if target.is_local:
        return ()
    user = f"{target.user}@" if target.user else ""
    return over_ssh(f"{user}{target.host}", target.port, ssh_config)
