"""`edgeemo capture`: guided pictures of people who agree to it; and forgetting them."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError

if TYPE_CHECKING:
    from edge.calibration.still import Still
    from edge.capture.folder import CaptureFolder
    from edge.capture.session import Choice, Wanted

_LABELS = ",".join(label for label in EMOTIONS if label != "contempt")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(capture)


def capture(
    out: Annotated[
        Path, typer.Option(help="The folder of pictures; an existing one is continued.")
    ],
    subject: Annotated[
        str | None, typer.Option(help="Who the pictures show; a pseudonym is enough.")
    ] = None,
    source: Annotated[str, typer.Option(help="A source as for `edgeemo run`.")] = "0",
    labels: Annotated[
        str,
        typer.Option(help="Expressions to ask for, separated by commas; also classes of your own."),
    ] = _LABELS,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per expression.")] = 5,
    frames: Annotated[
        bool, typer.Option("--frames", help="Keep whole frames instead of face crops.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="Delete every picture and line of a person."),
    ] = None,
) -> None:
    """Take labelled pictures of a consenting person.

    Nothing is kept before the person has typed consent. `calibrate` and `train` take the folder.
    """
    from edge.capture.folder import CaptureFolder, check_subject

    folder = CaptureFolder(out)
    if forget is not None:
        if subject is not None:
            raise ConfigError("--forget and --subject: give one of them")
        _forget(folder, check_subject(forget))
        return
    if subject is None:
        raise ConfigError("nobody was named; give --subject NAME, or --forget NAME")
    check_subject(subject)
    from edge.capture.session import Wanted
    from edge.runtime.build import shown_source

    wanted = Wanted(subject, _labels(labels), count, shown_source(source), frames)
    with ExitStack() as stack:
        kept = _capture(folder, wanted, source, stack)
    print(f"kept {kept} pictures of {subject} in {out}")


def _labels(text: str) -> tuple[str, ...]:
    from edge.contract.labels import label_of
    from edge.errors import LabelError

    try:
        return tuple(dict.fromkeys(label_of(name) for name in text.split(",")))
    except LabelError as error:
        raise ConfigError(f"--labels {text}: {error}") from error


def _capture(folder: "CaptureFolder", wanted: "Wanted", spec: str, stack: ExitStack) -> int:
    from edge.calibration.still import Stills
    from edge.capture.session import capture
    from edge.config import Config, SourceConfig
    from edge.runtime.build import compose_pipeline
    from edge.sources.select import open_source

    stills = Stills(partial(compose_pipeline, Config()))
    stack.callback(stills.close)
    opened = open_source(SourceConfig(spec))
    stack.callback(opened.close)
    return capture(folder, wanted, opened, stills.look, _Terminal())


def _forget(folder: "CaptureFolder", subject: str) -> None:
    from edge.errors import CaptureError, not_there

    if not folder.path.is_dir():
        what = f"{folder.path}: no such folder; nothing of {subject} is there"
        raise not_there(CaptureError(what))
    deleted = folder.forget(subject)
    count = "1 picture" if deleted == 1 else f"{deleted} pictures"
    print(f"deleted {count} of {subject}; a scan of {folder.path} finds none any more")
    for made in folder.derived():
        if subject in made.people:
            print(
                f"made from them, and still there unless you removed it: {made.what} {made.path} "
                f"({made.fingerprint[:12]}, {made.time})"
            )


class _Terminal:
    """The terminal's side of a session; a ``Dialogue``."""

    def consent(self, text: str, agreement: str) -> str:
        print(text)
        return self._asked(f'Type "{agreement}" to go on: ') or ""

    def ready(self, label: str, number: int, of: int) -> bool:
        answer = self._asked(f"{label}, {number} of {of}: Enter when you are ready, q to end: ")
        return answer is not None and answer.strip().lower() != "q"

    def count(self, seconds: int) -> None:
        print(f"  {seconds} ...", flush=True)

    def seen(self, still: "Still | None") -> "Choice":
        if still is None:
            print("  no face was seen; look into the camera")
            return "again"
        width = still.face.box_xyxy[2] - still.face.box_xyxy[0]
        print(f"  a face of {width:.0f} pixels, quality {still.quality.replace('_', ' ')}")
        answer = self._asked("  Enter to keep it, a again, s skip, q end: ")
        choices: dict[str, Choice] = {"": "keep", "a": "again", "s": "skip", "q": "quit"}
        return "quit" if answer is None else choices.get(answer.strip().lower()[:1], "again")

    def _asked(self, prompt: str) -> str | None:
        """Return a line of the standard input; None at its end."""
        print(prompt, end="", flush=True)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
