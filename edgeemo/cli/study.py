"""`edgeemo logs agree`. What it needs is imported inside."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import ConfigError
from edgeemo.cli.logs import Root
from edgeemo.cli.options import JsonFile, show
from edgeemo.cli.places import in_a_folder

if TYPE_CHECKING:
    from edgeemo.analysis.studies.agreement import Agreement


Session = Annotated[
    str | None, typer.Option(help="The beginning of a session's id, where there are several.")
]


def agree(
    root: Root,
    truth: Annotated[
        Path,
        typer.Option(help="What people saw: a table with start, end, label and track, or an .eaf."),
    ],
    session: Session = None,
    tolerance: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds between beginnings of the same event.")
    ] = 0.5,
    offset: Annotated[
        float,
        typer.Option(min=-1e6, max=1e6, help="Seconds to add to people's times, to fit the log's."),
    ] = 0.0,
    picture: Annotated[
        Path | None, typer.Option(help="Draw both timelines into this .svg.", callback=in_a_folder)
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Compare a log with human annotations of the same film."""
    import msgspec

    from edgeemo.analysis.store import open_logs
    from edgeemo.analysis.studies.agreement import agreement
    from edgeemo.analysis.studies.export import write_whole
    from edgeemo.analysis.studies.picture import agreement_picture
    from edgeemo.analysis.studies.sessions import chosen, sessions
    from edgeemo.analysis.studies.truth import moved, read_truth

    if picture is not None and picture.suffix.lower() != ".svg":
        raise ConfigError(f"--picture {picture}: expected a name that ends in .svg")
    seen = moved(read_truth(truth), offset)
    with open_logs(root) as logs:
        one = chosen(sessions(logs), session)
    result = agreement(one, seen, tolerance)
    _show(result)
    if picture is not None:
        title = f"{one.about.device}, session {one.about.session}"
        write_whole(picture, agreement_picture(one, seen, title).encode())
        print(f"picture: {picture}")
    if json_file is not None:
        write_whole(json_file, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def _show(result: "Agreement") -> None:
    from rich.table import Table

    if (emotions := result.emotions) is not None:
        rows = {
            "stretches": f"{emotions.stretches}, {emotions.seconds:.1f} s; a face is logged in "
            f"{emotions.covered:.0%} of the time",
            "accuracy": _with(emotions.accuracy, emotions.accuracy_interval),
            "kappa": _with(emotions.kappa, emotions.kappa_interval),
            "delay": "never"
            if emotions.delay_s is None
            else f"{emotions.delay_s:.2f} s (median); "
            f"never in {emotions.missed} of {emotions.stretches}",
        }
        for name, text in rows.items():
            print(f"{name:13} {text}")
        table = Table("people \\ edgeemo, s", *emotions.labels, box=None, pad_edge=False)
        for label, seconds in emotions.confusion.items():
            table.add_row(label, *(f"{s:.1f}" if s else "" for s in seconds))
        show(table)
    if result.events:
        table = Table(box=None, pad_edge=False)
        for heading in ("event", "people", "edgeemo", "both", "precision", "recall", "F1", "delay"):
            table.add_column(heading, justify="left" if heading == "event" else "right")
        for name, one in result.events.items():
            delay = "n/a" if one.delay_s is None else f"{one.delay_s:+.3f} s"
            table.add_row(
                name.replace("_", " "), str(one.people), str(one.log), str(one.both),
                _with(one.precision), _with(one.recall), _with(one.f1, one.f1_interval), delay,
            )  # fmt: skip
        show(table)
    if result.faces > 1:
        print(
            f"the log has {result.faces} tracks; where people named none, the face that is in view "
            "for the longest counts, and the events of all"
        )


def _with(value: float | None, interval: tuple[float, float] | None = None) -> str:
    if value is None:
        return "n/a"
    told = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    return f"{value:.3f}{told}"
