"""Every command by way of Typer: parse, build a configuration, call one function, print."""

from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from edge import __version__
from edge.config import Emit, MesherKind, Reach
from edge.runtime.request import RunRequest
from edge.system.diagnostics import set_up_logging
from edgeemo.cli.extras import add_refusals, is_here

app = typer.Typer(
    name="edgeemo",
    help="Facial emotion recognition on small devices: run, train, convert, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"edgeemo {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and debug messages.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - acts in its callback
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    set_up_logging(debug=debug)


@app.command()
def run(
    source: Annotated[
        str | None,
        typer.Option(
            help="Camera index or device, video, folder, stream URL, demo, demo:moods, demo:events "
            "or demo:live."
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Where edgeemo.jsonl is written.")] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many frames.")
    ] = None,
    mesher: Annotated[MesherKind | None, typer.Option(help="What finds the faces.")] = None,
    emit: Annotated[
        Emit | None, typer.Option(help="Write emotions on change, or for every frame.")
    ] = None,
    display: Annotated[bool, typer.Option("--display", help="Show the annotated frames.")] = False,
    save_video: Annotated[
        Path | None, typer.Option(help="Write the annotated frames to this .mp4, .webm or .avi.")
    ] = None,
    snapshot: Annotated[
        Path | None, typer.Option(help="Write the best annotated frame to this .png.")
    ] = None,
    every_n: Annotated[
        int | None, typer.Option(min=1, help="Analyze only every n-th frame.")
    ] = None,
    idle_fps: Annotated[
        float | None,
        typer.Option(min=0, help="Frames per second analyzed while no face is visible; 0: all."),
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(
            min=0, max=2, help="Name rare emotions more often, 0 to 2; by default as in the bundle."
        ),
    ] = None,
    reach: Annotated[
        Reach | None,
        typer.Option(help="far: also look in tiles, for faces too small for near (litert only)."),
    ] = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Play a recording at its own speed, as a camera.")
    ] = False,
) -> None:
    """Watch a source and log the emotions of the faces in it."""
    from edge.service.session import run_session
    from edgeemo.cli.plain_run import watched

    request = RunRequest(
        source=source,
        model=model,
        config=config,
        log_dir=log_dir,
        max_frames=max_frames,
        mesher=mesher,
        emit=emit,
        display=display,
        save_video=save_video,
        snapshot=snapshot,
        every_n=every_n,
        idle_fps=idle_fps,
        tau=tau,
        reach=reach,
        realtime=realtime,
    )
    with ExitStack() as stack:
        run_session(request, stack, watched)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="Also check this configuration file.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Check this bundle; `default`: the packaged one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check this machine; exit 1 when `edgeemo run` could not work."""
    from edge.doctor import examine, show

    checks = examine(RunRequest(config=config, model=model).settings())
    show(checks, as_json=as_json)
    if any(check.status == "failure" for check in checks):
        raise typer.Exit(1)


# Each by its module's name, in the order of the help; what an installation lacks is not looked for.
for command in (
    "analyze",
    "view",
    "bench",
    "capture",
    "calibrate",
    "train",
    "evaluate",
    "convert",
    "logs",
    "data",
    "runs",
    "deploy",
    "config",
):
    if is_here(command):
        import_module(f"edgeemo.cli.{command}").register(app)
add_refusals(app)
