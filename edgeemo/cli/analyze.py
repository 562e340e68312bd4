"""`edgeemo analyze`. What it needs is imported inside: `edgeemo --help` stays light."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.config import Reach
from edge.errors import EdgeEmoError

if TYPE_CHECKING:
    from edgeemo.batch import AnalyzeReport

_NAMED = 20


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(analyze)


def analyze(
    files: Annotated[
        list[Path],
        typer.Argument(help="Films, pictures, and folders, which are searched recursively."),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The table to write: .csv, or .parquet.")
    ],
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (TOML).")] = None,
    max_faces: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of faces per frame.")
    ] = None,
    tau: Annotated[
        float | None,
        typer.Option(
            min=0, max=2, help="Name rare emotions more often, 0 to 2; by default as in the bundle."
        ),
    ] = None,
    reach: Annotated[
        Reach | None, typer.Option(help="far: also look in tiles, for small faces.")
    ] = None,
    every_n: Annotated[
        int | None, typer.Option(min=1, help="Analyze only every n-th frame of films.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; by default one per processor core.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Start over instead of resuming.")
    ] = False,
) -> None:
    """Turn films and pictures into one table of faces, in parallel.

    A row for each face in each frame.

    Run the same command again to resume after an interruption.
    """
    from edgeemo.batch import analyze as run
    from edgeemo.progress import FilesBar

    try:
        with FilesBar() as bar:
            report = run(
                files, out, model=model, config=config, max_faces=max_faces, tau=tau, reach=reach,
                every_n=every_n, workers=workers, restart=restart, watch=bar,
            )  # fmt: skip
    except KeyboardInterrupt as stop:
        raise EdgeEmoError("interrupted; run the same command again to resume") from stop
    _print(report)
    if report.failures:
        raise typer.Exit(1)


def _print(report: "AnalyzeReport") -> None:
    reused = f" ({report.reused} by an earlier call)" if report.reused else ""
    print(f"files    {report.files}{reused}")
    print(f"frames   {report.frames:,}")
    print(f"faces    {report.rows:,}")
    print(f"table    {report.out}")
    for failure in report.failures[:_NAMED]:
        print(f"edgeemo: {failure.file}: {failure.reason}", file=sys.stderr)
    if (more := len(report.failures) - _NAMED) > 0:
        print(f"edgeemo: and {more} more", file=sys.stderr)
    if count := len(report.failures):
        print(
            f"edgeemo: error: {count} files could not be analyzed, the table is without them; "
            "mend or remove them, and the same call tries only these again",
            file=sys.stderr,
        )
