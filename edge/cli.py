"""The command ``edgeemo``: parse, build a configuration, call one function, print."""

import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from edge import cli_convert, cli_data, cli_evaluate, cli_train
from edge._version import __version__
from edge.config import Config, Emit, MesherKind, load_config, override
from edge.errors import EdgeEmoError

app = typer.Typer(
    name="edgeemo",
    help="Facial-emotion detection on edge devices: train, convert to int8 with proof, run.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
for commands in (cli_data, cli_train, cli_evaluate, cli_convert):
    commands.register(app)

_debug = False


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
    global _debug  # noqa: PLW0603 - read by main() after Typer has gone
    _debug = debug
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s" if debug else "%(message)s",
        stream=sys.stderr,
    )


@app.command()
def run(
    source: Annotated[
        str | None,
        typer.Option(help="Camera index or device, video file, folder, stream URL, or demo."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    log_dir: Annotated[Path | None, typer.Option(help="Where edgeemo.jsonl is written.")] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
    mesher: Annotated[MesherKind | None, typer.Option(help="What finds the faces.")] = None,
    emit: Annotated[
        Emit | None, typer.Option(help="Write emotions on change, or for every frame.")
    ] = None,
    display: Annotated[bool, typer.Option("--display", help="Show the annotated frames.")] = False,
    save_video: Annotated[
        Path | None, typer.Option(help="Write the annotated frames to this .mp4 or .avi.")
    ] = None,
    snapshot: Annotated[
        Path | None, typer.Option(help="Write the most telling annotated frame to this .png.")
    ] = None,
) -> None:
    """Watch a source and log the emotions of the faces in it."""
    settings = _settings(config, source, model, log_dir, mesher, emit)
    from edge.service.session import Outputs, run_session

    outputs = Outputs(display=display, video=save_video, snapshot=snapshot)
    with ExitStack() as stack:
        run_session(settings, outputs, max_frames, stack)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="Check this configuration file, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what is on this machine; exit 1 when `edgeemo run` could not work."""
    from edge.doctor import examine, show

    checks = examine(load_config(config) if config else Config())
    show(checks, as_json=as_json)
    if any(check.status == "failure" for check in checks):
        raise typer.Exit(1)


def _settings(
    path: Path | None,
    source: str | None,
    model: Path | None,
    log_dir: Path | None,
    mesher: MesherKind | None,
    emit: Emit | None,
) -> Config:
    config = load_config(path) if path else Config()
    return override(
        config,
        source=override(config.source, spec=source),
        model=override(config.model, bundle=model and str(model)),
        log=override(config.log, dir=log_dir and str(log_dir), emit=emit),
        mesher=override(config.mesher, kind=mesher),
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the command; errors of ours become one line and their exit code."""
    # All of these are read when the libraries are loaded, later. Most talk on stderr by default.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # One small matrix product a frame needs no pool of BLAS threads, each with its buffers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        app(arguments)
    except EdgeEmoError as error:
        if _debug:
            raise
        _fail(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as in `edgeemo ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if _debug:
            raise
        _fail(
            f"unexpected {type(error).__name__}: {error}; "
            "this is a bug, `edgeemo --debug ...` shows where",
            1,
        )


def _fail(message: str, code: int) -> Any:
    print(f"edgeemo: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
